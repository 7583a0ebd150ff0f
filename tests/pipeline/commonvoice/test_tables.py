"""Clip tables: written without quoting, by many hands, over many years."""

import csv
import hashlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from makers import seeded

from pipeline.commonvoice.tables import Malformed, index_table, read_durations
from pipeline.errors import InputError

HEADER = b"path\tsentence\tage\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.tsv"


def read(path: Path, content: bytes) -> list[dict[str, str] | Malformed]:
    path.write_bytes(content)
    table = index_table(path)
    return list(table.rows(0, len(table)))


def row(clip: str, sentence: str, age: str = "") -> dict[str, str]:
    return {"path": clip, "sentence": sentence, "age": age}


# --- what a table may look like ---


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        pytest.param(b"a.mp3\tHi.\tteens\n", [row("a.mp3", "Hi.", "teens")], id="plain"),
        pytest.param(b"a.mp3\tHi.\tteens", [row("a.mp3", "Hi.", "teens")], id="no-last-newline"),
        pytest.param(
            b"a.mp3\tHi.\t\r\nb.mp3\tHo.\tx\r\n",
            [row("a.mp3", "Hi."), row("b.mp3", "Ho.", "x")],
            id="windows",
        ),
        pytest.param(
            b'a.mp3\t"Hi," he said.\t\nb.mp3\t""\t"\n',
            [row("a.mp3", '"Hi," he said.'), row("b.mp3", '""', '"')],
            id="quotes-are-letters",
        ),
        pytest.param(
            b'a.mp3\t"Hi\t\nb.mp3\tHo"\t\nc.mp3\t"\t\n',
            [row("a.mp3", '"Hi'), row("b.mp3", 'Ho"'), row("c.mp3", '"')],
            id="an-unbalanced-quote-swallows-nothing",
        ),
        pytest.param(
            b"a.mp3\tHi\\tho\\\t\n", [row("a.mp3", "Hi\\tho\\")], id="backslashes-are-letters"
        ),
        pytest.param(
            "a.mp3\tÖl – „süß“ 🙂\u2028\u0085\v\f\r.\t\n".encode(),
            [row("a.mp3", "Öl – „süß“ 🙂\u2028\u0085\v\f\r.")],
            id="only-a-line-feed-ends-a-line",
        ),
        pytest.param(b"a.mp3\t\t\n", [row("a.mp3", "")], id="empty-fields"),
        pytest.param(b"a.mp3\t  Hi \t\n", [row("a.mp3", "  Hi ")], id="spaces-are-kept"),
        pytest.param(b"a.mp3\tNA\tnull\n", [row("a.mp3", "NA", "null")], id="words-like-nothing"),
        pytest.param(b"", [], id="header-only"),
        pytest.param(b"\n", [], id="an-empty-last-line"),
        pytest.param(b"\r\n", [], id="an-empty-last-line-of-windows"),
    ],
)
def test_rows_are_read_as_they_are_written(path, lines, rows):
    assert read(path, HEADER + lines) == rows


@pytest.mark.parametrize(
    ("lines", "line_number", "reason"),
    [
        (b"a.mp3\tHi\n", 2, "2 fields where the header has 3"),
        (b"a.mp3\tHi\tteens\tmore\n", 2, "4 fields where the header has 3"),
        (b"a.mp3\tHi\t\n\nb.mp3\tHo\t\n", 3, "1 fields where the header has 3"),
        (b"a.mp3\tHi\t\nb.mp3\tH\xffo\t\n", 3, "not UTF-8 at byte 7 of the line"),
        (b"a.mp3\tHi\t\na.mp3\tHo\t\n", 3, "the same clip is in this table twice"),
        (b"a.mp3\tHi\t\nb.mp3\tHi\t\nb\tHi\t\n", 4, "the same clip is in this table twice"),
    ],
)
def test_a_line_that_is_no_row_is_named_and_hurts_no_other(path, lines, line_number, reason):
    rows = read(path, HEADER + lines + b"z.mp3\tYes.\tsixties\n")
    broken = [found for found in rows if isinstance(found, Malformed)]
    assert broken == [Malformed(line_number, reason)]
    assert len(rows) == lines.count(b"\n") + 1
    assert rows[-1] == row("z.mp3", "Yes.", "sixties")


def test_a_last_row_of_nothing_but_tabs_is_a_row(path):
    assert len(read(path, HEADER + b"a.mp3\tHi\t\n\t\t\n")) == 2


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_repeated_clip_is_found_where_the_path_comes_last(path, end):
    rows = read(path, b"sentence\tpath\nHi\ta.mp3\nHo\ta.mp3" + end)
    assert rows[1] == Malformed(3, "the same clip is in this table twice")


