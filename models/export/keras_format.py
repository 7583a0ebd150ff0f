"""A wav2vec2 or HuBERT as a Keras file, and how near to torch it is."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.checkpoint import Checkpoint, check_weights
from models.parity import KERAS_TOLERANCE, Parity, largest_difference, require, same_choices
from models.reference import torch_outputs
from models.speech import network_inputs, spoken_clips
from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.errors import CheckFailed, InputError

if TYPE_CHECKING:
    import keras

    from models.export.command import ExportSettings

N_NOISE = 2  # clips of noise to compare on


def write_keras(
    source: Checkpoint, folder: Path, name: str, settings: "ExportSettings"
) -> tuple[Parity, list[str]]:
    """Build a checkpoint in Keras, save it in the format of ``name``, load it and check that.

    Raises
    ------
    InputError
        If the checkpoint is damaged, a Whisper, a pickle, or of a variant that is not built.
    CheckFailed
        If what loads and torch disagree.
    """
    if source.family == "whisper":
        raise InputError(
            f"{source.folder} holds a Whisper, which is not built in Keras; export it with "
            "--format onnx"
        )
    preprocessor = Wav2Vec2Preprocessor.from_folder(source.folder)
    n_samples = preprocessor.window_samples(settings.window_seconds)
    check_weights(source.folder)  # a pickle needs torch, which cannot be loaded beside TensorFlow
    from models.wav2vec2_keras import build_model, load_model

    build_model(source.folder, n_samples).save(folder / name)
    parity = _parity(source, load_model(folder / name), preprocessor, n_samples)
    try:
        require(parity, KERAS_TOLERANCE, f"Keras with {name}")
    except CheckFailed as error:
        raise CheckFailed(f"{error}; nothing was written") from error
    return parity, [name]


def _parity(
    source: Checkpoint, model: "keras.Model", preprocessor: Wav2Vec2Preprocessor, n_samples: int
) -> Parity:
    clips = spoken_clips(preprocessor.sampling_rate)
    noise = np.random.default_rng(0).normal(size=(N_NOISE, n_samples)).astype(np.float32)
    batch, counted = noise, np.zeros((0, 0), dtype=bool)
    if clips:
        inputs = network_inputs(preprocessor, clips, n_samples)
        batch = np.concatenate([noise, inputs.arrays["input_values"]])
        counted = inputs.counted
    outputs = torch_outputs(source.folder, {"input_values": batch})
    expected = [outputs["logits"], outputs["hidden_states"]]
    found = [output.numpy() for output in model(batch, training=False)]
    on_noise = largest_difference(*([v[:N_NOISE] for v in part] for part in (found, expected)))
    if not clips:
        return Parity(on_noise)
    spoken, true = ([v[N_NOISE:] for v in part] for part in (found, expected))
    return Parity(
        on_noise,
        largest_difference(spoken, true),
        len(clips),
        same_choices(spoken[0], true[0], counted),
    )
