"""espeak-ng as a library: the sound, and when each phone and each word of it was spoken.

The program gives sound alone. The library calls back with events beside the samples, which are the
exact alignment of what was synthesised (``speak_lib.h`` of espeak-ng).
"""

import ctypes
import ctypes.util
import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SYNCHRONOUS = 2  # audio comes back through the callback before espeak_Synth returns
PHONEME_EVENTS = 1
UTF8 = 1
RATE, PITCH = 1, 3  # espeak_PARAMETER
DEFAULT_RATE = 175
WORD, PHONEME = 1, 7  # espeak_EVENT_TYPE


class _Identifier(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identifier),
    )


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


_Heard = tuple[int, int, int, str]


@dataclass(frozen=True)
class Interval:
    """A phone or a word: its name, and when it was spoken, in seconds."""

    start: float
    end: float
    name: str


@dataclass(frozen=True)
class Spoken:
    """A sentence that was spoken.

    Attributes
    ----------
    waveform : np.ndarray [shape=(n,), dtype=float32]
    sampling_rate : int
        In Hz.
    phones, words : tuple of Interval
        Pauses are left out.
    """

    waveform: np.ndarray
    sampling_rate: int
    phones: tuple[Interval, ...]
    words: tuple[Interval, ...]


def speak(voice: str, text: str, pitch: int = 50, words_per_minute: int = 175) -> Spoken:
    """Synthesise a sentence.

    Parameters
    ----------
    voice : str
        Accent and timbre, such as ``en-gb+Andrea``.
    text : str
    pitch : int
        espeak's 0 to 99.
    words_per_minute : int

    Raises
    ------
    ValueError
        If there is no such voice.
    """
    library, sampling_rate = _library()
    # By name and then by language, as the program does.
    wanted = _Voice(languages=voice.encode())
    if library.espeak_SetVoiceByName(voice.encode()) != 0 and (
        library.espeak_SetVoiceByProperties(ctypes.byref(wanted)) != 0
    ):
        raise ValueError(f"espeak-ng has no voice {voice!r}")
    library.espeak_SetParameter(RATE, words_per_minute, 0)
    library.espeak_SetParameter(PITCH, pitch, 0)
    samples: list[np.ndarray] = []
    events: list[_Heard] = []

    def heard(wav: object, count: int, found: object) -> int:
        if wav and count:
            samples.append(np.ctypeslib.as_array(wav, (count,)).copy())
        events.extend(_read(found))
        return 0

    callback = _CALLBACK(heard)
    library.espeak_SetSynthCallback(callback)
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, UTF8, None, None)
    library.espeak_Synchronize()
    waveform = np.concatenate(samples).astype(np.float32) / 32768
    phones = _intervals([(at, name) for kind, at, _, name in events if kind == PHONEME])
    return Spoken(
        waveform,
        sampling_rate,
        tuple(
            Interval(start / sampling_rate, end / sampling_rate, name)
            for start, end, name in phones
            if name and not name.startswith("_")
        ),
        tuple(_words(text, events, sampling_rate)),
    )


@functools.cache
def _library() -> tuple[ctypes.CDLL, int]:
    name = ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1"
    library = ctypes.CDLL(name)
    sampling_rate = library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS)
    if sampling_rate <= 0:
        raise OSError("espeak-ng finds no data of its own; install espeak-ng-data")
    return library, sampling_rate


def _read(found: object) -> Iterator[_Heard]:
    """Kind, sample, text position and name of every event of a callback."""
    index = 0
    while found and found[index].type != 0:  # a list ends with an event of type 0
        event = found[index]
        name = event.id.string.decode(errors="replace") if event.type == PHONEME else ""
        yield event.type, event.sample, event.text_position, name
        index += 1


def _intervals(starts: list[tuple[int, str]]) -> Iterator[tuple[int, int, str]]:
    """Every phone ends where the next begins; the last event is an empty one at the end."""
    for (start, name), (end, _) in itertools.pairwise(starts):
        if end > start:
            yield start, end, name


def _words(text: str, events: list[_Heard], sampling_rate: int) -> Iterator[Interval]:
    """Every word from its own event to the last phone before the next word's."""
    starts = [(at, position) for kind, at, position, _ in events if kind == WORD]
    phones = [(at, name) for kind, at, _, name in events if kind == PHONEME]
    edges = [at for at, _ in starts[1:]] + [phones[-1][0] if phones else 0]
    for (start, position), edge in zip(starts, edges, strict=True):
        spoken = [
            (first, last)
            for first, last, name in _intervals(phones)
            if start <= first < edge and name and not name.startswith("_")
        ]
        if spoken:
            # espeak counts from 1, and takes what follows an apostrophe for no part of the word.
            word = re.match(r"[\w'’]*", text[position - 1 :])
            name = word[0] if word else ""
            yield Interval(spoken[0][0] / sampling_rate, spoken[-1][1] / sampling_rate, name)
