"""Clips by the paths that lists give them: files of a folder, or rows of a corpus."""

from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.audio import SAMPLING_RATE, load_mono
from pipeline.errors import MissingPathError
from pipeline.kmeans.manifest import Clip, Manifest


class Sounds:
    """Waveforms by path.

    Parameters
    ----------
    root : Path
        A folder that the paths are relative to; or a corpus, whose rows have paths of the form
        ``<split>/<row>/<id>.flac``.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise MissingPathError(f"{root} is no folder of clips and no corpus; give one of them")
        self.root = root

    @cached_property
    def _clips(self) -> Manifest:
        return Manifest(self.root, "", self.root)

    def waveform(self, path: str) -> np.ndarray:
        """Decode a clip: float32 [shape=(n,)], mono, at 16 kHz.

        Raises
        ------
        ClipError
            If it is missing, or is not audio.
        """
        return load_mono(self._clips.audio(Clip(path, None)), SAMPLING_RATE)
