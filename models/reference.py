"""What torch computes, as a process of its own: whoever has TensorFlow loaded cannot load torch.

``python -m models.reference CHECKPOINT INPUTS.npz OUTPUTS.npz [--trust-pickle]`` reads the inputs
of a network by name and writes its outputs by name.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.checkpoint import open_checkpoint
from pipeline.errors import InputError

TRUST_PICKLE = "--trust-pickle"


def torch_outputs(
    checkpoint: Path, inputs: Mapping[str, np.ndarray], *, trust_pickle: bool = False
) -> dict[str, np.ndarray]:
    """Run a checkpoint's network in torch, in another process.

    Parameters
    ----------
    checkpoint : Path
        A Hugging Face folder.
    inputs : mapping of str to np.ndarray
        ``input_values``; for a Whisper, ``input_features`` and ``decoder_input_ids``.
    trust_pickle : bool

    Returns
    -------
    dict of str to np.ndarray
        ``logits`` and ``hidden_states``; for a Whisper, ``logits`` and ``encoder_hidden_states``.

    Raises
    ------
    InputError
        If the checkpoint cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        np.savez(given, allow_pickle=False, **dict(inputs))
        paths = [str(path) for path in (Path(checkpoint).resolve(), given, found)]
        finished = subprocess.run(
            [sys.executable, "-m", __name__, *paths, *[TRUST_PICKLE] * trust_pickle],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[1],
        )
        if finished.returncode:
            lines = finished.stderr.strip().splitlines() or ["it said nothing"]
            raise InputError(f"torch cannot run {checkpoint}: {lines[-1].removeprefix('error: ')}")
        with np.load(found) as outputs:
            return dict(outputs)


def _main(checkpoint: str, given: str, found: str, *options: str) -> None:
    from models.export.onnx_format import reference_network

    network = reference_network(
        open_checkpoint(Path(checkpoint)), trust_pickle=TRUST_PICKLE in options
    )
    with np.load(given) as inputs:
        outputs = network(inputs)
    np.savez(found, allow_pickle=False, **outputs)


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except InputError as complaint:
        sys.exit(f"error: {complaint}")
