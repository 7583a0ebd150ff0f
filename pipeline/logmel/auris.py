"""The log-mel spectrogram that the discriminative lexicon models of the pilot take.

A word is a fixed number of frames in decibels below its own loudest cell, laid out as one long
vector: 128 bins × 391 frames are the 50,048 cues of a row of the cue matrix C, which a linear
mapping F takes to meaning (Baayen et al. 2019, Complexity, doi:10.1155/2019/4895891). The values
are librosa's: ``power_to_db(melspectrogram(n_fft=400, hop_length=160), ref=np.max)``.
"""

import numpy as np

from pipeline.logmel.features import FLOOR, HOP_LENGTH, N_FFT, check_mono, log10, mel_power

N_MELS = 128
N_FRAMES = 391  # 3.9 s
RANGE_DB = 80.0  # kept below the loudest cell


def decibel_mel(waveform: np.ndarray, n_mels: int = N_MELS, n_frames: int = N_FRAMES) -> np.ndarray:
    """Mel spectrogram in dB re its own maximum, without padding.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        At 16 kHz; what lies beyond the last frame is left out.
    n_mels, n_frames : int

    Returns
    -------
    np.ndarray [shape=(n_mels, n_seen), dtype=float32]
        From -80 to 0; ``n_seen`` is at most ``n_frames``.

    Raises
    ------
    ClipError
        If the waveform is empty or not one-dimensional.
    """
    check_mono(waveform)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, N_FFT // 2), N_FFT)
    frames = windows[::HOP_LENGTH]
    decibels = 10 * log10(np.maximum(mel_power(frames, n_mels), np.float32(FLOOR)))
    # As the pilot did, the maximum is that of the whole clip, also of what is cut off.
    return np.maximum(decibels - decibels.max(), np.float32(-RANGE_DB))[:, :n_frames]


def pad_with_minimum(features: np.ndarray, n_frames: int) -> np.ndarray:
    """Fill up with the clip's own minimum, as the pilot did.

    Parameters
    ----------
    features : np.ndarray [shape=(n_mels, n_seen)]
    n_frames : int
        At least ``n_seen``.

    Returns
    -------
    np.ndarray [shape=(n_mels, n_frames)]
        Of the same dtype.
    """
    padded = np.full((len(features), n_frames), features.min(), dtype=features.dtype)
    padded[:, : features.shape[1]] = features
    return padded
