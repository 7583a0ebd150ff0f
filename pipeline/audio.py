"""Decode, mix down, resample and encode audio: the one place where sound enters and leaves.

Everything goes through libsndfile (WAV, FLAC, OGG, MP3) and the SoX resampler; no FFmpeg, no torch.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr

from pipeline.errors import ClipError

SAMPLING_RATE = 16_000  # Hz; what wav2vec2 and Whisper take
AudioFormat = Literal["flac24", "flac16", "wav32"]
# Suffix and subtype, in libsndfile's words.
AUDIO_FORMATS: dict[AudioFormat, tuple[str, str]] = {
    "flac24": ("flac", "PCM_24"),
    "flac16": ("flac", "PCM_16"),
    "wav32": ("wav", "FLOAT"),
}
FLAC_LEVEL = 3 / 8  # of 0 to 8, as libsndfile counts: a tenth quicker than the usual 5, 1 % larger
LOWEST_SAMPLING_RATE = 1_000  # Hz; less is a broken header, and resampling it would fill the memory


class _Memory(io.BytesIO):
    """Bytes as a file; libmpg123 seeks before the start of a broken one, and means no harm."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(max(offset, 0) if whence == 0 else offset, whence)


@dataclass(frozen=True)
class DecodedAudio:
    """Audio as its file holds it.

    Attributes
    ----------
    samples : np.ndarray [shape=(channels, n), dtype=float32]
        Full scale is [-1, 1].
    sampling_rate : int
        In Hz.
    """

    samples: np.ndarray
    sampling_rate: int

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples.shape[1] / self.sampling_rate


def decode(source: bytes | Path) -> DecodedAudio:
    """Decode a whole audio file.

    Raises
    ------
    ClipError
        If the file is missing, empty, not audio, holds NaN or infinite samples, or claims a length
        or a sampling rate that cannot be true.
    """
    if isinstance(source, Path):
        source = _read(source)
    if not source:
        raise ClipError("empty file (0 bytes)")
    try:
        samples, sampling_rate = soundfile.read(_Memory(source), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ClipError(f"not decodable as audio: {error.error_string.rstrip('.')}") from error
    except (MemoryError, ValueError) as error:  # of numpy, when it makes room for the samples
        raise ClipError("its header claims an impossible length") from error
    if sampling_rate < LOWEST_SAMPLING_RATE:
        raise ClipError(f"sampling rate {sampling_rate} Hz is below {LOWEST_SAMPLING_RATE} Hz")
    if not len(samples):
        raise ClipError("no samples")
    if not np.isfinite(samples).all():
        raise ClipError("NaN or infinite samples")
    return DecodedAudio(np.ascontiguousarray(samples.T), sampling_rate)


def to_mono(audio: DecodedAudio, sampling_rate: int = SAMPLING_RATE) -> np.ndarray:
    """Average the channels and resample.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        At ``sampling_rate`` Hz.

    Raises
    ------
    ClipError
        If the clip is so short that nothing is left after resampling.
    """
    mono = audio.samples[0] if len(audio.samples) == 1 else audio.samples.mean(axis=0)
    if audio.sampling_rate != sampling_rate:
        # librosa's default quality ("soxr_hq"), so features agree with what others compute.
        mono = soxr.resample(mono, audio.sampling_rate, sampling_rate, quality="HQ")
    if not len(mono):
        raise ClipError(f"no samples left at {sampling_rate} Hz")
    return np.ascontiguousarray(mono, dtype=np.float32)


def load_mono(source: bytes | Path, sampling_rate: int = SAMPLING_RATE) -> np.ndarray:
    """Decode, mix down and resample: float32 [shape=(n,)] at ``sampling_rate`` Hz."""
    return to_mono(decode(source), sampling_rate)


def encode_audio(
    waveform: np.ndarray,
    sampling_rate: int = SAMPLING_RATE,
    audio_format: AudioFormat = "flac24",
) -> bytes:
    """Encode samples as a file.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
    sampling_rate : int
        In Hz.
    audio_format : {"flac24", "flac16", "wav32"}
        FLAC with 24 or 16 bits, where what is beyond ±1 is clipped; or WAV with float32 samples,
        exact and three times as large.

    Returns
    -------
    bytes
    """
    suffix, subtype = AUDIO_FORMATS[audio_format]
    buffer = io.BytesIO()
    if audio_format == "wav32":
        import scipy.io.wavfile  # half a second, which few runs need

        # libsndfile notes the time of writing in the header: no two runs would give the same bytes.
        scipy.io.wavfile.write(buffer, sampling_rate, np.asarray(waveform, np.float32))
        return buffer.getvalue()
    # Integers that numpy rounds are the ones libsndfile would round, in less time.
    samples = to_integers(waveform, 24) if audio_format == "flac24" else waveform
    soundfile.write(
        buffer,
        samples,
        sampling_rate,
        subtype,
        format=suffix.upper(),
        compression_level=FLAC_LEVEL,
    )
    return buffer.getvalue()


def to_integers(waveform: np.ndarray, bits: int) -> np.ndarray:
    """Round samples to integers of so many bits, in the upper bits of int32; beyond ±1 is clipped.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Finite.
    bits : int
        Up to 24, which is what float32 can tell apart.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=int32]
    """
    full_scale = 2 ** (bits - 1)
    steps = np.multiply(waveform, np.float32(full_scale), dtype=np.float32)
    np.rint(steps, out=steps)
    np.clip(steps, -full_scale, full_scale - 1, out=steps)
    return np.left_shift(steps.astype(np.int32), 32 - bits)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ClipError("file is missing") from error
    except OSError as error:
        raise ClipError(f"file cannot be read: {error.strerror}") from error
