"""Clips as frozen convolutions hear them: computed once, by all processes together, and kept."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2FeatureEncoder

from models.clips import Clips, samples_per_frame
from models.wav2vec2 import Wav2Vec2Preprocessor

ENCODED_AT_ONCE = 16
EDGE = 4  # frames beyond the clip that a batch is computed for


class EncodedClips(torch.utils.data.Dataset):
    """What the convolutions make of each clip in a window padded with zeros, kept as float16.

    The last frame of each clip is what they make of silence; it pads the clip.
    """

    def __init__(self, clips: Clips, preprocessor: Wav2Vec2Preprocessor, parts: list[Path]) -> None:
        self.lengths = clips.lengths
        self._clips, self._preprocessor, self._epoch = clips, preprocessor, 0
        self._kept: list[np.ndarray] = [np.empty(0)] * len(clips)
        for path in parts:
            with np.load(path) as part:  # which reads an array anew whenever it is asked for
                rows, counts, frames = part["rows"], part["n_frames"], part["frames"]
            for row, end, count in zip(rows, np.cumsum(counts), counts, strict=True):
                self._kept[row] = frames[end - count : end].T

    def __len__(self) -> int:
        """Count the clips."""
        return len(self._kept)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Frames [shape=(dim, t)] and labels of one clip."""
        return {
            "input_values": self._kept[index],
            "labels": self._clips.labels(index),
            "n_frames": np.asarray(self._preprocessor.n_frames(self.lengths[index])),
            "draw": np.asarray([self._epoch, index]),
        }

    def set_epoch(self, epoch: int) -> None:
        """Say which pass it is."""
        self._epoch = epoch


def encode(
    clips: Clips,
    encoder: Wav2Vec2FeatureEncoder,
    preprocessor: Wav2Vec2Preprocessor,
    window: float,
    *,
    folder: Path,
    process: int = 0,
    n_processes: int = 1,
    barrier: Callable[[], None] = lambda: None,
) -> EncodedClips:
    """Hear every clip once.

    A part that an interrupted training left is used again, if the same network made it of the same
    clips.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [folder / f"encoded-{part}-of-{n_processes}.npz" for part in range(n_processes)]
    digest = _digest(clips, encoder, window)
    if not _was_made_of(parts[process], digest):
        rows = np.argsort(clips.lengths, kind="stable")[process::n_processes]
        frames = _encode_rows(clips, rows, encoder, preprocessor, window)
        partial = parts[process].with_suffix(".partial.npz")
        np.savez(
            partial,
            digest=digest,
            rows=rows,
            n_frames=np.array([len(each) for each in frames]),
            frames=np.concatenate(frames),
        )
        partial.replace(parts[process])
    barrier()
    return EncodedClips(clips, preprocessor, parts)


def _digest(clips: Clips, encoder: Wav2Vec2FeatureEncoder, window: float) -> str:
    """What the outcome depends on."""
    digest = hashlib.sha256(repr((window, clips.origin, clips.rows)).encode())
    for name, weights in encoder.state_dict().items():
        digest.update(name.encode() + weights.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _was_made_of(part: Path, digest: str) -> bool:
    if not part.is_file():
        return False
    with np.load(part) as kept:
        return "digest" in kept and str(kept["digest"]) == digest


def _encode_rows(
    clips: Clips,
    rows: np.ndarray,
    encoder: Wav2Vec2FeatureEncoder,
    preprocessor: Wav2Vec2Preprocessor,
    window: float,
) -> list[np.ndarray]:
    """Frames [shape=(t, dim)] of every row: the clip's, and one of silence."""
    hop, first_hop = samples_per_frame(preprocessor), preprocessor.conv_stride[0]
    padded = np.zeros((ENCODED_AT_ONCE, int(window * preprocessor.sampling_rate)), np.float32)
    encoded = []
    for start in range(0, len(rows), ENCODED_AT_ONCE):
        chosen = [clips[int(row)]["input_values"] for row in rows[start : start + ENCODED_AT_ONCE]]
        padded[:] = 0
        for target, waveform in zip(padded, chosen, strict=False):
            target[: len(waveform)] = waveform
        with torch.no_grad():
            # Only the first layer's norm looks at the whole window.
            first, *others = encoder.conv_layers
            hidden = first(torch.from_numpy(padded[: len(chosen), None]))
            n_seen = (max(map(len, chosen)) // hop + 2 * EDGE) * hop // first_hop
            hidden = hidden[..., :n_seen].contiguous()
            for layer in others:
                hidden = layer(hidden)
        for waveform, frames in zip(chosen, hidden.numpy(), strict=True):
            # The first frame that begins after the clip sees silence alone, as do all others.
            silent = min(-(-len(waveform) // hop), frames.shape[1] - 1)
            encoded.append(frames[:, : silent + 1].T.astype(np.float16))
        clips.forget()
    return encoded
