"""Words of a transcript, with how sure the recogniser was of each: that of its least sure token."""

from collections.abc import Iterable

import numpy as np

from hearing_analysis.visualizers import ConfidentWords
from models.confidence import ctc_confidences
from models.wav2vec2 import Wav2Vec2Preprocessor
from models.whisper import WhisperPreprocessor

SPACE = " "


def ctc_words(
    logits: np.ndarray, n_frames: int, preprocessor: Wav2Vec2Preprocessor
) -> ConfidentWords:
    """Words that greedy CTC reads.

    Parameters
    ----------
    logits : np.ndarray [shape=(frames, vocabulary)]
    n_frames : int
        Frames that heard the clip.
    preprocessor : Wav2Vec2Preprocessor
    """
    found = ctc_confidences(logits[None], np.array([n_frames]), blank_id=preprocessor.blank_id)
    tokens = (preprocessor.vocabulary[index] for index in found.ids[0].tolist())
    pieces = [
        (SPACE if token == preprocessor.word_delimiter else token, probability)
        for token, probability in zip(tokens, found.probability[0].tolist(), strict=True)
        if token not in preprocessor.special_tokens
    ]
    return _words(pieces)


def whisper_words(
    ids: list[int], probabilities: list[float], preprocessor: WhisperPreprocessor
) -> ConfidentWords:
    """Words that a Whisper wrote.

    Parameters
    ----------
    ids : list of int
        Tokens; special ones are left out.
    probabilities : list of float
        Of each token.
    preprocessor : WhisperPreprocessor
    """
    written = [
        (token, probability)
        for token, probability in zip(ids, probabilities, strict=True)
        if token not in preprocessor.special_ids
    ]
    texts = preprocessor.token_texts(np.array([token for token, _ in written], dtype=np.int64))
    return _words(zip(texts, (probability for _, probability in written), strict=True))


def _words(pieces: Iterable[tuple[str, float]]) -> ConfidentWords:
    """Join pieces of text to words; a piece that begins with a space begins a word."""
    words: list[str] = []
    probabilities: list[float] = []
    begins = True
    for text, probability in pieces:
        if not text.strip():  # how sure the gap between words was says nothing of either
            begins = True
            continue
        if begins or text.startswith(SPACE):
            words.append("")
            probabilities.append(1.0)
        begins = False
        words[-1] += text.strip()
        probabilities[-1] = min(probabilities[-1], float(probability))
    return ConfidentWords(tuple(words) or ("",), tuple(probabilities) or (0.0,))
