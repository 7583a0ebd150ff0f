"""Make a synthetic speech corpus in the layout of a Common Voice release.

The corpus that the repository ships, and the larger one that the shipped models were trained on,
come from this one script::

    python examples/mini-corpus/generate.py OUT                     # the shipped one
    python examples/mini-corpus/generate.py OUT --size training     # about 9 hours, not shipped
    python examples/mini-corpus/generate.py OUT --size voices       # 13 hours, 1,388 voices
    python examples/mini-corpus/generate.py OUT --size twice        # test sentences by two voices
    python examples/mini-corpus/generate.py OUT --size spelling     # 15 hours, 1,888 voices
    python examples/mini-corpus/generate.py OUT --size collected --sentences FILE …    # 22 hours

It needs ``espeak-ng`` on the PATH. The same version of it, of libsndfile and of this script give
the same bytes; README.md names the versions used.
"""

import argparse
import hashlib
import io
import os
import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
from sentences import (
    SEED,
    collected_sentences,
    grammar_sentences,
    matrix_sentences,
    read_everyday,
    word_sentences,
)
from timbres import make_timbre, timbre_data

RELEASE = "cv-corpus-1.0-2026-11-21"
SAMPLING_RATE = 32_000  # Hz; one of the two rates Common Voice clips come in
HEADER = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender "
    "accents variant locale segment"
).split()

# The domain that tells matrix sentences from everyday ones in the tables.
MATRIX_DOMAIN = "language_fundamentals"

ACCENTS = {
    "en-us": "United States English",
    "en-gb": "England English",
    "en-gb-x-rp": "England English,Received Pronunciation",
    "en-gb-scotland": "Scottish English",
    "en-gb-x-gbclan": "England English,Lancastrian",
    "en-gb-x-gbcwmd": "England English,West Midlands",
    "en-029": "West Indies and Bermuda (Bahamas, Bermuda, Jamaica, Trinidad)",
    "en-us-nyc": "United States English,New York City",
}

# Voice timbres of espeak-ng, those that sound like people. A timbre belongs to one split alone, so
# a voice in test is unheard in training whatever its accent.
FEMALE = (
    "Alicia Andrea Annie aunty belinda f1 f2 f3 f4 f5 linda steph steph2 steph3 anika"
).split()
MALE = (
    "adam Alex Andy antonio benjamin boris caleb david Denis Diogo ed edward edward2 Gene "
    "Gene2 Henrique Hugo iven iven2 iven3 iven4 Jacky john kaukovalta Lee m1 m2 m3 m4 m5 m6 "
    "m7 m8 marcelo Marco mario max michael michel miguel mike norbert pablo paul pedro quincy "
    "rob robert sandro shelby travis victor zac"
).split()
TIMBRES_OF = {
    "test": "Andrea belinda f3 steph2 adam benjamin Denis edward Hugo iven3 m2 m7 Marco paul "
    "robert",
    "dev": "Annie f5 linda Alex ed Gene2 m5 michel sandro",
}


@dataclass(frozen=True)
class Size:
    """How much to make."""

    matrix: dict[str, int]
    everyday: dict[str, int]
    grammar: int
    voices: dict[str, int]
    # Sentences of words in any order, and in how many voices every everyday sentence is read.
    words: int = 0
    readings: int = 1
    # Sentences of the grammar that are drawn for each one that is kept: the one of rarer words.
    candidates: int = 1
    # Sentences from the files of --sentences.
    collected: int = 0
    # Further training voices, each with a timbre drawn at random instead of one of espeak-ng's own.
    random_voices: int = 0
    # The size whose random numbers it draws; its own, unless told otherwise.
    stream: str = ""
    # Whether dev reads the sentences of test too, in their order, by voices of its own.
    twice: bool = False


