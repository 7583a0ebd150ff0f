"""Frames of speech, 50 a second: log-mel energies, cepstral coefficients, or a speech encoder's.

Frame ``i`` of a waveform covers 25 ms from ``i`` times 20 ms on, which is how the convolutions of
wav2vec2 and HuBERT cut it too; so all kinds give the same number of frames at the same places.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.audio import SAMPLING_RATE
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.kmeans.encoders import WaveformEncoder

Kind = Literal["logmel", "mfcc", "encoder"]
Normalization = Literal["level", "bands", "none"]
KINDS: tuple[Kind, ...] = ("logmel", "mfcc", "encoder")
NORMALIZATIONS: tuple[Normalization, ...] = ("level", "bands", "none")
FRAMES_PER_SECOND = 50
HOP = SAMPLING_RATE // FRAMES_PER_SECOND
WINDOW = 400  # samples
FLOOR_BELOW_PEAK = 8 * np.log(10)  # energies are kept down to 80 dB below the loudest, as Whisper's
N_CEPS = 13


@dataclass(frozen=True)
class FrameSource:
    """What turns a waveform into frames. It is sent to workers, so it holds nothing open.

    Attributes
    ----------
    kind : {"logmel", "mfcc", "encoder"}
    n_mels : int
        Bands of log-mel.
    normalization : {"level", "bands", "none"}
        What is taken from log-mel and mfcc of a section: its mean level, or the mean of every band
        or coefficient, which also undoes any filter that does not change in time.
    checkpoint : str
        Hugging Face folder of the encoder.
    layer : int
        Its transformer block, from 1.
    """

    kind: Kind = "logmel"
    n_mels: int = 40
    normalization: Normalization = "level"
    checkpoint: str = ""
    layer: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse an encoder that is not there."""
        if self.kind == "encoder":
            if not self.checkpoint:
                raise InputError("frames of an encoder need --encoder FOLDER and --layer")
            _ = self._encoder

    @property
    def n_dims(self) -> int:
        """Numbers in a frame."""
        if self.kind == "encoder":
            return self._encoder.n_dims
        return self.n_mels if self.kind == "logmel" else 3 * N_CEPS

    @property
    def context_seconds(self) -> float:
        """How much of the clip on either side a section is computed with."""
        return 5.0 if self.kind == "encoder" else 0.0

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the values, as JSON values."""
        if self.kind == "encoder":
            known = {**self._encoder.settings, "checkpoint": self.checkpoint}
            return {**known, "kind": "encoder"}
        return {
            name: value
            for name, value in asdict(self).items()
            if name in ("kind", "normalization") or (name == "n_mels" and self.kind == "logmel")
        }

    def frames(self, waveform: np.ndarray) -> np.ndarray:
        """Frames of a waveform.

        Parameters
        ----------
        waveform : np.ndarray [shape=(n,), dtype=float32]
            At 16 kHz, at least 400 samples.

        Returns
        -------
        np.ndarray [shape=(1 + (n - 400) // 320, n_dims), dtype=float32]
        """
        if self.kind == "encoder":
            return self._encoder.features(waveform)
        return _filter_bank(waveform, self)

    def normalize(self, frames: np.ndarray) -> np.ndarray:
        """Take the mean of a section from its frames; those of encoders are left as they are."""
        if self.kind == "encoder" or self.normalization == "none":
            return frames
        # The level is the mean of all bands, or the first coefficient.
        by_band = frames.mean(axis=0, dtype=np.float64)
        if self.normalization == "bands":
            return np.asarray(frames - by_band, np.float32)
        if self.kind == "logmel":
            return np.asarray(frames - by_band.mean(), np.float32)
        shift = np.zeros(frames.shape[1])
        shift[0] = by_band[0]
        return np.asarray(frames - shift, np.float32)

    @cached_property
    def _encoder(self) -> "WaveformEncoder":
        from pipeline.kmeans.encoders import WaveformEncoder

        return WaveformEncoder(Path(self.checkpoint), self.layer, device=self.device)


def source_from(settings: dict[str, Any], checkpoint: Path | None = None) -> FrameSource:
    """Make the source that some settings describe.

    Parameters
    ----------
    settings : dict
        As :attr:`FrameSource.settings` gave them.
    checkpoint : Path, optional
        Where the encoder lies now, if not where it lay.

    Raises
    ------
    InputError
        If the settings are of no source of ours, or the encoder there is another one.
    """
    try:
        source = FrameSource(
            settings["kind"],
            settings.get("n_mels", 40),
            settings.get("normalization", "level"),
            str(checkpoint or settings.get("checkpoint", "")),
            settings.get("layer", 0),
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{settings!r} describes no frames; make the model again") from error
    if source.kind not in KINDS:
        raise InputError(f"frames of kind {source.kind!r} are none of: {', '.join(KINDS)}")
    known = settings.get("checkpoint_digest")
    if known and source.settings["checkpoint_digest"] != known:
        raise InputError(
            f"the encoder in {source.checkpoint} is not the one that these frames were made with; "
            "name the right one with --encoder"
        )
    return source


def _filter_bank(waveform: np.ndarray, source: FrameSource) -> np.ndarray:
    """Kaldi's log-mel energies, or cepstral coefficients with their deltas.

    Kaldi's floor of 1.2e-7 stays, on samples in [-1, 1]: what a hearing loss pushes below is gone.
    """
    import kaldi_native_fbank as knf

    is_mfcc = source.kind == "mfcc"
    options = knf.MfccOptions() if is_mfcc else knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.frame_shift_ms = 1000.0 / FRAMES_PER_SECOND
    if is_mfcc:
        options.use_energy = False
    else:
        options.mel_opts.num_bins = source.n_mels
    online = knf.OnlineMfcc(options) if is_mfcc else knf.OnlineFbank(options)
    online.accept_waveform(SAMPLING_RATE, waveform)
    online.input_finished()
    frames = np.stack([online.get_frame(i) for i in range(online.num_frames_ready)])
    if is_mfcc:
        first = _deltas(frames)
        return np.concatenate([frames, first, _deltas(first)], axis=1).astype(np.float32)
    return np.maximum(frames, frames.max() - np.float32(FLOOR_BELOW_PEAK))


def _deltas(frames: np.ndarray) -> np.ndarray:
    """Slopes over five frames, the ends repeated."""
    padded = np.pad(frames, ((2, 2), (0, 0)), mode="edge")
    n = len(frames)
    return np.asarray(
        (padded[3 : n + 3] - padded[1 : n + 1] + 2 * (padded[4 : n + 4] - padded[:n])) / 10
    )
