"""Entry file of the Tensorleap integration.

The decorated functions live in importable modules, `hearing_analysis.tensorleap`, because
code-loader keeps one registry per process: a file that registers when it is run could be loaded
only once. The mode in ``conf/analysis.yaml`` says which module.

``python leap_binder.py`` walks samples of every split and profile through the integration test.
"""

import os

# code-loader reports to its vendor when imported, and waits for the network; unless the user wants
# that, it is off. This must come before anything imports it.
os.environ.setdefault("TL_DISABLE_ANALYTICS", "true")

import argparse
import importlib
import sys
from itertools import islice

from hearing_analysis.config import load_config

integration = importlib.import_module(f"hearing_analysis.tensorleap.{load_config().mode}")


def main() -> None:
    """Run the integration test on a few samples of every split and profile."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("-n", "--samples", type=int, default=1, help="per split and profile")
    parser.add_argument("--brief", action="store_true", help="one profile only, the last one")
    options = parser.parse_args()
    # code-loader looks whether an ONNX session might be a Keras model; importing TensorFlow for
    # that would take longer than everything else.
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
    sys.modules.setdefault("keras", None)  # type: ignore[arg-type]
    for response in integration.preprocess():
        if response.state.name == "unlabeled":
            continue
        for profile in load_config().profiles[-1 if options.brief else 0 :]:
            samples = (sample for sample in response.data if sample.profile == profile)
            for sample in islice(samples, options.samples):
                print(f"{response.state.name} {sample.sample_id}: ", end="", flush=True)
                integration.integration_test(sample.sample_id, response)
    for simulation in getattr(integration, "SIMULATIONS", ()):
        simulation()


if __name__ == "__main__":
    main()
