"""Speech with the times of its phones and words, for embeddings of speech segments.

Two things come from this script. A corpus of random words whose phones are aligned as they were
synthesised, on which the model in ``models/mini-sse`` was trained and measured; training and test
share no word and no voice::

    python examples/mini-corpus/alignments.py words OUT

And the alignment of the shipped corpus, which is spoken once more for it::

    python examples/mini-corpus/alignments.py release OUT

Each writes ``phones.txt`` and ``words.txt``, lines ``path start end name`` in seconds. It needs the
library of espeak-ng.
"""

import argparse
import multiprocessing
import os
import random
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
import yaml
from espeak import Interval, Spoken, speak
from generate import (
    RELEASE,
    SIZES,
    Utterance,
    Voice,
    make_voices,
    pink_noise,
    plan,
)
from generate import SAMPLING_RATE as RELEASE_RATE
from sentences import HERE, SEED, read_everyday

SAMPLING_RATE = 16_000  # Hz
SHORTEST_WORD = 4  # letters
WORDS_A_SENTENCE = (4, 7)
# What the decoder of MP3 puts before the sound: 528 + 1 samples, and 576 of the encoder.
MP3_DELAY_SECONDS = 1105 / RELEASE_RATE


@dataclass(frozen=True)
class Part:
    """A split of the corpus of words: how many voices, and what each says."""

    split: str
    timbres_of: str  # of generate.py, whose splits share no timbre
    voices: int
    sentences: int
    words: int


PARTS = (
    Part("train", "train", voices=48, sentences=40, words=400),
    Part("dev", "dev", voices=9, sentences=24, words=100),
    Part("test", "test", voices=15, sentences=32, words=100),
)


@dataclass(frozen=True)
class Line:
    """One clip of the corpus of words."""

    split: str
    path: str
    voice: Voice
    sentence: str
    seed: int


