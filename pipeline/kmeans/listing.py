"""Make manifests: list the clips of a corpus, or of a folder of audio files."""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from pipeline.audio import decode
from pipeline.corpus import open_corpus, write_atomically, write_path
from pipeline.errors import CheckFailed, ClipError, InputError, MissingPathError
from pipeline.kmeans.manifest import clip_name, is_corpus, row_path
from pipeline.kmeans.shards import make_folder
from pipeline.progress import Progress

SUFFIXES = (".flac", ".mp3", ".ogg", ".wav")


@dataclass(frozen=True)
class _Found:
    """A clip: its path below the root, and its file or its bytes."""

    path: str
    audio: Path | bytes


def list_clips(
    source: Path, output: Path, splits: tuple[str, ...] | None, audio_dir: Path | None = None
) -> dict[str, Any]:
    """Write ``<split>.tsv`` for every split, and say how many clips each has.

    Parameters
    ----------
    source : Path
        A corpus, or a folder of audio files, which is one split.
    output : Path
    splits : tuple of str, optional
        Of a corpus only these; of a folder the name of its split, else ``train``.
    audio_dir : Path, optional
        Where the clips of a corpus are written as files.

    Raises
    ------
    MissingPathError, InputError
        If there is nothing to list.
    CheckFailed
        If no clip of a split can be read.
    """
    for folder in (output, audio_dir):
        if folder is not None:
            make_folder(folder)
    if is_corpus(source):
        corpus = open_corpus(source)
        root = (audio_dir or corpus.root).resolve()
        names = splits or corpus.splits
        for name in names:
            corpus[name]  # says which there are, before anything is written
        counts = {n: _list(output, n, root, *_rows(corpus[n]), audio_dir) for n in names}
    else:
        if audio_dir:
            raise InputError("--audio-dir is for a corpus; a folder holds audio files already")
        files = _files(source)
        name, *others = splits or ("train",)
        if others:
            raise InputError(
                f"{source} is one split; give --splits one name, not {1 + len(others)}"
            )
        root = source.resolve()
        found = (_Found(path.relative_to(source).as_posix(), path) for path in files)
        counts = {name: _list(output, name, root, len(files), found, None)}
    for name, count in counts.items():
        if not count["clips"]:
            raise CheckFailed(f"no clip of {name} can be read; see {name}.quarantine.jsonl")
    return {"manifests": counts}


def _list(
    output: Path, split: str, root: Path, n_found: int, found: Iterator[_Found], target: Path | None
) -> dict[str, int]:
    kept, left_out = 0, []
    table = output / f"{split}.tsv"
    with (
        write_path(table) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
        Progress(f"manifest {split}", n_found) as bar,
    ):
        file.write(f"{root}\n")
        for clip in found:
            try:
                n_samples = _count(clip)
            except ClipError as error:
                entry = {"id": clip_name(clip.path), "path": clip.path, "reason": str(error)}
                left_out.append({**entry, "split": split})
            else:
                file.write(f"{clip.path}\t{n_samples}\n")
                kept += 1
                if target is not None and isinstance(clip.audio, bytes):
                    write_atomically(target / clip.path, clip.audio)
            bar.advance(1)
    # A path that is no UTF-8 is written with its bytes escaped.
    lines = "".join(json.dumps(entry) + "\n" for entry in left_out)
    write_atomically(output / f"{split}.quarantine.jsonl", lines.encode())
    return {"clips": kept, "quarantined": len(left_out)}


def _count(clip: _Found) -> int:
    """Samples of a clip, from its header alone."""
    if not clip.path.isprintable() or clip.path != clip.path.strip():
        raise ClipError("a manifest cannot hold its name, which has unprintable characters")
    try:
        source = io.BytesIO(clip.audio) if isinstance(clip.audio, bytes) else clip.audio
        n_samples = soundfile.info(source).frames
    except (soundfile.LibsndfileError, OSError, TypeError):
        decode(clip.audio)  # says why not
        raise ClipError("not decodable as audio") from None
    if n_samples < 1:
        raise ClipError("no samples")
    return int(n_samples)


def _rows(split: Any) -> tuple[int, Iterator[_Found]]:
    found = (_Found(row_path(split, i), split.audio_bytes(i)) for i in range(len(split)))
    return len(split), found


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise MissingPathError(f"{folder} does not exist; give a corpus or a folder of audio files")
    files = [
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES)
    ]
    if not files:
        raise InputError(f"{folder} holds no audio files ({', '.join(SUFFIXES)}) and no corpus")
    return sorted(files)
