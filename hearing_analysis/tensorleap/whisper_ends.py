"""What both Whisper modes share: features, the clip to play, the graph, and how to read tokens.

There is no ``from __future__ import annotations`` here: code-loader reads the annotations as types.
"""

from pathlib import Path

import numpy as np
from code_loader.contract.datasetclasses import PreprocessResponse
from code_loader.contract.enums import LeapDataType
from code_loader.contract.visualizer_classes import LeapAudio, LeapGraph
from code_loader.inner_leap_binder.leapbinder_decorators import (
    tensorleap_custom_visualizer,
    tensorleap_gt_encoder,
)

from hearing_analysis import encoders
from hearing_analysis.recognition.recognisers import open_whisper
from hearing_analysis.tensorleap import drawing
from hearing_analysis.tensorleap.dataset import CONFIG
from models.platform_graph import PlatformMode, can_make_graphs, platform_graph

PREPROCESSOR = open_whisper(CONFIG)
POSITIONS = CONFIG.positions or PREPROCESSOR.max_positions


@tensorleap_gt_encoder("sound")
def sound(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Carry the clip to where it is played: float32 [shape=(n_samples,)], of unit level."""
    return encoders.sound(preprocess.data.waveform(idx), CONFIG.n_samples)


def features_of(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Make what the model hears: float32 [shape=(n_mels, frames)]."""
    return PREPROCESSOR.input_features([preprocess.data.waveform(idx)])[0]


def model_file(mode: PlatformMode) -> Path:
    """Find the graph that the platform is given, or make it."""
    made = CONFIG.model_folder / f"{mode}.onnx"
    return platform_graph(CONFIG.model_folder, mode) if can_make_graphs() else made


def text_of(ids: np.ndarray) -> str:
    """Read tokens, normalised as references are."""
    return PREPROCESSOR.normalize_text(PREPROCESSOR.decode(ids))


@tensorleap_custom_visualizer("audio", LeapDataType.Audio)
def listen(sound: np.ndarray, playback: np.ndarray) -> LeapAudio:
    """Play the clip as loud as its profile left it, over its picture."""
    return drawing.audio(drawing.restore(sound, playback))


@tensorleap_custom_visualizer("waveform", LeapDataType.Graph)
def waveform(sound: np.ndarray, playback: np.ndarray) -> LeapGraph:
    """Draw the clip's envelope at its true level."""
    return drawing.waveform_graph(drawing.restore(sound, playback))