def main() -> None:
    """Parse the command line and write what it names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("words", "release"))
    parser.add_argument("output", type=Path)
    parser.add_argument("-j", "--num-workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    make = make_words if arguments.what == "words" else align_release
    make(arguments.output, arguments.num_workers)


# --- the corpus of words --------------------------------------------------------------------------


def make_words(output: Path, num_workers: int) -> None:
    """Write ``clips/``, ``manifest.tsv`` and the alignments."""
    lines = list(plan_words())
    for split in {line.split for line in lines}:
        (output / "clips" / split).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(num_workers) as pool:
        aligned = list(pool.map(write_line, [(output, line) for line in lines], chunksize=8))
    write_alignments(output, [line.path for line in lines], aligned)
    table = ["path\tsplit\tspeaker\tsentence"]
    table += [f"{x.path}\t{x.split}\t{x.voice.client_id[:16]}\t{x.sentence}" for x in lines]
    (output / "manifest.tsv").write_text("\n".join(table) + "\n", encoding="utf-8")


def plan_words() -> Iterator[Line]:
    """Choose who says what; splits share neither a word nor a timbre."""
    words = vocabulary()
    for part in PARTS:
        known, words = words[: part.words], words[part.words :]
        rng = random.Random(f"{SEED}-words-{part.split}")
        voices = make_voices(rng, part.timbres_of, part.voices)
        for number in range(part.sentences * part.voices):
            voice = voices[number % part.voices]
            sentence = " ".join(rng.sample(known, rng.randint(*WORDS_A_SENTENCE)))
            path = f"clips/{part.split}/{part.split}_{number:05d}.flac"
            yield Line(part.split, path, voice, sentence, rng.getrandbits(32))


def vocabulary() -> list[str]:
    """Words of our sentences and of our grammar, without inflected forms of one another."""
    grammar = yaml.safe_load((HERE / "text" / "grammar.yaml").read_text(encoding="utf-8"))
    texts = [sentence for sentence, _ in read_everyday()]
    texts += [entry for slot in grammar["slots"].values() for entry in slot]
    found = {word for text in texts for word in re.findall(r"[a-z]+", text)}
    words = sorted(word for word in found if len(word) >= SHORTEST_WORD)
    # Of walk, walks and walked one is enough, lest a test word be half known.
    stems = {word[: max(SHORTEST_WORD, len(word) - 3)]: word for word in reversed(words)}
    chosen = sorted(stems.values())
    random.Random(f"{SEED}-vocabulary").shuffle(chosen)
    return chosen


def write_line(job: tuple[Path, Line]) -> Spoken:
    """Speak a line, put it into a recording, write it; the times are those in the recording."""
    output, line = job
    voice, rng = line.voice, np.random.default_rng(line.seed)
    name = f"{voice.accent}+{voice.timbre}"
    spoken = speak(name, line.sentence, voice.pitch, voice.words_per_minute)
    speech = soxr.resample(spoken.waveform, spoken.sampling_rate, SAMPLING_RATE)
    before, after = (rng.uniform(0.1, 0.4, size=2) * SAMPLING_RATE).astype(int)
    level_db = rng.uniform(-30, -18)  # re full scale
    waveform = np.pad(speech * 10 ** (level_db / 20) / np.sqrt(np.mean(speech**2)), (before, after))
    noise_db = level_db - rng.uniform(35, 55)
    waveform += pink_noise(len(waveform), rng) * 10 ** (noise_db / 20)
    clipped = np.clip(waveform, -0.99, 0.99).astype(np.float32)
    soundfile.write(output / line.path, clipped, SAMPLING_RATE, subtype="PCM_16")
    return moved(spoken, before / SAMPLING_RATE)


# --- the shipped corpus ---------------------------------------------------------------------------


def align_release(output: Path, num_workers: int) -> None:
    """Write the alignments of the shipped clips."""
    output.mkdir(parents=True, exist_ok=True)
    utterances = list(plan(SIZES["shipped"], "shipped"))
    # A process for every clip, as generate.py has: what espeak-ng has said before must not matter.
    with multiprocessing.get_context("fork").Pool(num_workers, maxtasksperchild=1) as pool:
        aligned = pool.map(align_clip, utterances, chunksize=1)
    write_alignments(output, [Path(utterance.name).stem for utterance in utterances], aligned)
    print(f"{len(aligned)} clips of {RELEASE}")


def align_clip(utterance: Utterance) -> Spoken:
    """Speak a clip once more; the times are those in the clip that generate.py made."""
    voice = utterance.voice
    name = f"{voice.accent}+{voice.timbre}"
    spoken = speak(name, utterance.sentence, voice.pitch, voice.words_per_minute)
    speech = soxr.resample(spoken.waveform, spoken.sampling_rate, RELEASE_RATE)
    silent = int(np.flatnonzero(speech)[0])  # what generate.py trims
    before = int(np.random.default_rng(utterance.seed).uniform(0.05, 0.4, size=2)[0] * RELEASE_RATE)
    return moved(spoken, (before - silent) / RELEASE_RATE + MP3_DELAY_SECONDS)


# --- both -----------------------------------------------------------------------------------------


def moved(spoken: Spoken, seconds: float) -> Spoken:
    """The same times, so much later; without the sound."""

    def later(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
        return tuple(Interval(x.start + seconds, x.end + seconds, x.name) for x in intervals)

    nothing = np.zeros(0, np.float32)
    return replace(spoken, waveform=nothing, phones=later(spoken.phones), words=later(spoken.words))


def write_alignments(output: Path, paths: list[str], aligned: list[Spoken]) -> None:
    """Write ``phones.txt`` and ``words.txt``."""
    for name in ("phones", "words"):
        lines = [
            f"{path} {interval.start:.3f} {interval.end:.3f} {_spelt(name, interval.name)}\n"
            for path, spoken in zip(paths, aligned, strict=True)
            for interval in getattr(spoken, name)
        ]
        (output / f"{name}.txt").write_text("".join(lines), encoding="utf-8")


def _spelt(kind: str, name: str) -> str:
    # Letters of either case are different phones to espeak-ng, and the same word to us.
    return name.lower() if kind == "words" else name


if __name__ == "__main__":
    main()
