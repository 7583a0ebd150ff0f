"""Sequences of vectors as one: the match kernel, and clips that go through it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import noise, seeded, tone

from pipeline.errors import ClipError, InputError, MissingPathError
from pipeline.mining.encoders import make_encoder
from pipeline.mining.kernel import MatchKernel
from pipeline.mining.preset import EncoderChoice
from pipeline.mining.sequences import without_silence
from pipeline.neighbours import unit_rows

MODEL = Path(__file__).parents[3] / "models" / "mini-sse"


@seeded
@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(2, 12))
def test_products_are_those_of_the_match_kernel(seed, n, m):
    rng = np.random.default_rng(seed)
    kernel = MatchKernel(width=0.6, place_width=0.2, n_features=20_000)
    sides = []
    for count in (n, m):
        vectors, places = rng.standard_normal((count, 6)), rng.random(count)
        unit = unit_rows(vectors)
        sides.append((vectors, places, unit_rows(unit - unit.mean(0))))
    (first, s, a), (second, t, b) = sides

    found = 2 * np.mean(kernel.embed(first, s) * kernel.embed(second, t))
    squares = ((a[:, None] - b[None]) ** 2).sum(2)
    gaps = (s[:, None] - t[None]) ** 2
    expected = np.exp(-squares / (2 * 0.6**2) - gaps / (2 * 0.2**2)).mean()
    assert found == pytest.approx(expected, abs=0.03)


def test_silence_at_either_end_is_cut():
    speech = tone(300, 0.5)
    quiet = 1e-3 * noise(0.4)
    cut = without_silence(np.concatenate([quiet, speech, quiet]).astype(np.float32))

    assert abs(len(cut) - len(speech)) < 1_200
    assert np.abs(cut[1_000:-1_000]).max() > 0.1
    assert len(without_silence(np.zeros(5_000, np.float32))) >= 400


def encoder(**settings):
    if not (MODEL / "model.safetensors").is_file():
        pytest.skip("the small model is not here")
    return make_encoder(EncoderChoice("pipeline.mining.SseEncoder", str(MODEL), settings=settings))


def test_a_clip_is_one_vector_of_its_stretches_whatever_is_around_it():
    rng = np.random.default_rng(0)
    clip = np.concatenate([tone(f, 0.15) for f in rng.uniform(200, 2_000, 8)]).astype(np.float32)
    other = np.concatenate([tone(f, 0.15) for f in rng.uniform(200, 2_000, 8)]).astype(np.float32)
    padded = np.pad(0.3 * clip, 6_400)
    rows = unit_rows(encoder().encode_speech([clip, padded, other, clip[:2_000]]))

    assert rows.shape == (4, 1_024)
    assert rows[0] @ rows[1] > 0.8
    assert rows[0] @ rows[2] < 0.5
    assert encoder(pooling="clip").encode_speech([clip]).shape == (1, 128)
    np.testing.assert_array_equal(
        encoder().encode_speech([clip]), encoder().encode_speech([other, clip])[1:]
    )


def test_what_cannot_be_embedded_is_said():
    with pytest.raises(ClipError, match="399 samples are fewer than one frame's 400"):
        encoder().encode_speech([np.zeros(399, np.float32)])
    with pytest.raises(InputError, match="pooling 'max' is not one of: sequence, clip"):
        encoder(pooling="max")
    with pytest.raises(MissingPathError, match="is no model of speech sequence embeddings"):
        make_encoder(EncoderChoice("pipeline.mining.SseEncoder", "docs"))
    assert encoder().settings != encoder(pooling="clip").settings
