"""What the tests of the pipeline make for themselves: sounds, releases, corpora."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile
from hypothesis import settings

from pipeline.audio import encode_audio
from pipeline.corpus import (
    AUDIO_TYPE,
    corpus_schema,
    shard_name,
    write_dataset_dict,
    write_split_metadata,
)

SAMPLING_RATE = 16_000
# The same examples on every run and machine, however long they take on a busy one.
seeded = settings(derandomize=True, deadline=None, max_examples=60, database=None)


def tone(frequency_hz: float, seconds: float, rate: int = SAMPLING_RATE) -> np.ndarray:
    """A sine at half of full scale: float32 [shape=(n,)]."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def noise(seconds: float, rate: int = SAMPLING_RATE, seed: int = 0) -> np.ndarray:
    """White noise, 20 dB below full scale: float32 [shape=(n,)]."""
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * rate))).astype(np.float32)


def encode(samples: np.ndarray, rate: int, kind: str = "WAV", subtype: str = "FLOAT") -> bytes:
    """An audio file of samples [shape=(n,) or (n, channels)]."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def mp3(samples: np.ndarray, rate: int = SAMPLING_RATE) -> bytes:
    """An MP3 file of samples [shape=(n,) or (n, channels)]."""
    return encode(samples, rate, "MP3", "MPEG_LAYER_III")


@dataclass
class ReleaseDraft:
    """A Common Voice release to be written.

    Attributes
    ----------
    tables : dict of str to bytes
        Content of ``<name>.tsv``.
    clips : dict of str to bytes
        Content of ``clips/<name>``.
    """

    tables: dict[str, bytes] = field(default_factory=dict)
    clips: dict[str, bytes] = field(default_factory=dict)

    def add(self, table: str, clip: str, content: bytes | None, sentence: str = "Hello.") -> None:
        """Put a row into a table and, if there is content, its clip into ``clips``."""
        header = b"client_id\tpath\tsentence\tup_votes\taccents\tlocale\n"
        row = f"speaker\t{clip}\t{sentence}\t2\t\ten\n".encode()
        self.tables[table] = self.tables.get(table, header) + row
        if content is not None:
            self.clips[clip] = content

    def write(self, parent: Path, version: str = "cv-corpus-9.9", locale: str = "en") -> Path:
        """Write the release as the folder ``<parent>/<version>``."""
        folder = parent / version / locale
        (folder / "clips").mkdir(parents=True)
        for name, content in self.tables.items():
            (folder / f"{name}.tsv").write_bytes(content)
        for name, content in self.clips.items():
            (folder / "clips" / name).write_bytes(content)
        return parent / version

    def pack(self, archive: Path, version: str = "cv-corpus-9.9", locale: str = "en") -> Path:
        """Write the release as an archive, with folder entries as ``tar`` makes them."""
        members: dict[str, bytes | None] = {f"{version}/{locale}/clips": None}
        for name, content in self.clips.items():
            members[f"{version}/{locale}/clips/{name}"] = content
        for name, content in self.tables.items():
            members[f"{version}/{locale}/{name}.tsv"] = content
        return pack(archive, members)


def pack(archive: Path, members: Mapping[str, bytes | tarfile.TarInfo | None]) -> Path:
    """Write an archive of files, folders (None) and whatever a ``TarInfo`` says."""
    mode = "w:gz" if archive.name.endswith("gz") else "w"
    with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
    return archive


def write_corpus(
    root: Path,
    splits: Mapping[str, Sequence[bytes | np.ndarray | None]],
    sampling_rate: int = SAMPLING_RATE,
    sentences: Sequence[str | None] = ("It's a small tree.", "Why not?", "Die Straße – «öde»!"),
) -> Path:
    """Write a corpus of clips, given as files or as waveforms, under ``<root>/dataset``."""
    columns = {"id": pa.string(), "path": pa.string(), "audio": AUDIO_TYPE, "sentence": pa.string()}
    schema = corpus_schema({**columns, "up_votes": pa.int64()}, sampling_rate)
    for split, clips in splits.items():
        folder = root / "dataset" / split
        folder.mkdir(parents=True)
        rows = [
            {
                "id": f"{split}-{index}",
                "path": f"{split}-{index}.mp3",
                "audio": {"bytes": _file(clip, sampling_rate), "path": f"{split}-{index}.flac"},
                "sentence": sentences[index % len(sentences)],
                "up_votes": index,
            }
            for index, clip in enumerate(clips)
        ]
        with pa.ipc.new_stream(str(folder / shard_name(0, 1)), schema) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        write_split_metadata(folder, schema, [shard_name(0, 1)], "0" * 16)
    write_dataset_dict(root / "dataset", tuple(splits))
    return root


def _file(clip: bytes | np.ndarray | None, sampling_rate: int) -> bytes | None:
    return encode_audio(clip, sampling_rate) if isinstance(clip, np.ndarray) else clip
