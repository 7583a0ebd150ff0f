"""What an exported model hears: how fast, and how well."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.speech import Preprocessor
from models.verify.models import ExportedModel, OnnxModel
from models.verify.report import Transcription
from models.wav2vec2 import Wav2Vec2Preprocessor
from models.whisper import WhisperPreprocessor
from models.whisper_decoding import WholeGraph, transcribe
from pipeline.corpus import Split, open_corpus
from pipeline.errors import InputError

BATCH_SIZE = 16
BATCHES = (1, 16)  # that the real-time factor is measured at
REPEATS = 3
DOMAIN = "sentence_domain"


@dataclass(frozen=True)
class Recogniser:
    """An exported model with what comes before and after it.

    Attributes
    ----------
    model : ExportedModel
    preprocessor : Wav2Vec2Preprocessor or WhisperPreprocessor
    length : int
        Samples of a wav2vec2's window, or positions of a Whisper's decoder.
    """

    model: ExportedModel
    preprocessor: Preprocessor
    length: int

    @property
    def window_seconds(self) -> float:
        """Seconds of audio that it hears at once."""
        if isinstance(self.preprocessor, WhisperPreprocessor):
            return float(self.preprocessor.mel.chunk_length)
        return self.length / self.preprocessor.sampling_rate

    def transcribe(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        """What a batch of clips was heard as."""
        preprocessor = self.preprocessor
        if isinstance(preprocessor, WhisperPreprocessor):
            assert isinstance(self.model, OnnxModel)
            network = WholeGraph(self.model.session, preprocessor.end_id)
            heard = transcribe(network, preprocessor.input_features(waveforms), preprocessor)
            return [preprocessor.decode(heard.tokens(row)) for row in range(len(waveforms))]
        values = np.stack([preprocessor.input_values(w, self.length) for w in waveforms])
        logits = self.model.run({"input_values": values})[0]
        frames = [preprocessor.n_frames(min(len(w), self.length)) for w in waveforms]
        return [preprocessor.decode(*pair) for pair in zip(logits, frames, strict=True)]


def real_time_factor(recogniser: Recogniser, batch: int) -> float:
    """Seconds of computation per second of audio, the best of three.

    A window of noise is transcribed; for a Whisper, in as many steps as the noise makes it take.
    """
    n_samples = round(recogniser.window_seconds * recogniser.preprocessor.sampling_rate)
    waveforms = list(np.random.default_rng(0).normal(0, 0.1, (batch, n_samples)).astype(np.float32))
    recogniser.transcribe(waveforms)  # what is made at the first call
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        recogniser.transcribe(waveforms)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / (batch * recogniser.window_seconds)


def recognise(
    recogniser: Recogniser, corpus: Path, split: str, limit: int | None = None
) -> Transcription:
    """Transcribe a split and count errors.

    Raises
    ------
    MissingPathError, InputError
        As :func:`check_corpus`, and if there are no words.
    """
    check_corpus(recogniser, corpus, split)
    rows = open_corpus(corpus)[split]
    count = len(rows) if limit is None else min(limit, len(rows))
    domains = rows.column(DOMAIN).to_pylist() if DOMAIN in rows.table.schema.names else []
    pairs, pairs_of = [], defaultdict(list)
    for start in range(0, count, BATCH_SIZE):
        stop = min(start + BATCH_SIZE, count)
        for index, pair in _heard(recogniser, rows, range(start, stop)):
            pairs.append(pair)
            if domains:
                pairs_of[domains[index] or "none given"].append(pair)
    if not pairs:
        raise InputError(f"{corpus} {split} has no clip with words to compare with")
    by_domain = {name: _errors(pairs_of[name]).wer for name in sorted(pairs_of)}
    total = _errors(pairs)
    return Transcription(
        str(corpus), split, len(pairs), total.words, total.edits, total.wer, total.cer, by_domain
    )


def check_corpus(recogniser: Recogniser, corpus: Path, split: str) -> None:
    """Make sure that a model can listen to a split.

    Raises
    ------
    MissingPathError, InputError
        If there is no such corpus or split, or it has another sampling rate.
    """
    opened, listens_at = open_corpus(corpus), recogniser.preprocessor.sampling_rate
    if split not in opened.splits:
        raise InputError(f"{corpus} has no split {split!r}; it has {', '.join(opened.splits)}")
    if opened.sampling_rate != listens_at:
        raise InputError(
            f"{corpus} has {opened.sampling_rate} Hz and the model listens at {listens_at} Hz; "
            "import the corpus with that --sample-rate"
        )


def _heard(
    recogniser: Recogniser, rows: Split, indices: range
) -> Iterator[tuple[int, tuple[str, str]]]:
    """Reference and hypothesis, normalised, of every clip whose sentence has words."""
    preprocessor = recogniser.preprocessor
    hypotheses = recogniser.transcribe([rows.waveform(index) for index in indices])
    for index, hypothesis in zip(indices, hypotheses, strict=True):
        reference = preprocessor.normalize_text(rows.row(index)["sentence"])
        if reference:
            yield index, (reference, preprocessor.normalize_text(hypothesis))


@dataclass(frozen=True)
class _Errors:
    words: int
    edits: int
    cer: float

    @property
    def wer(self) -> float:
        return self.edits / self.words


def _errors(pairs: list[tuple[str, str]]) -> _Errors:
    import jiwer

    references, hypotheses = (list(texts) for texts in zip(*pairs, strict=True))
    words = jiwer.process_words(references, hypotheses)
    edits = words.substitutions + words.deletions + words.insertions
    n_words = words.hits + words.substitutions + words.deletions
    return _Errors(n_words, edits, float(jiwer.cer(references, hypotheses)))


def preprocessor_of(folder: Path, family: str) -> Preprocessor:
    """What comes before and after a network of a family."""
    if family == "whisper":
        return WhisperPreprocessor.from_folder(folder)
    return Wav2Vec2Preprocessor.from_folder(folder)
