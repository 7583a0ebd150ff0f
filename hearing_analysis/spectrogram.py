"""Log-mel pictures on one fixed dBFS scale, so that a loss looks like a loss."""

import struct
import zlib
from functools import cache

import numpy as np

FLOOR_DBFS, CEILING_DBFS = -100.0, -20.0  # of one mel band; the same for every picture
N_MELS = 80
_WINDOW_S, _HOP_S = 0.025, 0.010
_MAX_FRAMES = 600  # pictures are a few hundred pixels wide

# "Magma" of matplotlib (CC0) at ten points: lightness rises evenly from black to pale yellow.
PALETTE = (
    *("#000004", "#180f3d", "#440f76", "#721f81", "#9e2f7f"),
    *("#cd4071", "#f1605d", "#fd9668", "#feca8d", "#fcfdbf"),
)


def log_mel_dbfs(waveform: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Level of every mel band over time.

    Parameters
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
        Full scale is [-1, 1].

    Returns
    -------
    np.ndarray [shape=(80, frames), dtype=float64]
        dB relative to a full-scale sine (AES17): such a sine reads 0 dBFS in its band.
    """
    window = np.hanning(round(_WINDOW_S * sampling_rate))
    padded = np.pad(waveform.astype(np.float64), len(window) // 2)
    hop = max(round(_HOP_S * sampling_rate), -(-len(waveform) // _MAX_FRAMES))
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window))[::hop]
    n_fft = _n_fft(sampling_rate)
    spectrum = np.abs(np.fft.rfft(frames * window, n_fft)) ** 2
    # Parseval: summed over bins this is the mean square of the frame; a full-scale sine has 1/2.
    power = spectrum * 2 / (n_fft * np.sum(window**2))
    bands = mel_filters(sampling_rate) @ power.T
    return 10 * np.log10(np.maximum(bands / 0.5, 1e-20))


def render_png(levels_dbfs: np.ndarray) -> bytes:
    """Colour band levels between the fixed floor and ceiling; low frequencies at the bottom."""
    scaled = (levels_dbfs - FLOOR_DBFS) / (CEILING_DBFS - FLOOR_DBFS)
    pixels = np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return _png(np.flipud(pixels), _palette())


@cache
def mel_filters(sampling_rate: int) -> np.ndarray:
    """Triangles evenly spaced in mel, peak 1, adding up to 1 between them.

    Returns
    -------
    np.ndarray [shape=(80, bins), dtype=float64]
        Mel by O'Shaughnessy's formula, 2595 log10(1 + f / 700), from 0 Hz to half the rate.
    """
    highest = 2595 * np.log10(1 + sampling_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, N_MELS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(_n_fft(sampling_rate), 1 / sampling_rate)
    return np.stack(
        [np.interp(frequencies, edges[band : band + 3], [0.0, 1.0, 0.0]) for band in range(N_MELS)]
    )


def _n_fft(sampling_rate: int) -> int:
    """Twice the window or more: at 16 kHz 1024, for the lowest bands are only 22 Hz apart."""
    return 1 << (2 * round(_WINDOW_S * sampling_rate) - 1).bit_length()


def _palette() -> np.ndarray:
    """RGB of 256 grey levels: uint8 [shape=(256, 3)]."""
    anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in PALETTE])
    positions = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(positions, np.arange(len(anchors)), anchors[:, i]) for i in range(3)]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)


def _png(pixels: np.ndarray, palette: np.ndarray) -> bytes:
    """Encode uint8 [shape=(height, width)] palette indices as PNG (ISO/IEC 15948)."""
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, indexed colour
    rows = np.pad(pixels, ((0, 0), (1, 0)))  # every row begins with its filter type, 0: none
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
