"""Lists of sections and segments, the grid, and what is transcribed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import seeded

from pipeline.errors import InputError, MissingPathError
from pipeline.sse.lists import read_sections, read_segments, write_segments
from pipeline.sse.segments import SegmentSettings, grid_spans, make_segments, random_spans
from pipeline.sse.transcribe import (
    Aligned,
    aligned_segments,
    names_inside,
    read_alignment,
    repeated,
    transcribe,
)

SEGMENTS = """a/1.wav ann 0.0 2.0 0.16 0.48 HH,AH
a/1.wav ann 0.0 2.0 0.16 0.64 NOTRANS
b/1.wav bob 0.5 1.7 0.5 0.98
b/1.wav bob 0.5 1.7 0.66 0.98 HH,AH
"""


@pytest.fixture
def write(tmp_path):
    def written(text, name="list"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return written


def test_a_list_of_segments_is_read_and_written(write, tmp_path):
    found = read_segments(write(SEGMENTS))
    assert found.sections.paths == ("a/1.wav", "b/1.wav")  # one name in two folders is two clips
    assert [found.transcription(row) for row in range(4)] == [
        "HH,AH",
        "NOTRANS",
        "NOTRANS",
        "HH,AH",
    ]
    np.testing.assert_allclose(found.seconds, [0.32, 0.48, 0.48, 0.32])
    write_segments(tmp_path / "again", found)
    lines = (tmp_path / "again").read_text().splitlines()
    assert lines[0] == "a/1.wav ann 0.0000 2.0000 0.1600 0.4800 HH,AH"
    assert len(read_segments(tmp_path / "again")) == 4


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a.wav ann 0 2 0.5 0.5 x", "line 1, has a segment of no length"),
        ("a.wav ann 0 2 0.5 0.4", "line 1, has a segment of no length"),
        ("a.wav ann 0 2 1.5 2.5", "line 1, has a segment, 1.5 to 2.5 s, outside its section"),
        ("a.wav ann 0 2 -0.5 1", "starts at -0.5 s, before its clip"),
        ("a.wav ann 0 2 0.5", "line 1, has 5 fields; 6 or more are needed"),
        ("a.wav ann 0 two 0.5 1", "from '0' to 'two', which are no seconds"),
        ("a.wav ann 0 nan 0.5 1", "which are no seconds"),
        ("\n\n", "is empty"),
    ],
)
def test_a_bad_line_is_named(write, line, complaint):
    with pytest.raises(InputError, match=complaint):
        read_segments(write(line))


def test_overlapping_sections_are_refused(write):
    text = "a.wav ann 0 2\nb.wav ann 0 2\na.wav ann 1.5 3\n"
    with pytest.raises(InputError, match=r"sections of a.wav overlap, 0 to 2 s and 1.5 to 3 s"):
        read_sections(write(text))
    assert len(read_sections(write(text.replace("a.wav ann 1.5", "a.wav bob 1.5")))) == 3


def test_a_missing_list_says_how_it_is_made(tmp_path):
    with pytest.raises(MissingPathError, match="pipeline sse vad"):
        read_sections(tmp_path / "none")


@seeded
@given(st.floats(0, 20), st.floats(0.05, 4))
def test_the_grid_has_every_interval_of_its_points(start, seconds):
    spans = grid_spans(np.array([start, start + seconds]), SegmentSettings())
    n = int((seconds + 1e-6) / 0.16)
    expected = [
        (start + 0.16 * i, start + 0.16 * j)
        for i in range(n + 1)
        for j in range(i + 1, min(i + 6, n) + 1)
    ]
    np.testing.assert_allclose(spans, np.array(expected).reshape(-1, 2), atol=1e-9)


@seeded
@given(st.floats(0.1, 5), st.integers(0, 50))
def test_random_segments_lie_inside_and_are_repeated_by_their_seed(seconds, row):
    section, settings = np.array([1.0, 1.0 + seconds]), SegmentSettings(random=8, seed=3)
    spans = random_spans(section, row, settings)
    assert len(spans) == (8 if seconds >= 0.16 else 0)
    if len(spans):
        assert spans.min() >= 1.0
        assert spans.max() <= section[1] + 1e-9
        lengths = spans[:, 1] - spans[:, 0]
        assert lengths.min() > 0.16 - 1e-9
        assert lengths.max() < 0.96 + 1e-9
    np.testing.assert_array_equal(spans, random_spans(section, row, settings))


def test_segments_carry_their_section(write):
    sections = read_sections(write("a.wav ann 0 0.5\nb.wav bob 1 1.2\n"))
    (block,) = make_segments(sections, SegmentSettings())
    # 0.5 s hold three steps: three, two and one intervals; 0.2 s one.
    assert block.sections.path.tolist() == [0] * 6 + [1]
    assert (block.label == -1).all()


@pytest.mark.parametrize(
    ("span", "names"),
    [
        ((0.0, 0.2), ["a", "b"]),
        ((0.049, 0.2), ["a", "b"]),  # half of a, and more than 30 ms
        ((0.071, 0.2), ["b"]),  # 29 ms of a, less than half
        ((0.07, 0.2), ["a", "b"]),  # 30 ms of a
        ((0.0, 0.101), ["a"]),
        ((0.19, 0.24), ["c"]),  # half of c, 10 ms of b, and silence
    ],
)
def test_a_phone_belongs_where_half_or_30_ms_of_it_lies(span, names):
    aligned = Aligned(
        np.array([0.0, 0.1, 0.2, 0.22]), np.array([0.1, 0.2, 0.22, 0.5]), ("a", "b", "c", "sil")
    )
    assert names_inside(aligned, *span) == names


def test_clips_of_one_name_have_alignments_of_their_own(write):
    segments = read_segments(write("a/1.wav ann 0 1 0 0.5\nb/1.wav bob 0 1 0 0.5\n"))
    alignment = read_alignment(write("a/1 0 0.5 x\nb/1.wav 0 0.5 y\n", "ali"))
    told = transcribe(segments, alignment)
    assert [told.transcription(row) for row in (0, 1)] == ["x", "y"]
    with pytest.raises(InputError, match="aligns none of the clips"):
        transcribe(segments, read_alignment(write("1 0 0.5 x\n", "ali")))  # which of the two?


def test_n_grams_stay_within_sections_and_skip_silence(write):
    sections = read_sections(write("a.wav ann 0.1 0.9\n"))
    phones = [(0.0, 0.2, "p"), (0.2, 0.4, "q"), (0.4, 0.5, "sil"), (0.5, 0.7, "q"), (0.7, 0.9, "r")]
    text = "".join(f"a {start} {end} {name}\n" for start, end, name in phones)
    found = aligned_segments(sections, read_alignment(write(text, "ali")), shortest=1, longest=2)
    told = [(round(float(found.spans[row, 0]), 3), found.transcription(row)) for row in range(4)]
    assert told == [(0.2, "q"), (0.5, "q"), (0.5, "q,r"), (0.7, "r")]
    assert [repeated(found).transcription(row) for row in range(2)] == ["q", "q"]


@pytest.mark.parametrize("line", ["a 0 x", "a 0.5 0.2 x", "a b c d", "a 0 1 x y"])
def test_a_bad_alignment_is_named(write, line):
    with pytest.raises(InputError, match="line 1, is not `file start end name`"):
        read_alignment(write(line + "\n"))
