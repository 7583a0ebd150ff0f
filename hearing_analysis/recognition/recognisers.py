"""What stands between clips and a recogniser, whichever family it is of."""

from dataclasses import replace
from pathlib import Path

from hearing_analysis.config import ROOT, AnalysisConfig
from models.checkpoint import open_checkpoint
from models.wav2vec2 import Wav2Vec2Preprocessor
from models.whisper import WhisperPreprocessor
from pipeline.audio import SAMPLING_RATE
from pipeline.errors import InputError

Preprocessor = Wav2Vec2Preprocessor | WhisperPreprocessor
WHISPER = "whisper"
WHISPER_MODES = ("seq2seq", "autoregressive")


def is_whisper(folder: Path) -> bool:
    """Whether a checkpoint folder holds a Whisper."""
    return open_checkpoint(folder).family == WHISPER


def check_mode(config: AnalysisConfig) -> None:
    """Make sure that the mode can drive the model.

    Raises
    ------
    InputError
        If it cannot.
    """
    family = open_checkpoint(config.model_folder).family
    if (family == WHISPER) != (config.mode in WHISPER_MODES):
        wanted = " or ".join(WHISPER_MODES) if family == WHISPER else "ctc"
        raise InputError(
            f"{_shown(config.model_folder)} holds a {family} model, which mode {config.mode!r} "
            f"cannot drive; choose {wanted} with `analyze mode`"
        )


def suited(config: AnalysisConfig) -> AnalysisConfig:
    """Change mode and window to those of the model, if it is of the other family.

    A Whisper's window is what its features cover; it is driven as it writes on its own.
    """
    whisper = is_whisper(config.model_folder)
    if whisper == (config.mode in WHISPER_MODES):
        return config
    if not whisper:
        return replace(config, mode="ctc")
    preprocessor = WhisperPreprocessor.from_folder(config.model_folder)
    seconds = preprocessor.n_samples / SAMPLING_RATE
    return replace(config, mode="autoregressive", window_seconds=seconds)


def open_wav2vec2(config: AnalysisConfig) -> Wav2Vec2Preprocessor:
    """Read what surrounds a CTC model."""
    return Wav2Vec2Preprocessor.from_folder(config.model_folder)


def open_whisper(config: AnalysisConfig) -> WhisperPreprocessor:
    """Read what surrounds a Whisper.

    Raises
    ------
    InputError
        If its chunk is not the window of the configuration, or it takes fewer positions.
    """
    preprocessor = WhisperPreprocessor.from_folder(config.model_folder)
    if preprocessor.n_samples != config.n_samples:
        seconds = preprocessor.n_samples / SAMPLING_RATE
        raise InputError(
            f"{_shown(config.model_folder)} hears {seconds:g} s at once and window_seconds is "
            f"{config.window_seconds:g}; set it to {seconds:g} in conf/analysis.yaml"
        )
    if (config.positions or 0) > preprocessor.max_positions:
        raise InputError(
            f"{_shown(config.model_folder)} takes {preprocessor.max_positions} tokens and "
            f"positions is {config.positions}; set it to that or less, or to null"
        )
    return preprocessor


def open_preprocessor(config: AnalysisConfig) -> Preprocessor:
    """Read what surrounds the model of a configuration."""
    return open_whisper(config) if is_whisper(config.model_folder) else open_wav2vec2(config)


def _shown(folder: Path) -> Path:
    return folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
