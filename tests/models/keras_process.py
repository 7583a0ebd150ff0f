"""What the tests of the Keras wav2vec2 do in TensorFlow's process, with every model of a folder.

torch cannot be loaded here, so inputs come and outputs go as ``.npz``.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np


def main(root: Path) -> None:
    from models.wav2vec2_keras import build_model, ctc_loss, load_model

    assert "torch" not in sys.modules
    for folder in sorted(path for path in root.iterdir() if (path / "inputs.npz").is_file()):
        with np.load(folder / "inputs.npz") as given:
            inputs = dict(given)
        model = build_model(folder, inputs["values"].shape[1])
        outputs = _outputs("built", model, inputs["values"])
        for ending in json.loads((folder / "formats.json").read_text()):
            with contextlib.redirect_stderr(io.StringIO()):
                model.save(folder / f"model.{ending}")
            again = load_model(folder / f"model.{ending}")
            outputs |= _outputs(ending, again, inputs["values"])
            foreign = {type(layer).__module__.split(".")[0] for layer in again.layers} - {"keras"}
            assert not foreign, foreign
        lengths = (inputs["n_frames"], inputs["n_labels"])
        outputs["loss"] = ctc_loss(
            outputs["built_logits"], inputs["labels"], *lengths, blank_id=0
        ).numpy()
        np.savez(folder / "outputs.npz", **outputs)
    _commands(root)


def _outputs(name: str, model, values: np.ndarray) -> dict[str, np.ndarray]:
    logits, states = model(values, training=False)
    return {f"{name}_logits": logits.numpy(), f"{name}_states": states.numpy()}


def _commands(root: Path) -> None:
    """Export the first model by the command line, and look at what came out."""
    from models.cli import app
    from pipeline.command import run_app

    said = {}
    commands = {
        "export": [
            *("export", root / "group", root / "out", "--format", "h5"),
            *("--window-seconds", "1", "--json"),
        ],
        "verify": ["verify", root / "out" / "model.h5", "--json"],
        "whisper": ["export", root / "whisper", root / "whisper.h5"],
        "batch_norm": ["export", root / "batch_norm", root / "batch_norm.keras"],
        "pickle": ["export", root / "pickle", "--format", "keras", "--trust-pickle"],
    }
    for name, arguments in commands.items():
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                run_app(app, [str(argument) for argument in arguments])
        except SystemExit as ended:
            said[name] = {"status": ended.code, "out": out.getvalue(), "err": err.getvalue()}
    (root / "commands.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