# --- headers ---


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("path\tsentence", ("path", "sentence")),
        ("sentence\tx\tpath", ("sentence", "x", "path")),
        ("client_id\tpath\tsentence\taccent", ("client_id", "path", "sentence", "accents")),
        ("client_id\tpath\tsentence\taccents", ("client_id", "path", "sentence", "accents")),
        ("\ufeffpath\tsentence", ("path", "sentence")),
        ("path\tsentence\r", ("path", "sentence")),
    ],
)
def test_columns_are_those_of_the_header_and_old_names_become_new_ones(path, header, columns):
    path.write_text(header + "\n", encoding="utf-8", newline="")
    assert index_table(path).columns == columns


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\n",
        b"sentence\tage\n",
        b"path\tage\n",
        b"path,sentence\n",
        b"path\tsentence\tpath\n",
        b"path\tsentence\taccent\taccents\n",
        b"\xff\xfep\x00a\x00t\x00h\x00",
        b'{"path": 1}\n',
    ],
)
def test_a_file_that_is_no_clip_table_is_refused_by_name(path, header):
    path.write_bytes(header)
    with pytest.raises(InputError, match="is not a clip table: .* needs the columns path and sent"):
        index_table(path)


# --- any part of it ---

fields = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r") | st.sampled_from('" \\'),
    max_size=6,
)
rows_of_fields = st.lists(st.tuples(fields, fields, fields), max_size=12)


@seeded
@given(rows=rows_of_fields, end=st.sampled_from(["\n", "\r\n"]), last=st.booleans())
def test_a_table_reads_as_pythons_csv_reader_without_quoting_does(
    tmp_path_factory, rows, end, last
):
    rows = [(f"{number}.mp3", *others) for number, (_, *others) in enumerate(rows)]
    lines = ["path\tsentence\tage", *("\t".join(values) for values in rows)]
    content = (end.join(lines) + (end if last else "")).encode()
    path = tmp_path_factory.mktemp("tables") / "t.tsv"
    found = read(path, content)
    with path.open(encoding="utf-8", newline="\n") as file:
        reader = csv.DictReader(
            (line.removesuffix("\n").removesuffix("\r") for line in file),
            delimiter="\t",
            quoting=csv.QUOTE_NONE,
        )
        assert found == list(reader)


@seeded
@given(
    lines=st.lists(
        st.sampled_from(
            [b"a.mp3\tHi\t", b'b.mp3\t"\t', b"c\tx", b"\xff\xff\t\t", b"", b"d.mp3\t\xc3\xa9\ty\r"]
        ),
        max_size=20,
    ),
    end=st.sampled_from([b"", b"\n", b"\r\n", b"\n\n"]),
    cuts=st.tuples(st.integers(0, 20), st.integers(0, 20)),
)
@example(lines=[], end=b"", cuts=(0, 0))
def test_any_range_of_rows_equals_that_part_of_a_full_read(tmp_path_factory, lines, end, cuts):
    path = tmp_path_factory.mktemp("tables") / "t.tsv"
    path.write_bytes(HEADER + b"\n".join(lines) + end)
    table = index_table(path)
    whole = list(table.rows(0, len(table)))
    assert len(whole) == len(table)
    start, stop = sorted(min(cut, len(table)) for cut in cuts)
    assert list(table.rows(start, stop)) == whole[start:stop]


def test_the_digest_is_that_of_the_whole_file(path):
    content = HEADER + b"a.mp3\tHi\t\nbroken\n\n"
    path.write_bytes(content)
    assert index_table(path).sha256 == hashlib.sha256(content).hexdigest()


# --- durations ---


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_durations_are_found_by_clip(path, end):
    lines = ["clip\tduration[ms]", "a.mp3\t1500", "b.mp3\t40", "ü.mp3\t0", "c.mp3\t", "d.mp3\tx"]
    path.write_text(end.join(lines) + end, encoding="utf-8", newline="")
    durations = read_durations(path)
    names = ["a.mp3", "b.mp3", "ü.mp3", "c.mp3", "d.mp3", "absent.mp3"]
    expected = [1.5, 0.04, 0.0, None, None, None]
    assert [durations.seconds(name) for name in names] == expected


@pytest.mark.parametrize("content", [None, b"", b"clip\tduration[ms]\n", b"\n\n", b"\xff\t\xff"])
def test_durations_that_are_not_there_are_not_known(path, content):
    if content is not None:
        path.write_bytes(content)
    assert read_durations(path).seconds("a.mp3") is None


def test_a_duration_of_ages_does_not_stop_the_import(path):
    path.write_bytes(b"clip\tduration[ms]\na.mp3\t" + b"9" * 40 + b"\nb.mp3\t1000\n")
    assert read_durations(path).seconds("b.mp3") == 1.0
