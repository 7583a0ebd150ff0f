"""Shards and segments: what a line means, where its samples are, in which order files come."""

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from makers import mp3, noise, seeded, tone, write_corpus

from pipeline.audio import load_mono
from pipeline.errors import ClipError, InputError, MissingPathError
from pipeline.mining.preset import DataChoice, EncoderChoice, Side
from pipeline.mining.segments import Segment, parse_segment, read_segment
from pipeline.mining.shards import FileShard, natural_key, open_side

HERE = Path(".")


def side(**data) -> Side:
    return Side("en", DataChoice(**data), EncoderChoice("x", None))


@pytest.mark.parametrize(
    ("line", "unit", "expected"),
    [
        ("a.wav", "samples16k", Segment(Path("a.wav"))),
        ("a.wav 0 16000", "samples16k", Segment(Path("a.wav"), 0, 1)),
        ("a.wav 8000 16000 7", "samples16k", Segment(Path("a.wav"), 0.5, 1, 7)),
        ("a.wav 500 1000 7", "ms", Segment(Path("a.wav"), 0.5, 1, 7)),
        ("a.wav 0.5 1.25 0", "s", Segment(Path("a.wav"), 0.5, 1.25, 0)),
        ("id 7\ta.wav 8000 16000 0", "samples16k", Segment(Path("a.wav"), 0.5, 1)),
        ("id\ta.wav 8000 16000 0\tmore", "samples16k", Segment(Path("a.wav"), 0.5, 1)),
        ("my own clip.wav 8000 16000", "samples16k", Segment(Path("my own clip.wav"), 0.5, 1)),
        ("take 2", "samples16k", "is not `audio_file start end batch_no`"),
        ("", "samples16k", "is not `audio_file"),
        ("a.wav 16000 8000", "samples16k", "not after its start"),
        ("a.wav 8000 8000", "samples16k", "not after its start"),
        ("a.wav -5 8000", "samples16k", "not after its start"),
        ("a.wav 0 1e12", "s", "is 1,000,000,000,000 s long"),
    ],
)
def test_a_line_says_where_a_segment_is(line, unit, expected):
    found = parse_segment(line, unit, HERE)

    if isinstance(expected, str):
        assert isinstance(found, str)
        assert expected in found
    else:
        assert found == expected


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_segment_is_what_lies_there_in_the_whole_file(tmp_path, suffix, rate):
    clip = tone(300, 1.0, rate) + noise(1.0, rate)
    path = tmp_path / f"clip.{suffix}"
    if suffix == "mp3":
        path.write_bytes(mp3(clip, rate))
    else:
        soundfile.write(path, clip, rate)

    cut = read_segment(Segment(path, 0.3, 0.55))
    whole = load_mono(path)
    assert len(cut) == 4000
    # Resampling a piece hears a little less around it than resampling all.
    np.testing.assert_allclose(cut, whole[4800:8800], atol=2e-3)


