import numpy as np
import pytest
from fixtures import make_waveform

from hearing_analysis import visualizers
from pipeline.audio import SAMPLING_RATE


def tone(frequency_hz: float, amplitude: float = 0.1) -> np.ndarray:
    time = np.arange(SAMPLING_RATE) / SAMPLING_RATE
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def brightness(picture: np.ndarray) -> np.ndarray:
    return picture.sum(axis=2, dtype=int)


def test_a_picture_is_an_rgb_image():
    picture = visualizers.log_mel_picture(make_waveform(0, 0.7), SAMPLING_RATE)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3


def test_low_frequencies_are_at_the_bottom():
    low, high = (
        visualizers.log_mel_picture(tone(frequency), SAMPLING_RATE) for frequency in (150, 6000)
    )
    assert brightness(low).mean(axis=1).argmax() > brightness(high).mean(axis=1).argmax()


def test_a_loss_looks_like_a_loss():
    pictures = [
        visualizers.log_mel_picture(gain * make_waveform(0, 0.7), SAMPLING_RATE)
        for gain in (1.0, 0.1, 0.01)
    ]
    means = [brightness(picture).mean() for picture in pictures]
    assert means[0] > 1.2 * means[1] > 1.2**2 * means[2]


def test_silence_is_black_and_not_stretched_to_the_scale():
    picture = visualizers.log_mel_picture(np.zeros(8_000, np.float32), SAMPLING_RATE)
    assert picture.max() <= 5  # the darkest colour of the palette


@pytest.mark.parametrize("n_samples", [1, 10, 400])
def test_the_shortest_clips_have_a_picture(n_samples):
    picture = visualizers.log_mel_picture(np.full(n_samples, 0.1, np.float32), SAMPLING_RATE)
    assert picture.size


def test_a_deletion_keeps_its_place():
    marked = visualizers.word_alignment("THE OLD MAN SAT DOWN", "THE MAN SAD DOWN NOW")
    assert marked.words == ("THE", "OLD", "MAN", "SAT→SAD", "DOWN", "NOW")
    assert marked.codes.tolist() == [0, 2, 0, 1, 0, 3]
    assert [visualizers.EDIT_LABELS[code - 1] for code in marked.codes if code] == [
        *("deletion", "substitution", "insertion")
    ]
    assert marked.codes.dtype == np.uint8


@pytest.mark.parametrize(
    ("reference", "hypothesis", "words", "codes"),
    [
        ("", "", ("",), [0]),
        ("YES", "", ("YES",), [2]),
        ("", "NO", ("NO",), [3]),
    ],
)
def test_empty_sides_are_aligned_too(reference, hypothesis, words, codes):
    marked = visualizers.word_alignment(reference, hypothesis)
    assert marked.words == words
    assert marked.codes.tolist() == codes


def test_the_transcript_says_which_is_which():
    assert visualizers.transcript("A TREE", "A") == ["said:", "A", "TREE", "recognised:", "A"]
    assert visualizers.transcript("", "") == ["said:", "recognised:"]


def test_the_audiogram_falls_where_hearing_is_worse():
    curve = visualizers.audiogram_curve(np.array([10, 25, 40, 55, 70, 85, 100], np.float16))
    assert curve.shape == (7, 1)
    assert curve.dtype == np.float32
    assert (np.diff(curve[:, 0]) < 0).all()
