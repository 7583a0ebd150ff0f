"""What both Whisper modes share: features, the clip to play, the graph, and how to read tokens.

There is no ``from __future__ import annotations`` here: code-loader reads the annotations as types.
"""

from pathlib import Path

import numpy as np
from code_loader.contract.datasetclasses import PreprocessResponse
from code_loader.inner_leap_binder.leapbinder_decorators import tensorleap_gt_encoder

from hearing_analysis import encoders
from hearing_analysis.recognisers import open_whisper
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
