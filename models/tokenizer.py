"""A small tokenizer in Whisper's layout: byte-level BPE and Whisper's special tokens.

The real ones have 50,257 merges and live on the Hugging Face hub; this one is learned from the
sentences at hand, so that log-mel features can be labelled offline.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import WhisperTokenizer
from transformers.models.whisper.tokenization_whisper import LANGUAGES

END = "<|endoftext|>"
# In the order of openai/whisper's tokenizer.
SPECIAL_TOKENS = (
    "<|startoftranscript|>",
    *(f"<|{code}|>" for code in LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)


def train_tokenizer(sentences: Iterable[str], folder: Path, vocabulary_size: int = 1000) -> int:
    """Learn merges from sentences and write a folder that ``WhisperTokenizer`` loads.

    Parameters
    ----------
    sentences : iterable of str
    folder : Path
    vocabulary_size : int
        Text tokens: the 256 bytes, the merges and the end token.

    Returns
    -------
    int
        Tokens in all, special ones included.
    """
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - 1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(sentences, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    learner.model.save(str(folder))
    vocabulary = dict(learner.get_vocab())
    vocabulary[END] = len(vocabulary)
    merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    tokenizer = WhisperTokenizer(
        vocab=vocabulary,
        merges=[tuple(line.split(" ")) for line in merges],
        additional_special_tokens=list(SPECIAL_TOKENS),
    )
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    tokenizer.save_pretrained(folder)
    return len(tokenizer)
