"""Samples, ground truths and metadata: what all modes share.

Columns are named as in ``analysis.parquet``: the platform joins the name of a metadata handler and
its key with an underscore, so handler ``clip`` with key ``age`` is ``clip_age``.

There is no ``from __future__ import annotations`` here: code-loader reads the annotations as types.
"""

from functools import cache

import numpy as np
from code_loader import leap_binder
from code_loader.contract.datasetclasses import PreprocessResponse
from code_loader.contract.enums import DatasetMetadataType, DataStateType
from code_loader.contract.responsedataclasses import LeapAnalysisConfiguration
from code_loader.inner_leap_binder.leapbinder_decorators import (
    tensorleap_gt_encoder,
    tensorleap_metadata,
    tensorleap_preprocess,
)

from hearing_analysis import encoders
from hearing_analysis.clip_tables import open_clip_tables
from hearing_analysis.config import load_config
from hearing_analysis.metadata import (
    HANDLERS,
    audio_metadata,
    clip_metadata,
    profile_metadata,
    text_metadata,
)
from hearing_analysis.recognition.recognisers import check_mode, open_preprocessor
from hearing_analysis.samples import SampleSet, open_samples
from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.audio import SAMPLING_RATE

CONFIG = load_config()
check_mode(CONFIG)
PREPROCESSOR = open_preprocessor(CONFIG)
TABLES = open_clip_tables(CONFIG.table_paths)
# What a clip's level is hidden by on its way: a CTC model's own input, else `encoders.sound`.
_LEVELLER = PREPROCESSOR if isinstance(PREPROCESSOR, Wav2Vec2Preprocessor) else encoders.UnitLevel()
_METADATA_TYPES = {
    float: DatasetMetadataType.float,
    int: DatasetMetadataType.float,  # what code-loader makes of an int
    str: DatasetMetadataType.string,
}

leap_binder.leap_analysis_configuration = LeapAnalysisConfiguration(
    domain_gap_metadata=["profile_name"], deterministic_results=True
)


@tensorleap_preprocess()
def preprocess() -> list[PreprocessResponse]:
    """Every clip under every profile; all profiles of a clip share its state."""
    states = CONFIG.splits.by_state().items()
    return [_response(samples_of(split), DataStateType(state)) for state, split in states]


@tensorleap_gt_encoder("reference_bytes")
def reference_bytes(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """UTF-8 of the normalised sentence: float32 [shape=(max_label_length,)], padded with 0."""
    sentence = preprocess.data.sentence(idx)
    return encoders.reference_bytes(sentence, PREPROCESSOR, CONFIG.max_label_length)


@tensorleap_gt_encoder("playback")
def playback(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Gain in dB and length in seconds that a clip has lost on its way: float32 [shape=(2,)]."""
    return encoders.playback(preprocess.data.waveform(idx), _LEVELLER, CONFIG.n_samples)


@tensorleap_gt_encoder("thresholds_db_hl")
def thresholds_db_hl(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Audiogram at the octaves: float32 [shape=(7,)]."""
    return encoders.thresholds_db_hl(preprocess.data.profile(idx))


@tensorleap_gt_encoder("spectra_dbfs")
def spectra_dbfs(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Long-term levels in third octaves, under the first profile and this: [shape=(2, 18)]."""
    samples = preprocess.data
    return encoders.spectra_dbfs(samples.reference_waveform(idx), samples.waveform(idx))


def _types(handler: str) -> dict[str, DatasetMetadataType]:
    return {key: _METADATA_TYPES[kind] for key, kind in HANDLERS[handler].items()}


@tensorleap_metadata("profile", _types("profile"))
def profile(idx: str, preprocess: PreprocessResponse) -> dict[str, float | str | None]:
    """Describe the hearing the clip was filtered through."""
    return profile_metadata(preprocess.data.profile(idx))


@tensorleap_metadata("audio", _types("audio"))
def audio(idx: str, preprocess: PreprocessResponse) -> dict[str, float | None]:
    """Describe how the clip sounds, unpadded."""
    samples = preprocess.data
    mask = samples.profile(idx) if samples.is_masked(idx) else None
    return audio_metadata(samples.waveform(idx), SAMPLING_RATE, mask)


@tensorleap_metadata("text", _types("text"))
def text(idx: str, preprocess: PreprocessResponse) -> dict[str, float | int | str | None]:
    """Describe the sentence as the corpus spells it."""
    return text_metadata(preprocess.data.sentence(idx))


@tensorleap_metadata("clip", _types("clip"))
def clip(idx: str, preprocess: PreprocessResponse) -> dict[str, float | str | None]:
    """Describe who speaks, and how."""
    return clip_metadata(preprocess.data.columns(idx))


METADATA = [profile, audio, text, clip]

if TABLES.names:

    @tensorleap_metadata("stage", dict.fromkeys(TABLES.names, DatasetMetadataType.float))
    def stage(idx: str, preprocess: PreprocessResponse) -> dict[str, float | None]:
        """Tell what other stages found out about the clip."""
        return preprocess.data.figures(idx)

    METADATA.append(stage)


@cache
def samples_of(split: str) -> SampleSet:
    """Open a split, once: code-loader asks for it again and again."""
    return open_samples(CONFIG, split)


def _response(samples: SampleSet, state: DataStateType) -> PreprocessResponse:
    return PreprocessResponse(sample_ids=list(samples.ids), data=samples, state=state)
