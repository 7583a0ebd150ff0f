"""`profile_metadata`, `clip_metadata`, and all handlers together."""

import subprocess
import sys

import numpy as np
import pytest

from hearing_analysis.metadata import HANDLERS, column_types, sample_metadata
from hearing_analysis.metadata import clip as clip_handler
from hearing_analysis.metadata import profile as profile_handler
from hearing_analysis.metadata.clip import clip_metadata
from hearing_analysis.metadata.profile import OCTAVES_HZ, profile_metadata
from pipeline.masking.profiles import PROFILES, HearingProfile, get_profile

CLIP = {
    "client_id": "a1b2",
    "accents": "Scottish English",
    "age": "fifties",
    "gender": "female_feminine",
    "locale": "en",
    "sentence_domain": "general",
    "id": "1089-134686-0000",
    "path": "1089-134686-0000.flac",
    "speaker_name": "Sean",
    "chapter_id": "134686",
    "subset": "test-clean",
    "sentence": "Don't go - please.",
    "duration_s": 2.0,
    "output_gain_db": -3.5,
    "up_votes": 2,
}


@pytest.mark.parametrize("name", PROFILES)
def test_profile_keys_and_types_are_always_the_same(name: str) -> None:
    found = profile_metadata(get_profile(name))
    assert list(found) == list(profile_handler.TYPES)
    assert {key: type(value) for key, value in found.items()} == profile_handler.TYPES
    assert found["name"] == name


@pytest.mark.parametrize(
    ("name", "average_db", "grade"),
    [
        ("normal", 10.0, "none"),
        ("lfloss", (70 + 55 + 40 + 25) / 4, "moderate"),
        ("hfloss", (40 + 55 + 70 + 85) / 4, "moderately_severe"),
        ("N1", (10 + 10 + 15 + 30) / 4, "none"),
        ("N3", (35 + 40 + 50 + 60) / 4, "moderate"),
        ("N7", (95 + 105 + 105 + 105) / 4, "complete"),
    ],
)
def test_pure_tone_average_and_severity(name: str, average_db: float, grade: str) -> None:
    found = profile_metadata(get_profile(name))
    assert found["pure_tone_average_db"] == average_db
    assert found["severity"] == grade


def test_attenuation_at_the_audiogram_points_is_the_audiogram() -> None:
    found = profile_metadata(get_profile("hfloss"))
    values = [found[f"attenuation_db_{frequency}_hz"] for frequency in OCTAVES_HZ]
    assert values == [10, 25, 40, 55, 70, 85, 100]


def test_attenuation_between_the_points_is_straight_over_octaves() -> None:
    found = profile_metadata(HearingProfile("two-points", (250.0, 4000.0), (20.0, 60.0), "test"))
    values = [found[f"attenuation_db_{frequency}_hz"] for frequency in OCTAVES_HZ]
    assert values == pytest.approx([20, 20, 30, 40, 50, 60, 60])


def test_clip() -> None:
    assert clip_metadata(CLIP) == {
        "id": "1089-134686-0000",
        "path": "1089-134686-0000.flac",
        "speaker": "a1b2",
        "speaker_name": "Sean",
        "chapter": "134686",
        "subset": "test-clean",
        "accent": "Scottish English",
        "age": "fifties",
        "gender": "female_feminine",
        "locale": "en",
        "sentence_domain": "general",
        "output_gain_db": -3.5,
        "speaking_rate_words_per_s": 1.5,
    }


@pytest.mark.parametrize(
    "columns",
    [
        {},
        dict.fromkeys(CLIP),
        dict.fromkeys(CLIP, float("nan")),
        dict.fromkeys(CLIP, "  ") | {"output_gain_db": None, "duration_s": 0.0},
    ],
    ids=["no columns", "None", "NaN", "empty"],
)
def test_clip_tells_what_is_missing(columns: dict[str, object]) -> None:
    assert clip_metadata(columns) == dict.fromkeys(clip_handler.TYPES)


@pytest.mark.parametrize(
    ("sentence", "seconds", "rate"),
    [("one two", 0.5, 4.0), ("...", 1.0, 0.0), ("one", 0.0, None), ("", 1.0, None)],
)
def test_speaking_rate(sentence: str, seconds: float, rate: float | None) -> None:
    found = clip_metadata({"sentence": sentence, "duration_s": seconds})
    assert found["speaking_rate_words_per_s"] == rate


def test_sample_metadata_holds_every_handler_in_a_fixed_order() -> None:
    found = sample_metadata(
        profile=get_profile("lfloss"),
        waveform=np.random.default_rng(0).standard_normal(8000).astype(np.float32),
        sampling_rate=16_000,
        columns=CLIP,
    )
    assert list(found) == list(column_types())
    assert next(iter(found)) == "profile_name"
    assert {column.split("_")[0] for column in found} == set(HANDLERS)
    assert found["text_word_count"] == 3
    for column, kind in column_types().items():
        assert type(found[column]) is kind, column


def test_sample_metadata_of_an_unlabelled_clip() -> None:
    found = sample_metadata(
        profile=get_profile("normal"),
        waveform=np.zeros(1, np.float32),
        sampling_rate=16_000,
        columns={"sentence": None},
    )
    assert list(found) == list(column_types())
    assert found["text_word_count"] == 0


def test_there_are_fewer_columns_than_the_platform_takes() -> None:
    assert len(column_types()) < 799


def test_importing_metadata_is_light() -> None:
    heavy = ["torch", "tensorflow", "librosa", "numba", "scipy", "transformers", "textstat"]
    code = f"import sys, hearing_analysis.metadata; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
