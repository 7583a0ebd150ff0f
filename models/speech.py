"""Real speech to try a network on: clips of the corpus that comes with the repository."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.wav2vec2 import Wav2Vec2Preprocessor
from models.whisper import WhisperPreprocessor
from pipeline.audio import load_mono

RELEASE = Path(__file__).parents[1] / "examples" / "mini-corpus"
N_CLIPS = 4

Preprocessor = Wav2Vec2Preprocessor | WhisperPreprocessor


@dataclass(frozen=True)
class SpokenClip:
    """A sentence that somebody says.

    Attributes
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
    sentence : str
    """

    waveform: np.ndarray
    sentence: str


@dataclass(frozen=True)
class NetworkInputs:
    """What a network is given, and which of its answers are about the clips.

    Attributes
    ----------
    arrays : dict of str to np.ndarray
        Input by name, clips along the first axis.
    counted : np.ndarray [shape=(clips, frames or positions), dtype=bool]
        Logits that heard a clip and not its padding, or that follow its sentence.
    """

    arrays: dict[str, np.ndarray]
    counted: np.ndarray


def spoken_clips(sampling_rate: int, n_clips: int = N_CLIPS) -> list[SpokenClip]:
    """Find the first clips of the test split; none where the examples are not installed.

    Parameters
    ----------
    sampling_rate : int
        Hz.
    n_clips : int
    """
    tables = sorted(RELEASE.glob("cv-corpus-*/*/test.tsv"))
    if not tables:
        return []
    with tables[0].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:n_clips]
    clips = tables[0].parent / "clips"
    return [
        SpokenClip(load_mono(clips / row["path"], sampling_rate), row["sentence"]) for row in rows
    ]


def network_inputs(
    preprocessor: Preprocessor, clips: Sequence[SpokenClip], length: int
) -> NetworkInputs:
    """Make a network's input of clips, a Whisper's with the sentences that it is to continue.

    Parameters
    ----------
    preprocessor : Wav2Vec2Preprocessor or WhisperPreprocessor
    clips : sequence of SpokenClip
    length : int
        Samples of a wav2vec2's window, or positions of a Whisper's decoder.
    """
    if isinstance(preprocessor, WhisperPreprocessor):
        labels = [preprocessor.label_ids(clip.sentence)[:-1][:length] for clip in clips]
        features = preprocessor.input_features([clip.waveform for clip in clips])
        ids = preprocessor.decoder_input_ids(labels, length)
        counted = np.array([np.arange(length) < len(row) for row in labels])
        return NetworkInputs({"input_features": features, "decoder_input_ids": ids}, counted)
    values = np.stack([preprocessor.input_values(clip.waveform, length) for clip in clips])
    frames = [preprocessor.n_frames(min(len(clip.waveform), length)) for clip in clips]
    counted = np.arange(preprocessor.n_frames(length)) < np.array(frames)[:, None]
    return NetworkInputs({"input_values": values}, counted)
