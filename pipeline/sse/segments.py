"""Cut sections into segments: all on a grid, as the original does, or some at random.

The grid is 160 ms wide (``make_segments.py``): every interval between two of its points that is
0.16 to 0.96 s long is a segment, so that whatever a speaker says lies near one of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import InputError
from pipeline.sse.lists import Sections, Segments

SECTIONS_AT_ONCE = 1000
ROUNDING = 1e-6  # seconds


@dataclass(frozen=True)
class SegmentSettings:
    """Which stretches become segments.

    Attributes
    ----------
    shortest_seconds, longest_seconds, step_seconds : float
        Of the grid. Random segments have lengths between the first two.
    random : int
        Draw so many from every section instead; 0 for the grid.
    seed : int
    """

    shortest_seconds: float = 0.16
    longest_seconds: float = 0.96
    step_seconds: float = 0.16
    random: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse lengths that nothing has."""
        if not 0 < self.shortest_seconds <= self.longest_seconds:
            raise InputError(
                f"--min-seconds {self.shortest_seconds:g} and --max-seconds "
                f"{self.longest_seconds:g} leave no length between them"
            )
        if self.step_seconds <= 0:
            raise InputError(f"--step-seconds {self.step_seconds:g} must be more than 0")


def make_segments(sections: Sections, settings: SegmentSettings) -> Iterator[Segments]:
    """Segments of sections, some sections at a time.

    Parameters
    ----------
    sections : Sections
    settings : SegmentSettings

    Yields
    ------
    Segments
        Without transcription, in the order of the sections.
    """
    for first in range(0, len(sections), SECTIONS_AT_ONCE):
        rows = range(first, min(first + SECTIONS_AT_ONCE, len(sections)))
        spans = [
            random_spans(sections.spans[row], row, settings)
            if settings.random
            else grid_spans(sections.spans[row], settings)
            for row in rows
        ]
        owner = np.repeat(np.array(rows), [len(found) for found in spans])
        held = sections.take(owner)
        nothing = np.full(len(owner), -1, np.int32)
        yield Segments(held, np.concatenate(spans), (), nothing)


def grid_spans(section: np.ndarray, settings: SegmentSettings) -> np.ndarray:
    """All intervals of a grid that begins where the section does: float64 [shape=(n, 2)].

    By start, then by length.
    """
    step = settings.step_seconds
    shortest = int(np.ceil(settings.shortest_seconds / step - ROUNDING))
    longest = int(np.floor(settings.longest_seconds / step + ROUNDING))
    n_steps = int(np.floor((section[1] - section[0]) / step + ROUNDING))
    start = np.arange(max(n_steps - shortest + 1, 0))
    starts, lengths = np.meshgrid(start, np.arange(shortest, longest + 1), indexing="ij")
    inside = starts + lengths <= n_steps
    first, last = starts[inside], (starts + lengths)[inside]
    return np.asarray(section[0] + step * np.stack([first, last], axis=1))


def random_spans(section: np.ndarray, row: int, settings: SegmentSettings) -> np.ndarray:
    """Draw segments anywhere in a section, of any length: float64 [shape=(n, 2)]."""
    longest = min(settings.longest_seconds, section[1] - section[0])
    if longest < settings.shortest_seconds:
        return np.zeros((0, 2))
    rng = np.random.default_rng([settings.seed, row])
    lengths = rng.uniform(settings.shortest_seconds, longest, settings.random)
    starts = section[0] + rng.random(settings.random) * (section[1] - section[0] - lengths)
    return np.stack([starts, starts + lengths], axis=1)


def with_labels(segments: Segments, texts: list[str]) -> Segments:
    """The same segments, transcribed: one text for each, empty where nothing is said."""
    codes: dict[str, int] = {}
    label = [codes.setdefault(text, len(codes)) if text else -1 for text in texts]
    return replace(segments, labels=tuple(codes), label=np.array(label, np.int32))
