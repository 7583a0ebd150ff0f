"""Files that began as good ones, and what their readers may do with them."""

import os
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import HearingAnalysisError

# So many files each; or by themselves, and then the same ones every time.
EXAMPLES = int(os.environ.get("FUZZ", "120"))
LONGEST_SECONDS = 20  # of CPU that a reader may take for a file of a few kilobytes
MOST_BYTES = 4 << 30  # that it may ask for beside what the process has already
LONGEST_MESSAGE = 2000
# What parsers of such files have stumbled over elsewhere.
NASTY = (
    *(b"\0", b"\xff\xfe", b"\n\n", b"\t" * 9, b'"', b"'", b"{", b"[", b"\r", b"-1"),
    *(b"1e999", b"NaN", b"null", b"true", b"[]", b"{}", b"0", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *(b"99999999999999999999", b"../../x", b"/etc/passwd", b"!!python/object/apply:os.system [x]"),
    *(b"&a [*a,*a]", b"<<: *a", b"${oc.env:HOME}", b"\xe2\x80\xae", b"\xf0\x9f\x92\xa9"),
    *(b"1 " * 300, b"[" * 3000, b"A" * 5000),
)


@dataclass(frozen=True)
class Parser:
    """A good file, and what reads it.

    Attributes
    ----------
    name : str
        What it is, for people.
    good : bytes
    read : callable
        Takes the path of the file.
    beside : Path, optional
        Folder whose other files lie beside it.
    share : float
        Of the files; less for a reader that takes long.
    """

    name: str
    good: bytes
    read: Callable[[Path], object]
    beside: Path | None = None
    share: float = 1.0

    def __str__(self) -> str:
        """Name the test."""
        return self.name


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """Some bytes, with a few cut, changed, doubled, or nasty ones put between or in their stead."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        here = draw(st.integers(0, len(content)))
        match draw(st.sampled_from(("cut", "flip", "nasty", "instead", "drop", "double"))):
            case "cut":
                del content[here:]
            case "flip" if here < len(content):
                content[here] ^= draw(st.integers(1, 255))
            case "nasty":
                content[here:here] = draw(st.sampled_from(NASTY))
            case "instead":
                word = draw(st.sampled_from(NASTY))
                start, stop = word_around(content, here)
                content[start:stop] = word
            case "drop":
                del content[here : here + draw(st.integers(1, 40))]
            case "double":
                content[here:here] = content[here : here + draw(st.integers(1, 400))]
    return bytes(content)


def word_around(content: bytearray, here: int) -> tuple[int, int]:
    """Where the number or word at a place begins and ends."""
    start = stop = min(here, len(content))
    while start and chr(content[start - 1]).isalnum():
        start -= 1
    while stop < len(content) and chr(content[stop]).isalnum():
        stop += 1
    return start, stop


def fuzz(file_name: str, parser: Parser, folder: Path) -> None:
    """Let a parser read spoilt files: an answer or one sentence, soon, in bounds, and no more."""
    arena, outcomes, started = folder / "arena", Counter[str](), time.monotonic()
    # Once as it was, or nothing would be learned from refusals; what it imports is no part of it.
    parser.read(laid_out(arena, file_name, parser, parser.good))

    @settings(
        max_examples=max(1, round(parser.share * EXAMPLES)),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize="FUZZ" not in os.environ,
    )
    @given(spoilt(parser.good))
    def try_it(content: bytes) -> None:
        path = laid_out(arena, file_name, parser, content)
        outcomes["files"] += 1
        try:
            with in_bounds():
                parser.read(path)
        except HearingAnalysisError as error:
            outcomes["refused"] += 1
            assert "\n" not in str(error).strip(), error
            assert len(str(error)) < LONGEST_MESSAGE, "the message is a sentence"
        assert {child.name for child in folder.iterdir()} == {"arena"}, "nothing escapes"

    try:
        try_it()
    finally:
        if "FUZZ" in os.environ:
            seconds = time.monotonic() - started
            counts = f"{outcomes['files']:,} files, {outcomes['refused']:,} refused"
            print(f"fuzz {parser.name}: {counts}, {seconds:.0f} s", file=sys.stderr)


def laid_out(arena: Path, file_name: str, parser: Parser, content: bytes) -> Path:
    """Write a file into an empty folder, with links to what belongs beside it."""
    shutil.rmtree(arena, ignore_errors=True)
    path = arena / file_name
    path.parent.mkdir(parents=True)
    for other in sorted(parser.beside.rglob("*")) if parser.beside else ():
        place = arena / other.relative_to(parser.beside or arena)
        if other.is_file() and place != path:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(other)
    path.write_bytes(content)
    return path


@contextmanager
def in_bounds() -> Iterator[None]:
    """Fail if what is inside takes too long, or too much memory."""

    def too_long(number: int, frame: object) -> None:
        raise AssertionError(f"the reader takes more than {LONGEST_SECONDS} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, hard))
    before = signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
