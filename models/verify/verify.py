"""Verify an exported model: look at it, compare it with its checkpoint, let it listen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.checkpoint import WEIGHTS, WEIGHTS_INDEX, Checkpoint, open_checkpoint
from models.parity import (
    KERAS_TOLERANCE,
    ONNX_TOLERANCE,
    Parity,
    largest_difference,
    same_choices,
)
from models.reference import torch_outputs
from models.speech import NetworkInputs, network_inputs, spoken_clips
from models.verify.models import KERAS_SUFFIXES, ExportedModel, open_model
from models.verify.recognise import (
    BATCHES,
    Recogniser,
    check_corpus,
    preprocessor_of,
    real_time_factor,
    recognise,
)
from models.verify.report import VerifyReport
from pipeline.errors import InputError

DEFAULT_CORPUS = Path("data/demo_normal")
N_NOISE = 2  # clips of noise to compare on


@dataclass(frozen=True)
class VerifySettings:
    """What to compare and transcribe.

    Attributes
    ----------
    checkpoint : Path, optional
        What the model was exported from; its own folder unless given.
    corpus : Path, optional
        What to transcribe; ``data/demo_normal`` unless given, if it is there.
    split : str
    limit : int, optional
        Clips to transcribe.
    num_threads : int, optional
        Threads per operator of ONNX Runtime.
    trust_pickle : bool
    """

    checkpoint: Path | None = None
    corpus: Path | None = None
    split: str = "test"
    limit: int | None = None
    num_threads: int | None = None
    trust_pickle: bool = False


def verify_model(path: Path, settings: VerifySettings | None = None) -> VerifyReport:
    """Verify what the platform would get.

    Parameters
    ----------
    path : Path
        ``.onnx``, ``.h5`` or ``.keras``, or a folder with ``model.onnx``. Preprocessing is read
        from the folder of the checkpoint, or of the model.
    settings : VerifySettings, optional

    Raises
    ------
    MissingPathError, InputError
        If the model, its preprocessing, or what the settings name is missing or damaged, or the
        model has not the inputs of its family.
    CheckFailed
        If an output has another shape than the checkpoint's.
    """
    settings = settings or VerifySettings()
    model = open_model(path, settings.num_threads)
    source = open_checkpoint(settings.checkpoint or model.path.parent)
    recogniser = _recogniser(model, source)
    corpus = settings.corpus or (DEFAULT_CORPUS if DEFAULT_CORPUS.is_dir() else None)
    if corpus:
        check_corpus(recogniser, corpus, settings.split)
    is_keras = model.path.suffix in KERAS_SUFFIXES
    return VerifyReport(
        path=model.path,
        family=source.family,
        n_bytes=model.n_bytes,
        opset=model.opset,
        ir_version=model.ir_version,
        inputs=model.inputs,
        outputs=model.outputs,
        operators=model.operators,
        unconvertible=model.unconvertible,
        parity=_parity(recogniser, source, settings),
        real_time_factor={batch: real_time_factor(recogniser, batch) for batch in BATCHES},
        transcription=recognise(recogniser, corpus, settings.split, settings.limit)
        if corpus
        else None,
        tolerance=KERAS_TOLERANCE if is_keras else ONNX_TOLERANCE,
    )


def _recogniser(model: ExportedModel, source: Checkpoint) -> Recogniser:
    expected = (
        ["input_features", "decoder_input_ids"] if source.family == "whisper" else ["input_values"]
    )
    names = [tensor.name for tensor in model.inputs]
    if names != expected:
        raise InputError(
            f"{model.path} takes {', '.join(names)}; a {source.family} takes {', '.join(expected)}"
        )
    length = model.inputs[-1].shape[1]
    if not isinstance(length, int) or not length:
        raise InputError(
            f"{model.path} leaves the length of {names[-1]} free, and the platform needs a fixed "
            "one; export it again with `models export`"
        )
    return Recogniser(model, preprocessor_of(source.folder, source.family), length)


def _parity(recogniser: Recogniser, source: Checkpoint, settings: VerifySettings) -> Parity | None:
    """Compare with torch on noise and on speech; None if the checkpoint's weights are not there."""
    has_weights = any((source.folder / name).is_file() for name in (WEIGHTS, WEIGHTS_INDEX))
    if not has_weights and settings.checkpoint is None and not settings.trust_pickle:
        return None
    clips = spoken_clips(recogniser.preprocessor.sampling_rate)
    spoken = (
        network_inputs(recogniser.preprocessor, clips, recogniser.length)
        if clips
        else NetworkInputs({}, np.zeros((0, 0), dtype=bool))
    )
    batch = {
        tensor.name: np.concatenate([noise, *filter(len, [spoken.arrays.get(tensor.name, [])])])
        for tensor, noise in zip(recogniser.model.inputs, _noise(recogniser), strict=True)
    }
    outputs = torch_outputs(source.folder, batch, trust_pickle=settings.trust_pickle)
    expected = [outputs[tensor.name] for tensor in recogniser.model.outputs]
    found = recogniser.model.run(batch)
    on_noise = largest_difference(*([v[:N_NOISE] for v in part] for part in (found, expected)))
    if not clips:
        return Parity(on_noise)
    heard, true = ([v[N_NOISE:] for v in part] for part in (found, expected))
    return Parity(
        on_noise,
        largest_difference(heard, true),
        len(clips),
        same_choices(heard[0], true[0], spoken.counted),
    )


def _noise(recogniser: Recogniser) -> list[np.ndarray]:
    """One array per input: Gaussian noise, or tokens drawn at random."""
    random = np.random.default_rng(0)
    arrays = []
    for tensor in recogniser.model.inputs:
        shape = (N_NOISE, *(int(size) for size in tensor.shape[1:]))
        if tensor.dtype == "int64":
            arrays.append(random.integers(int(recogniser.model.outputs[0].shape[-1]), size=shape))
        else:
            arrays.append(random.normal(size=shape).astype(np.float32))
    return arrays
