"""Between clips and the tensors the platform keeps: fixed shapes, float32, and the way back.

The platform stores every tensor as float16, which counts in ones up to 2048. So text travels as
UTF-8 bytes, ids and lengths stay below that limit, and levels travel in decibels.
"""

from typing import Protocol

import numpy as np

from hearing_analysis.config import LARGEST_EXACT_INTEGER
from hearing_analysis.metadata.bands import long_term_levels_dbfs
from models.wav2vec2 import Wav2Vec2Preprocessor
from models.whisper import WhisperPreprocessor
from pipeline.audio import SAMPLING_RATE
from pipeline.errors import InputError
from pipeline.logmel.features import HOP_LENGTH
from pipeline.masking.profiles import OCTAVES_HZ, HearingProfile

LABEL_PADDING = -1.0
DIGIT_BASE = 1024  # ids above 2048 travel as two digits
SPECTRUM_N_FFT = 2048


class Normalizer(Protocol):
    """Brings a clip to the level at which it travels."""

    def normalize(self, clip: np.ndarray) -> np.ndarray:
        """Scale, and perhaps shift, a whole clip."""
        ...


class UnitLevel:
    """Brings a clip to an RMS of 1: what is soft would drown in the coarseness of float16."""

    def normalize(self, clip: np.ndarray) -> np.ndarray:
        """Divide a clip by its RMS; digital silence stays silent."""
        level = np.sqrt(np.square(clip, dtype=np.float64).mean())
        return clip / np.float32(level) if level > 0 else clip


class TextNormalizer(Protocol):
    """Reduces text to what a model can write."""

    def normalize_text(self, text: str) -> str:
        """Normalise references and hypotheses alike."""
        ...


def check_window(preprocessor: Wav2Vec2Preprocessor, n_samples: int) -> None:
    """Make sure that a window has frames, and no more of them than float16 can count.

    Raises
    ------
    InputError
        If it is too short or too long.
    """
    n_frames = preprocessor.n_frames(n_samples)
    if not 0 < n_frames < LARGEST_EXACT_INTEGER:
        seconds = n_samples / preprocessor.sampling_rate
        raise InputError(
            f"a window of {seconds:g} s makes {n_frames} frames; it must make at least 1 and "
            f"fewer than {LARGEST_EXACT_INTEGER}; change window_seconds in conf/analysis.yaml"
        )


def input_values(
    waveform: np.ndarray, preprocessor: Wav2Vec2Preprocessor, n_samples: int
) -> np.ndarray:
    """Make what the model hears: float32 [shape=(n_samples,)], normalised, then padded or cut."""
    return preprocessor.input_values(waveform, n_samples).astype(np.float32, copy=False)


def playback(waveform: np.ndarray, preprocessor: Normalizer, n_samples: int) -> np.ndarray:
    """Tell what model input hides of a clip: how loud it is, and where it ends.

    Model input is equally loud for every profile; without this its listener would miss the loss.

    Returns
    -------
    np.ndarray [shape=(2,), dtype=float32]
        Gain in dB that turns model input back into the clip: its level re full scale for a model
        that wants normalised input, 0 for any other and for silence. Seconds of it in the window.
    """
    heard = waveform[:n_samples]
    spread = preprocessor.normalize(heard).std(dtype=np.float64)
    gain = heard.std(dtype=np.float64) / spread if spread > 0 else 1.0
    return np.array([20 * np.log10(gain), len(heard) / SAMPLING_RATE], dtype=np.float32)


def labels(sentence: str, preprocessor: Wav2Vec2Preprocessor, max_label_length: int) -> np.ndarray:
    """Token ids of a sentence: float32 [shape=(max_label_length,)], padded with -1.

    Raises
    ------
    InputError
        If the sentence is longer: cut short it would be scored against words nobody said.
    """
    ids = preprocessor.label_ids(sentence)
    _check_length(sentence, len(ids), max_label_length)
    return _padded(ids, max_label_length, LABEL_PADDING)


def lengths(
    waveform: np.ndarray, sentence: str, preprocessor: Wav2Vec2Preprocessor, n_samples: int
) -> np.ndarray:
    """Frames of logits that heard the clip and not its padding, and labels of its sentence.

    Returns
    -------
    np.ndarray [shape=(2,), dtype=float32]
        Frames, no more than the window has, and labels.
    """
    n_frames = preprocessor.n_frames(min(len(waveform), n_samples))
    return np.array([n_frames, len(preprocessor.label_ids(sentence))], dtype=np.float32)


def reference_bytes(
    sentence: str, preprocessor: TextNormalizer, max_label_length: int
) -> np.ndarray:
    """UTF-8 of the normalised sentence: float32 [shape=(max_label_length,)], padded with 0.

    Raises
    ------
    InputError
        If the sentence is longer.
    """
    encoded = np.frombuffer(preprocessor.normalize_text(sentence).encode(), dtype=np.uint8)
    _check_length(sentence, len(encoded), max_label_length)
    return _padded(encoded, max_label_length, 0.0)


def sound(waveform: np.ndarray, n_samples: int) -> np.ndarray:
    """Carry a clip to where it is played: float32 [shape=(n_samples,)], of unit level, padded.

    `playback` of `UnitLevel` tells how loud it was.
    """
    padded = np.zeros(n_samples, dtype=np.float32)
    heard = waveform[:n_samples]
    padded[: len(heard)] = UnitLevel().normalize(heard)
    return padded


