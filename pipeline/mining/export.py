"""Write a corpus as shards that stopes can mine: audio files, segments, lines of text."""

from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from pipeline.audio import SAMPLING_RATE, decode
from pipeline.corpus import Split, open_corpus, write_atomically, write_path
from pipeline.errors import ClipError, InputError
from pipeline.progress import Progress

SHARD_ROWS = 1_000
SUFFIXES = {b"fLaC": "flac", b"RIFF": "wav", b"OggS": "ogg"}


def write_shards(corpus_path: Path, output: Path, splits: tuple[str, ...] | None) -> dict[str, Any]:
    """Write audio files, segments, sentences, ids, and which of them belong together.

    The files are ``audio/``, ``speech/speech.NNN.txt``, ``text/text.txt``, ``text/meta.txt`` and
    ``gold.tsv``; times are samples at 16 kHz, as stopes has them.

    Raises
    ------
    MissingPathError, InputError
        If there is no such corpus, or nothing in it.
    """
    corpus = open_corpus(corpus_path)
    chosen = [corpus[name] for name in splits or corpus.splits]
    n_rows = sum(len(split) for split in chosen)
    if not n_rows:
        raise InputError(f"{corpus_path} has no rows; name another corpus or other splits")
    (output / "speech").mkdir(parents=True, exist_ok=True)
    left_out = 0
    with ExitStack() as stack, Progress("shards", n_rows) as bar:
        text, meta, gold = (
            _open(stack, output / name) for name in ("text/text.txt", "text/meta.txt", "gold.tsv")
        )
        line, opened, speech = 0, -1, None
        for split in chosen:
            for row in range(len(split)):
                if line // SHARD_ROWS != opened:
                    opened = line // SHARD_ROWS
                    speech = _open(stack, output / f"speech/speech.{opened:03d}.txt")
                bar.advance(1)
                known = split.row(row)
                try:
                    segment = _write_audio(split, row, output / "audio", str(known["id"]))
                except ClipError:
                    left_out += 1
                    continue
                assert speech is not None
                speech.write(segment)
                text.write(" ".join(str(known.get("sentence") or "").split()) + "\n")
                meta.write(f"{known['id']}\n")
                gold.write(f"{line}\t{line}\t{known.get('sentence_domain') or ''}\n")
                line += 1
    return {"lines": line, "left out": left_out, "folder": str(output)}


def _write_audio(split: Split, row: int, folder: Path, name: str) -> str:
    """Write the file of a clip, and give its line."""
    content = split.audio_bytes(row)
    audio = decode(content)
    suffix = SUFFIXES.get(content[:4], "mp3")
    safe = "".join(symbol if symbol.isalnum() or symbol in "-_." else "_" for symbol in name)
    path = folder / f"{safe}.{suffix}"
    write_atomically(path, content)
    return f"{path} 0 {int(audio.seconds * SAMPLING_RATE)} 0\n"


def _open(stack: ExitStack, path: Path) -> IO[str]:
    temporary = stack.enter_context(write_path(path))
    return stack.enter_context(temporary.open("w", encoding="utf-8", newline="\n"))