SIZES = {
    "shipped": Size(
        matrix={"train": 70, "dev": 30, "test": 110},
        everyday={"train": 70, "dev": 30, "test": 110},
        grammar=0,
        voices={"train": 32, "dev": 12, "test": 30},
    ),
    "training": Size(
        matrix={"train": 3500, "dev": 150, "test": 0},
        everyday={"train": 220, "dev": 90, "test": 0},
        grammar=9000,
        voices={"train": 240, "dev": 36, "test": 0},
    ),
    "voices": Size(
        matrix={"train": 5000, "dev": 150, "test": 0},
        everyday={"train": 220, "dev": 90, "test": 0},
        grammar=13_000,
        voices={"train": 352, "dev": 36, "test": 0},
        random_voices=1000,
        stream="training",
    ),
    "spelling": Size(
        matrix={"train": 2500, "dev": 150, "test": 0},
        everyday={"train": 220, "dev": 90, "test": 0},
        grammar=7000,
        voices={"train": 352, "dev": 36, "test": 0},
        words=10_000,
        readings=8,
        candidates=6,
        random_voices=1500,
        stream="training",
    ),
    "collected": Size(
        matrix={"train": 1500, "dev": 150, "test": 0},
        everyday={"train": 220, "dev": 90, "test": 0},
        grammar=3000,
        voices={"train": 352, "dev": 36, "test": 0},
        words=3500,
        readings=3,
        candidates=6,
        collected=22_000,
        random_voices=1500,
        stream="training",
    ),
    "twice": Size(
        matrix={"train": 0, "dev": 0, "test": 110},
        everyday={"train": 0, "dev": 0, "test": 110},
        grammar=0,
        voices={"train": 0, "dev": 30, "test": 30},
        twice=True,
    ),
}


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker."""

    client_id: str
    accent: str
    timbre: str
    gender: str
    age: str
    pitch: int  # espeak's 0 to 99
    words_per_minute: int
    timbre_text: str = ""  # what espeak-ng reads for a timbre that is not one of its own


@dataclass(frozen=True)
class Utterance:
    """One clip to be made, and its row in the tables."""

    split: str
    name: str
    voice: Voice
    sentence: str
    domain: str
    seed: int


def main() -> None:
    """Parse the command line and write the release."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="folder that gets cv-corpus-…/en")
    parser.add_argument("--size", choices=SIZES, default="shipped")
    parser.add_argument(
        "--sentences",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="sentences that people wrote, one a line, for --size collected",
    )
    parser.add_argument("-j", "--num-workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    size = SIZES[arguments.size]
    if bool(size.collected) != bool(arguments.sentences):
        parser.error("--size collected, and no other size, takes --sentences FILE …")
    texts = [line for file in arguments.sentences for line in file.read_text("utf-8").splitlines()]
    release = arguments.output / RELEASE / "en"
    (release / "clips").mkdir(parents=True, exist_ok=True)
    utterances = list(plan(size, arguments.size, texts))
    with ProcessPoolExecutor(arguments.num_workers) as pool:
        jobs = ((release / "clips" / utterance.name, utterance) for utterance in utterances)
        milliseconds = list(pool.map(write_clip, jobs, chunksize=8))
    write_tables(release, utterances, milliseconds)
    print(f"{len(utterances)} clips, {sum(milliseconds) / 3.6e6:.2f} h in {release}")


def plan(size: Size, name: str, texts: list[str] | None = None) -> Iterator[Utterance]:
    """Choose who says what; no timbre is in two splits, and no sentence of test in another."""
    everyday = read_everyday()
    # The shipped test sentences come first in the shuffle, so no size trains on them.
    reserved = SIZES["shipped"].everyday["test"]
    taken = {"test": everyday[:reserved], "rest": everyday[reserved:]}
    matrix_test = set(matrix_sentences(random.Random(SEED), SIZES["shipped"].matrix["test"]))
    matrix_used = set(matrix_test)
    number = 0
    for split in ("train", "dev", "test"):
        rng = random.Random(f"{SEED}-{size.stream or name}-{split}")
        voices = make_voices(rng, split, size.voices[split])
        if split == "train":
            voices += random_voices(random.Random(f"{SEED}-timbres"), size.random_voices)
        matrix = matrix_of(rng, split, size, matrix_test, matrix_used)
        matrix_used.update(matrix)
        sentences = [(text, MATRIX_DOMAIN) for text in matrix]
        if split == "test":
            sentences += taken["test"][: size.everyday["test"]]
        else:
            start = 0 if split == "train" else len(taken["rest"]) - size.everyday["dev"]
            sentences += taken["rest"][start : start + size.everyday[split]]
        if split == "train":
            avoid = {text for text, _ in everyday}
            read = [text for text, domain in sentences if domain != MATRIX_DOMAIN]
            sentences += sentences[len(matrix) :] * (size.readings - 1)
            drawn = grammar_sentences(rng, size.grammar, avoid, size.candidates)
            drawn += word_sentences(rng, size.words, [*read, *drawn])
            drawn += collected_sentences(rng, texts or [], size.collected, avoid)
            sentences += [(text, "general") for text in drawn]
        rng.shuffle(sentences)
        for position, (sentence, domain) in enumerate(sentences):
            clip = f"common_voice_en_{10_000_000 + number}.mp3"
            voice = voices[position % len(voices)]
            yield Utterance(split, clip, voice, sentence, domain, rng.getrandbits(32))
            number += 1
        if split == "test" and size.twice:
            yield from read_again(sentences, size, name, number)


def read_again(
    sentences: list[tuple[str, str]], size: Size, name: str, number: int
) -> Iterator[Utterance]:
    """Let voices of dev read sentences that have been read, in the same order."""
    rng = random.Random(f"{SEED}-{name}-again")
    voices = make_voices(rng, "dev", size.voices["dev"])
    for position, (sentence, domain) in enumerate(sentences):
        clip = f"common_voice_en_{10_000_000 + number + position}.mp3"
        voice = voices[position % len(voices)]
        yield Utterance("dev", clip, voice, sentence, domain, rng.getrandbits(32))


def matrix_of(
    rng: random.Random, split: str, size: Size, test: set[str], used: set[str]
) -> list[str]:
    """Matrix sentences of a split; no two splits share one."""
    if split == "test":
        return sorted(test)[: size.matrix["test"]]
    extra = matrix_sentences(rng, size.matrix[split] + len(test))
    return [sentence for sentence in extra if sentence not in used][: size.matrix[split]]


def make_voices(rng: random.Random, split: str, count: int) -> list[Voice]:
    """Combine the split's timbres with accents, pitches and rates into distinct speakers."""
    held_out = {name: timbres.split() for name, timbres in TIMBRES_OF.items()}
    reserved = {timbre for timbres in held_out.values() for timbre in timbres}
    timbres = held_out.get(split) or [t for t in FEMALE + MALE if t not in reserved]
    rng.shuffle(timbres)
    accents = {timbre: rng.sample(list(ACCENTS), len(ACCENTS)) for timbre in timbres}
    # Every timbre once before any comes twice.
    pairs = [(timbre, accents[timbre][turn]) for turn in range(len(ACCENTS)) for timbre in timbres]
    return [make_voice(rng, timbre, accent) for timbre, accent in pairs[:count]]


def make_voice(rng: random.Random, timbre: str, accent: str) -> Voice:
    """One speaker: a timbre, an accent, and a pitch and rate of their own."""
    digest = hashlib.sha512(f"{timbre}/{accent}".encode()).hexdigest()
    return Voice(
        client_id=digest,
        accent=accent,
        timbre=timbre,
        gender="female_feminine" if timbre in FEMALE else "male_masculine",
        age=rng.choice(["", "teens", "twenties", "thirties", "fourties", "fifties", "sixties"]),
        pitch=rng.randint(30, 70),
        words_per_minute=rng.randint(135, 185),
    )


def random_voices(rng: random.Random, count: int) -> list[Voice]:
    """Speakers whose timbres are drawn at random, so that no two sound alike."""
    voices = []
    for number in range(count):
        gender = rng.choice(["female_feminine", "male_masculine"])
        name = f"drawn{number:04d}"
        voice = make_voice(rng, name, rng.choice(list(ACCENTS)))
        text = make_timbre(rng, name, female=gender == "female_feminine")
        voices.append(replace(voice, gender=gender, timbre_text=text))
    return voices


def write_clip(job: tuple[Path, Utterance]) -> int:
    """Speak, add the room's noise, encode as MP3; returns the duration in milliseconds."""
    path, utterance = job
    rng = np.random.default_rng(utterance.seed)
    waveform = record(speak(utterance.voice, utterance.sentence), rng)
    # 32 kbit/s, the lowest rate of MPEG-1 layer III: the shipped corpus has to stay small.
    encoding = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.99}
    soundfile.write(path, waveform, SAMPLING_RATE, **encoding)
    return round(1000 * len(waveform) / SAMPLING_RATE)


