"""Export a wav2vec2 CTC checkpoint to ONNX, and check the file against torch.

The recipe is what converters of ONNX to Keras read: the TorchScript exporter, opset 17, plain
attention, a free batch axis over a fixed window, raw logits, float32, one file.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch.nn.utils import parametrize
from transformers import Wav2Vec2ForCTC

from models.wav2vec2 import ONNX_FILE, Wav2Vec2Preprocessor, open_session
from pipeline.errors import CheckFailed, InputError

INPUT_NAME = "input_values"
OUTPUT_NAMES = ("logits", "hidden_states")
IR_VERSION = 8  # newer ones are refused by older readers, and opset 17 needs no newer
TOLERANCE = 1e-4  # largest difference between ONNX Runtime and torch, both in float32
CHECKED_BATCHES = (1, 3)


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes
    ----------
    path : Path
    n_bytes : int
    n_samples : int
        Length of the input the graph was made for.
    difference : float
        Largest absolute difference of any output from torch.
    """

    path: Path
    n_bytes: int
    n_samples: int
    difference: float


def export_onnx(
    checkpoint: Path,
    output: Path | None = None,
    *,
    window_seconds: float = 8.0,
    opset: int = 17,
    dynamic_length: bool = False,
) -> ExportReport:
    """Write a checkpoint as ONNX: input_values -> logits, hidden_states.

    Parameters
    ----------
    checkpoint : Path
        A Hugging Face folder with ``config.json`` and ``model.safetensors``.
    output : Path, optional
        ``model.onnx`` in the checkpoint folder unless given.
    window_seconds : float
        Length of the input; kept in the file's metadata as ``n_samples``.
    opset : int
        ONNX operator set.
    dynamic_length : bool
        Leave the time axis free too; converters to Keras may refuse such a file.

    Raises
    ------
    InputError
        If the checkpoint is of another family or the window is shorter than one frame.
    CheckFailed
        If ONNX Runtime and torch disagree by more than ``TOLERANCE``; nothing is written then.
    """
    preprocessor = Wav2Vec2Preprocessor.from_folder(checkpoint)
    n_samples = _window_samples(preprocessor, window_seconds)
    output = output or Path(checkpoint) / ONNX_FILE
    network = _load(checkpoint)
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_name(output.name + ".tmp")
    try:
        _trace(network, draft, n_samples, opset, dynamic_length)
        _describe(draft, preprocessor, n_samples)
        difference = _largest_difference(network, draft, n_samples, dynamic_length)
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)
    return ExportReport(output, output.stat().st_size, n_samples, difference)


class _LogitsAndStates(torch.nn.Module):
    """The two outputs in a fixed order, instead of a dictionary."""

    def __init__(self, model: Wav2Vec2ForCTC) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states = self.model.wav2vec2(input_values).last_hidden_state
        return self.model.lm_head(states), states


def _window_samples(preprocessor: Wav2Vec2Preprocessor, window_seconds: float) -> int:
    n_samples = round(window_seconds * preprocessor.sampling_rate)
    if preprocessor.n_frames(n_samples) < 1:
        raise InputError(
            f"a window of {window_seconds} s is {n_samples} samples, too few for one frame; "
            "give at least 0.1 s"
        )
    return n_samples


def _load(checkpoint: Path) -> _LogitsAndStates:
    try:
        model = Wav2Vec2ForCTC.from_pretrained(
            checkpoint, attn_implementation="eager", dtype=torch.float32
        )
    except OSError as error:
        raise InputError(f"{checkpoint} holds no weights that load ({error})") from error
    # The weight norm of the positional convolution is a constant once training is over.
    convolution = model.wav2vec2.encoder.pos_conv_embed.conv
    if parametrize.is_parametrized(convolution, "weight"):
        parametrize.remove_parametrizations(convolution, "weight")
    return _LogitsAndStates(model).eval()


def _trace(
    network: _LogitsAndStates, path: Path, n_samples: int, opset: int, dynamic_length: bool
) -> None:
    axes = {name: {0: "batch"} for name in (INPUT_NAME, *OUTPUT_NAMES)}
    if dynamic_length:
        axes[INPUT_NAME][1] = "samples"
        for name in OUTPUT_NAMES:
            axes[name][1] = "frames"
    with warnings.catch_warnings():
        # The exporter warns that it is the older one, and of shape checks it makes constant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (_noise(2, n_samples),),
            str(path),
            input_names=[INPUT_NAME],
            output_names=list(OUTPUT_NAMES),
            dynamic_axes=axes,
            opset_version=opset,
            do_constant_folding=True,
            dynamo=False,
        )


def _describe(path: Path, preprocessor: Wav2Vec2Preprocessor, n_samples: int) -> None:
    graph = onnx.load(path)
    graph.ir_version = min(graph.ir_version, IR_VERSION)
    entries = {
        "n_samples": str(n_samples),
        "sampling_rate": str(preprocessor.sampling_rate),
        "window_seconds": str(n_samples / preprocessor.sampling_rate),
        "vocabulary": json.dumps(preprocessor.vocabulary),
    }
    onnx.helper.set_model_props(graph, entries)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)


def _largest_difference(
    network: _LogitsAndStates, path: Path, n_samples: int, dynamic_length: bool
) -> float:
    session = open_session(path)
    lengths = (n_samples, n_samples + 4_321) if dynamic_length else (n_samples,)
    differences = []
    for values in (_noise(batch, length) for batch in CHECKED_BATCHES for length in lengths):
        with torch.no_grad():
            expected = network(values)
        found = session.run(list(OUTPUT_NAMES), {INPUT_NAME: values.numpy()})
        differences += [
            _difference(ours, theirs.numpy()) for ours, theirs in zip(found, expected, strict=True)
        ]
    # A NaN is no agreement, and `max` could overlook it.
    largest = float(np.max(differences))
    if not largest <= TOLERANCE:
        raise CheckFailed(
            f"ONNX Runtime and torch differ by {largest:.2e}, more than {TOLERANCE:.0e}; "
            "nothing was written; try another opset"
        )
    return largest


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        raise CheckFailed(
            f"ONNX Runtime gives shape {found.shape} where torch gives {expected.shape}; "
            "nothing was written"
        )
    return float(np.abs(found - expected).max())


def _noise(batch: int, n_samples: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, n_samples, generator=generator)