def test_a_segment_of_a_long_file_reads_little_of_it(tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    soundfile.write(path, noise(20.0), 16_000)
    read = []
    original = soundfile.SoundFile.read

    def spy(file, frames=-1, *rest, **named):
        read.append(frames)
        return original(file, frames, *rest, **named)

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    read_segment(Segment(path, 12.0, 12.5))

    assert sum(read) < 16_000


def test_a_segment_beyond_its_file_says_so(tmp_path):
    path = tmp_path / "short.wav"
    soundfile.write(path, noise(1.0), 16_000)

    assert len(read_segment(Segment(path, 0.5, 1.005))) > 7_900  # times are rounded
    for start, stop in ((0.5, 1.5), (3.0, 4.0)):
        with pytest.raises(ClipError, match=f"ends at {stop:.3f} s and .*short.wav at 1.000 s"):
            read_segment(Segment(path, start, stop))
    with pytest.raises(ClipError, match="file is missing"):
        read_segment(Segment(tmp_path / "none.wav", 0, 1))
    path.write_bytes(b"RIFF nothing")
    with pytest.raises(ClipError, match="not decodable"):
        read_segment(Segment(path, 0, 1))


def test_relative_paths_are_found_beside_the_shard(tmp_path):
    (tmp_path / "clip.wav").write_bytes(b"")

    assert parse_segment("clip.wav", "s", tmp_path) == Segment(tmp_path / "clip.wav")


def test_shards_may_be_packed_and_come_in_natural_order(tmp_path):
    names = ["part.10.txt", "part.9.txt", "part.2.txt"]
    pack = {"part.10.txt": gzip.compress, "part.9.txt": lzma.compress, "part.2.txt": bytes}
    for name in names:
        (tmp_path / name).write_bytes(pack[name](f"from {name}\nöde\n".encode()))

    shards = open_side(side(shard_glob=f"{tmp_path}/part.*.txt"))
    assert [next(shard.texts()) for shard in shards] == [
        "from part.2.txt",
        "from part.9.txt",
        "from part.10.txt",
    ]
    assert [shard.n_lines for shard in shards] == [2, 2, 2]
    assert list(shards[0].texts())[1] == "öde"


@seeded
@given(st.lists(st.integers(0, 10**6), unique=True))
def test_natural_order_is_that_of_numbers(numbers):
    paths = [Path(f"encf.{number}.en") for number in numbers]

    assert sorted(paths, key=natural_key) == [Path(f"encf.{n}.en") for n in sorted(numbers)]


def test_stopes_names_are_found_in_a_folder(tmp_path):
    for number in (1, 0):
        (tmp_path / f"bn.text.en.00{number}.gz").write_bytes(gzip.compress(b"%d\n" % number))
    (tmp_path / "bn.text.fr.000.gz").write_bytes(b"other")

    shards = open_side(side(data_shard_dir=str(tmp_path), bname="bn"))
    assert [list(shard.texts()) for shard in shards] == [["0"], ["1"]]


def test_meta_lines_go_with_the_lines(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "m.txt").write_text("1\n2\n")

    (shard,) = open_side(side(shard_glob=f"{tmp_path}/a.txt", meta_glob=f"{tmp_path}/m.txt"))
    assert list(shard.meta()) == ["1", "2"]
    (shard,) = open_side(side(shard_glob=f"{tmp_path}/a.txt"))
    assert list(shard.meta()) == ["", ""]
    for lines, says in (("1\n", "has 1 lines and"), ("1\n2\n3\n", "has more lines and")):
        (tmp_path / "m.txt").write_text(lines)
        with pytest.raises(InputError, match=says):
            list(FileShard(tmp_path / "a.txt", meta_path=tmp_path / "m.txt").meta())


def test_what_is_no_shard_is_named(tmp_path):
    with pytest.raises(MissingPathError, match="no file is named like"):
        open_side(side(shard_glob=f"{tmp_path}/*.txt"))
    with pytest.raises(InputError, match="names no shards"):
        open_side(side())
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(InputError, match="all 1 shards are empty"):
        open_side(side(shard_glob=f"{tmp_path}/*.txt"))
    with pytest.raises(InputError, match="0 files are named like .* and there are 1 shards"):
        open_side(side(shard_glob=f"{tmp_path}/*.txt", meta_glob=f"{tmp_path}/*.meta"))
    (tmp_path / "empty.txt").write_bytes(gzip.compress(b"one\n" * 1000)[:40])
    with pytest.raises(InputError, match="cannot be read"):
        open_side(side(shard_glob=f"{tmp_path}/*.txt"))
    (tmp_path / "empty.txt").write_bytes(b"fine\n\xff\n")
    with pytest.raises(InputError, match=r"empty.txt, line 2 is not UTF-8"):
        open_side(side(shard_glob=f"{tmp_path}/*.txt"))


def test_a_list_names_shards_in_its_order(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).write_text(f"{name}\n")
    listed = tmp_path / "list.yaml"
    listed.write_text(f"shard_list: [{tmp_path}/b, {tmp_path}/a]")

    shards = open_side(side(shard_list=str(listed)))
    assert [list(shard.texts()) for shard in shards] == [["b"], ["a"]]
    listed.write_text(f"shard_list: [{tmp_path}/c]")
    with pytest.raises(MissingPathError, match="/c does not exist"):
        open_side(side(shard_list=str(listed)))
    listed.write_text("shard_list: !!python/object/apply:os.getcwd []")
    with pytest.raises(InputError, match="list.yaml is not valid YAML: could not determine"):
        open_side(side(shard_list=str(listed)))


def test_a_corpus_is_a_side_as_it_is(tmp_path):
    clips = [tone(200 + 50 * n, 0.1) for n in range(70)]
    root = write_corpus(tmp_path / "corpus", {"test": clips, "train": clips[:2]})

    shards = open_side(side(corpus=str(root), splits=("test",)))
    assert [shard.n_lines for shard in shards] == [64, 6]
    assert list(shards[0].described())[:2] == ["test-0", "test-1"]
    assert next(shards[1].texts()) == "Why not?"
    segment = next(iter(shards[1].segments()))
    np.testing.assert_allclose(read_segment(segment), clips[64], atol=1e-6)
    assert len({shard.digest for shard in shards}) == 2
