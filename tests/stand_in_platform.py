"""Score all samples as the platform does: ``python stand_in_platform.py OUTPUT.json``.

Through code-loader's own loader, in batches, from tensors in float16; a model that writes on its
own is driven step by step. Run in a process of its own, because code-loader's registry is one per
process.
"""

import os

os.environ.setdefault("TL_DISABLE_ANALYTICS", "true")

import json
import sys
from dataclasses import replace
from pathlib import Path

from hearing_analysis.config import load_config
from hearing_analysis.tensorleap.offline import Platform

BATCH_SIZE = 5


def main() -> None:
    """Write sample id -> column -> score, and what a simulation gives."""
    platform = Platform(load_config())
    scores = {}
    for state in platform.samples:
        for batch in platform.walk(state, BATCH_SIZE):
            stored = batch.as_stored()
            if batch.chains:
                chains = (platform.chain(state, i, as_float16=True) for i in batch.ids)
                stored = replace(stored, chains=tuple(chains))
            columns = platform.run_metrics(stored)
            for row, sample_id in enumerate(batch.ids):
                scores[sample_id] = {name: float(values[row]) for name, values in columns.items()}
    Path(sys.argv[1]).write_text(json.dumps(scores))


if __name__ == "__main__":
    main()