def digits(ids: np.ndarray, length: int) -> np.ndarray:
    """Write ids as high and low digits to base 1024: float32 [shape=(length, 2)], padded with -1.

    Raises
    ------
    InputError
        If there are more ids: cut short they would be scored against a text nobody said.
    """
    if len(ids) > length:
        raise InputError(
            f"a sentence has {len(ids)} tokens and the model takes {length}; set positions, and "
            "export the model with as many, or leave the clip out"
        )
    rows = np.full((length, 2), LABEL_PADDING, dtype=np.float32)
    rows[: len(ids)] = np.stack(np.divmod(ids, DIGIT_BASE), axis=1)
    return rows


def ids_of_digits(rows: np.ndarray) -> np.ndarray:
    """Undo `digits` for rows [shape=(..., length, 2)]: int64 [shape=(..., length)], padding -1."""
    high, low = np.moveaxis(np.rint(rows.astype(np.float32)).astype(np.int64), -1, 0)
    return np.where(high < 0, -1, high * DIGIT_BASE + low)


def targets(
    sentence: str, preprocessor: WhisperPreprocessor, positions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that Whisper is given, and those it should answer with: both int64 [shape=(n,)].

    Raises
    ------
    InputError
        If the sentence has more tokens than there are positions.
    """
    ids = preprocessor.label_ids(sentence)  # as it was trained: capitals, punctuation and all
    if len(ids) - 1 > positions:
        raise InputError(
            f"the sentence {sentence[:40]!r}… has {len(ids) - 1} tokens, and the model takes "
            f"{positions}; set positions, and export the model with as many"
        )
    return ids[:-1], ids[1:]


def encoder_frames(n_samples: int, preprocessor: WhisperPreprocessor) -> int:
    """Count the encoder's frames that heard a clip and not its padding: one for two features."""
    n_heard = min(n_samples, preprocessor.n_samples)
    return max(1, -(-n_heard // (2 * HOP_LENGTH)))


def spectra_dbfs(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Long-term levels of a clip in third octaves, before and after a loss.

    Parameters
    ----------
    before, after : np.ndarray [shape=(n,), dtype=float32]

    Returns
    -------
    np.ndarray [shape=(2, 18), dtype=float32]
        dB re an RMS of 1.
    """
    levels = [long_term_levels_dbfs(w, SAMPLING_RATE, SPECTRUM_N_FFT) for w in (before, after)]
    return np.stack(levels)


def thresholds_db_hl(profile: HearingProfile) -> np.ndarray:
    """Audiogram at the octaves from 125 Hz to 8 kHz: float32 [shape=(7,)].

    Read as audiograms are: straight lines over the logarithm of frequency, constant beyond the
    outermost points.
    """
    octaves, frequencies = np.log2(OCTAVES_HZ), np.log2(profile.frequencies_hz)
    return np.interp(octaves, frequencies, profile.thresholds_db_hl).astype(np.float32)


def restore_waveform(values: np.ndarray, gain_db: float, seconds: float) -> np.ndarray:
    """Undo `input_values` with the help of `playback`.

    Parameters
    ----------
    values : np.ndarray [shape=(n_samples,)]
        Model input.
    gain_db, seconds : float
        Of `playback`.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        In [-1, 1], finite, at least one sample.
    """
    n_samples = max(1, round(seconds * SAMPLING_RATE))
    waveform = values[:n_samples].astype(np.float32) * np.float32(10 ** (gain_db / 20))
    return np.clip(np.nan_to_num(waveform), -1, 1).astype(np.float32)


def reference_text(row: np.ndarray) -> str:
    """Undo `reference_bytes` for one sample."""
    codes = np.rint(row).astype(np.uint8)
    return codes[codes > 0].tobytes().decode(errors="replace")


def reference_texts(rows: np.ndarray) -> list[str]:
    """Undo `reference_bytes` for a batch [shape=(batch, length)]."""
    return [reference_text(row) for row in rows]


def hypotheses(
    logits: np.ndarray, n_frames: np.ndarray, preprocessor: Wav2Vec2Preprocessor
) -> list[str]:
    """Transcribe a batch: greedy CTC on the frames that heard the clip, normalised as references.

    Parameters
    ----------
    logits : np.ndarray [shape=(batch, frames, vocabulary)]
    n_frames : np.ndarray [shape=(batch,)]
    """
    pairs = zip(logits, np.rint(n_frames).astype(int).tolist(), strict=True)
    return [preprocessor.normalize_text(preprocessor.decode(*pair)) for pair in pairs]


def mean_pool(hidden_states: np.ndarray, n_frames: np.ndarray) -> np.ndarray:
    """Average a batch over the frames that heard the clip.

    Parameters
    ----------
    hidden_states : np.ndarray [shape=(batch, frames, hidden)]
    n_frames : np.ndarray [shape=(batch,)]
        A clip too short for a frame is represented by its first.

    Returns
    -------
    np.ndarray [shape=(batch, hidden), dtype=float32]
    """
    counts = np.maximum(np.rint(n_frames), 1)
    heard = np.arange(hidden_states.shape[1]) < counts[:, None]
    total = np.einsum("bth,bt->bh", hidden_states.astype(np.float32), heard.astype(np.float32))
    return (total / counts[:, None]).astype(np.float32)


def _check_length(sentence: str, length: int, max_label_length: int) -> None:
    if length > max_label_length:
        raise InputError(
            f"the sentence {sentence[:40]!r}… has {length} labels, max_label_length is "
            f"{max_label_length}; set it to {length} or more in conf/analysis.yaml"
        )


def _padded(values: np.ndarray, length: int, padding: float) -> np.ndarray:
    row = np.full(length, padding, dtype=np.float32)
    row[: len(values)] = values
    return row
