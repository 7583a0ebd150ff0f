"""Convert the models with the platform's own converter, and compare what they compute.

The platform turns an uploaded ONNX file into a Keras model with onnx2kerastl, which needs Python
3.10 and TensorFlow 2.12. Give it an environment of its own:

    python3.10 -m venv converter && converter/bin/pip install onnx2kerastl==0.0.198
    python benchmarks/convert.py --python converter/bin/python models/mini-*

For a Whisper, both graphs that the platform's modes use are converted. Batches of one and of two go
through ONNX Runtime here and through the Keras model there; the exit status is 1 where any output
differs by more than 1e-4, or the converter gave up.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SHIPPED = [
    Path(__file__).parents[1] / "models" / name for name in ("mini-wav2vec2", "mini-whisper")
]
SKIPPED = 77
TOLERANCE = 1e-4
CONVERTER = r"""
import json, sys
from pathlib import Path
import numpy as np
import onnx
import tensorflow as tf
from onnx2kerastl import onnx_to_keras
from onnx2kerastl.customonnxlayer import onnx_custom_layers

model_path, tensors_path, h5_path = map(Path, sys.argv[1:4])
model = onnx.load(str(model_path))
names = [value.name for value in model.graph.input]
converted = onnx_to_keras(
    model, names, name_policy="attach_weights_name", allow_partial_compilation=False
)
keras = getattr(converted, "converted_model", converted)
tensors = dict(np.load(tensors_path))
outputs = [value.name for value in model.graph.output]


def differences(network):
    found = {}
    for batch in (1, 2):
        inputs = [tf.constant(tensors[f"{batch}/{name}"]) for name in names]
        results = network(inputs)
        results = results if isinstance(results, (list, tuple)) else [results]
        for name, result in zip(outputs, results):
            difference = np.abs(result.numpy() - tensors[f"{batch}/out/{name}"]).max()
            found[name] = max(float(difference), found.get(name, 0.0))
    return found


found = differences(keras)
keras.save(str(h5_path))
again = tf.keras.models.load_model(str(h5_path), custom_objects=onnx_custom_layers)
reloaded = differences(again)
error = getattr(converted, "error_info", None)
print("RESULT" + json.dumps({
    "layers": len(keras.layers), "differences": found, "reloaded": reloaded,
    "error": str(error) if error else "", "tensorflow": tf.__version__,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, default=SHIPPED, help="with model.onnx")
    parser.add_argument(
        "--python",
        default=os.environ.get("CONVERTER_PYTHON"),
        help="interpreter that has onnx2kerastl [env var: CONVERTER_PYTHON]",
    )
    options = parser.parse_args()
    if not options.python:
        print("skipped: onnx2kerastl is not installed; see --python")
        sys.exit(SKIPPED)
    worst = 0.0
    for folder in options.folders:
        for path in graphs(folder):
            worst = max(worst, report(path, options.python))
    sys.exit(0 if worst <= TOLERANCE else 1)


def graphs(folder: Path) -> list[Path]:
    """Files that the platform is given."""
    from models.checkpoint import open_checkpoint
    from models.platform_graph import platform_graph

    if open_checkpoint(folder).family == "whisper":
        return [platform_graph(folder, "seq2seq"), platform_graph(folder, "autoregressive")]
    return [folder / "model.onnx"]


def report(path: Path, python: str) -> float:
    """Convert one file, print what came of it, and return the largest difference."""
    with tempfile.TemporaryDirectory() as folder:
        tensors = Path(folder) / "tensors.npz"
        np.savez(tensors, **run_onnx(path))
        arguments = [python, "-c", CONVERTER, str(path), str(tensors), f"{folder}/model.h5"]
        finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    results = [line for line in finished.stdout.splitlines() if line.startswith("RESULT")]
    if not results:
        last = (finished.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"{path.name}: not converted: {last}")
        return float("inf")
    result = json.loads(results[0].removeprefix("RESULT"))
    for name, difference in result["differences"].items():
        print(
            f"{path.parent.name}/{path.name} {name}: largest difference {difference:.1e}, "
            f"saved and loaded again {result['reloaded'][name]:.1e} ({result['layers']} layers, "
            f"TensorFlow {result['tensorflow']})"
        )
    if result["error"]:
        print(f"{path.name}: {result['error']}")
        return float("inf")
    return max(*result["differences"].values(), *result["reloaded"].values())


def run_onnx(path: Path) -> dict[str, np.ndarray]:
    """Random batches of one and two, and what ONNX Runtime makes of them."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    tensors = {}
    for batch in (1, 2):
        inputs = {
            value.name: _example(value.name, (batch, *value.shape[1:]), random)
            for value in session.get_inputs()
        }
        outputs = session.run(None, inputs)
        names = [value.name for value in session.get_outputs()]
        tensors |= {f"{batch}/{name}": value for name, value in inputs.items()}
        tensors |= {f"{batch}/out/{name}": v for name, v in zip(names, outputs, strict=True)}
    return tensors


def _example(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    if name == "token_ids_high":
        return np.zeros(shape, np.float32)
    if name == "token_ids_low":
        return random.integers(0, 1000, shape).astype(np.float32)
    if name == "position_mask":
        mask = np.zeros(shape, np.float32)
        mask[:, shape[1] // 2] = 1
        return mask
    return random.standard_normal(shape).astype(np.float32)


if __name__ == "__main__":
    main()
