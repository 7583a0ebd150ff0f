"""Audiograms from files, which are untrusted."""

import pytest

from pipeline.errors import InputError, MissingPathError
from pipeline.masking.audiograms import read_audiograms, resolve_profiles

EARS = """
name: participant7
frequencies_hz: [250, 500, 1000, 8000]
left: [20, 20, 25.5, 60]
right: [15, 20, 20, 50]
source: clinic, 2026
"""
SEVERAL = """
profiles:
  - {name: a, frequencies_hz: [1000], thresholds_db_hl: [40]}
  - {name: b, frequencies_hz: [500, 4000], thresholds_db_hl: [10, -5]}
"""
TABLE = """\
name,ear,source,250,500,1000
p9,left,clinic,20,,25
p9,right,,10,15,20
q,,,1,2,3
"""


@pytest.fixture
def file(tmp_path):
    def write(name: str, content: str | bytes):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_both_ears_of_a_yaml_file_are_profiles(file):
    left, right = read_audiograms(file("ears.yaml", EARS))
    assert (left.name, right.name) == ("participant7_left", "participant7_right")
    assert left.frequencies_hz == right.frequencies_hz == (250, 500, 1000, 8000)
    assert left.thresholds_db_hl == (20, 20, 25.5, 60)
    assert right.thresholds_db_hl == (15, 20, 20, 50)
    assert left.source == "clinic, 2026"


def test_a_yaml_file_may_hold_several_audiograms(file):
    a, b = read_audiograms(file("several.yml", SEVERAL))
    assert (a.name, a.thresholds_db_hl) == ("a", (40,))
    assert (b.name, b.frequencies_hz, b.thresholds_db_hl) == ("b", (500, 4000), (10, -5))


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_csv_file_holds_an_audiogram_a_row_and_may_leave_thresholds_out(file, bom):
    left, right, q = read_audiograms(file("table.csv", bom + TABLE.encode()))
    assert (left.name, left.frequencies_hz, left.thresholds_db_hl) == (
        "p9_left",
        (250, 1000),
        (20, 25),
    )
    assert (right.name, right.thresholds_db_hl, right.source) == ("p9_right", (10, 15, 20), "")
    assert (q.name, q.thresholds_db_hl) == ("q", (1, 2, 3))


def test_names_and_files_and_audiograms_in_files_can_be_mixed(file):
    path, table = file("ears.yaml", EARS), file("table.csv", TABLE)
    chosen = resolve_profiles(("N3", f"{table}:p9_right", "flat35", str(path)))
    assert [profile.name for profile in chosen] == [
        "N3",
        "p9_right",
        "flat35",
        "participant7_left",
        "participant7_right",
    ]


def test_a_profile_named_twice_is_refused(file):
    path = file("ears.yaml", EARS)
    with pytest.raises(InputError, match="'participant7_left' is named more than once"):
        resolve_profiles((str(path), f"{path}:participant7_left"))


def test_an_audiogram_that_a_file_does_not_have_lists_those_it_has(file):
    with pytest.raises(InputError, match="no audiogram 'x'; it has: a, b$"):
        resolve_profiles((f"{file('several.yaml', SEVERAL)}:x",))


BOMB = "a: &a [x,x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.yaml", "", "None is no audiogram"),
        ("a.yaml", "just words", "'just words' is no audiogram"),
        ("a.yaml", "profiles: []", "holds no audiogram"),
        ("a.yaml", "[[[", "is not valid YAML"),
        ("a.yaml", "!!python/object/apply:os.system [true]", "is not valid YAML"),
        ("a.yaml", "[" * 100_000, "nested too deeply"),
        ("a.yaml", BOMB + "name: x\nfrequencies_hz: [*k]", "frequencies_hz that are not numbers"),
        ("a.yaml", b"name: \xff", "is not text in UTF-8"),
        ("a.yaml", "name: x\nfrequencies_hz: 250\nleft: [1]", "no list of frequencies_hz"),
        ("a.yaml", "name: x\nfrequencies_hz: [a]\nleft: [1]", "frequencies_hz that are not numb"),
        ("a.yaml", "name: x\nfrequencies_hz: [250]\nleft: [null]", "left that are not numbers"),
        ("a.yaml", f"name: x\nfrequencies_hz: [1{'0' * 400}]\nleft: [1]", "are not numbers"),
        ("a.yaml", "name: x\nfrequencies_hz: [250]", "neither thresholds_db_hl nor left nor right"),
        ("a.yaml", "name: ../x\nfrequencies_hz: [250]\nleft: [1]", "cannot be part of a folder"),
        ("a.yaml", "frequencies_hz: [250]\nthresholds_db_hl: [1]", "cannot be part of a folder"),
        ("a.yaml", "name: x\nfrequencies_hz: [500, 250]\nleft: [1, 2]", "positive and ascending"),
        ("a.yaml", "name: x\nfrequencies_hz: [500]\nleft: [1, 2]", "one threshold for each"),
        ("a.yaml", "name: x\nfrequencies_hz: [500]\nleft: [999]", "must lie between -20 and 140"),
        ("a.yaml", BOMB + "name: *k\nfrequencies_hz: [250]\nleft: [1]", "is no word"),
        ("a.yaml", "source: 2026-99-99", "is not valid YAML"),
        ("a.yaml", "[!!timestamp foo]", "is not valid YAML"),
        ("a.yaml", '[!!int ""]', "is not valid YAML"),
        ("a.yaml", "[!!bool foo]", "is not valid YAML"),
        ("a.yaml", f"name: x\nfrequencies_hz: [1{'0' * 5000}]", "is not valid YAML"),
        ("a.yaml", "name: x\nfrequencies_hz: [250]\nleft: [yes]", "left that are not numbers"),
        ("a.yaml", "name: N3\nfrequencies_hz: [250]\nthresholds_db_hl: [1]", "a built-in profile"),
        ("a.csv", "name,250\nflat40,1\n", "the name of a built-in profile"),
        ("a.csv", "name,250,250\nx,1,2\n", "the heading '250' stands there more than once"),
        ("a.csv", "", "holds no audiogram"),
        ("a.csv", "name,ear,250\nx,middle,3\n", "is of ear 'middle'; give left or right"),
        ("a.csv", "name,250\nx,3,4\n", "more fields than the file has headings"),
        ("a.csv", "name,low\nx,3\n", "frequencies that are not numbers: ['low']"),
        ("a.csv", "name,250\nx,loud\n", "thresholds that are not numbers: ['loud']"),
        ("a.csv", 'name,250\n"x,3\n', "is not valid CSV"),
        ("a.csv", "name,250\n" + "x" * 1_000_001, "larger than 1,000,000 bytes"),
    ],
)
def test_what_is_no_audiogram_is_one_sentence_that_names_the_file(file, name, content, problem):
    path = file(name, content)
    with pytest.raises(InputError) as refusal:
        resolve_profiles((str(path),))
    message = str(refusal.value)
    assert problem in message
    assert str(path) in message
    assert len(message) < 400
    assert "\n" not in message


def test_a_missing_file_is_told_of(tmp_path):
    with pytest.raises(MissingPathError, match="does not exist; give a YAML or CSV file"):
        resolve_profiles((str(tmp_path / "none.yaml"),))