def speak(voice: Voice, sentence: str) -> np.ndarray:
    """Synthesise: float32 [shape=(n,)] at SAMPLING_RATE."""
    command = ["espeak-ng", "-v", f"{voice.accent}+{voice.timbre}", "-p", str(voice.pitch)]
    command += ["-s", str(voice.words_per_minute), "--stdout", "--", sentence]
    with timbre_data(voice.timbre, voice.timbre_text) as environment:
        wav = subprocess.run(command, check=True, capture_output=True, env=environment).stdout
    waveform, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    return soxr.resample(waveform, rate, SAMPLING_RATE)


def record(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put the speech into a recording: silence around it, a level, and faint pink noise."""
    before, after = (rng.uniform(0.05, 0.4, size=2) * SAMPLING_RATE).astype(int)
    waveform = np.pad(np.trim_zeros(speech), (before, after))
    level_db = rng.uniform(-30, -18)  # re full scale
    waveform *= 10 ** (level_db / 20) / np.sqrt(np.mean(speech**2))
    noise = pink_noise(len(waveform), rng) * 10 ** ((level_db - rng.uniform(35, 55)) / 20)
    return np.clip(waveform + noise, -0.99, 0.99).astype(np.float32)


def pink_noise(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of unit power whose spectrum falls by 3 dB per octave above 50 Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequencies = np.fft.rfftfreq(n_samples, 1 / SAMPLING_RATE)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequencies, 50)), n_samples)
    return noise / np.sqrt(np.mean(noise**2))


def write_tables(release: Path, utterances: list[Utterance], milliseconds: list[int]) -> None:
    """Write the TSV files, unquoted, with the header of release 17 and later."""
    rows = {utterance.name: table_row(utterance) for utterance in utterances}
    for split in ("train", "dev", "test"):
        chosen = [rows[utterance.name] for utterance in utterances if utterance.split == split]
        write_tsv(release / f"{split}.tsv", HEADER, chosen)
    write_tsv(release / "validated.tsv", HEADER, list(rows.values()))
    for empty in ("other", "invalidated"):
        write_tsv(release / f"{empty}.tsv", HEADER, [])
    durations = [[u.name, str(ms)] for u, ms in zip(utterances, milliseconds, strict=True)]
    write_tsv(release / "clip_durations.tsv", ["clip", "duration[ms]"], durations)


def table_row(utterance: Utterance) -> list[str]:
    """The thirteen columns of a clip."""
    voice = utterance.voice
    sentence_id = hashlib.sha256(utterance.sentence.encode()).hexdigest()
    fixed = [voice.client_id, utterance.name, sentence_id, utterance.sentence, utterance.domain]
    return [*fixed, "2", "0", voice.age, voice.gender, ACCENTS[voice.accent], "", "en", ""]


def write_tsv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Write one table."""
    lines = ["\t".join(fields) for fields in [header, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
