"""Word alignments in one character per position, from what counts the errors, so both agree."""

from collections.abc import Sequence

from hearing_analysis.metrics import align_words

_CODES = {"equal": "=", "substitute": "s", "delete": "d", "insert": "i"}


def word_operations(references: Sequence[str], hypotheses: Sequence[str]) -> list[str]:
    """Align words; one character per aligned position.

    Returns
    -------
    list of str
        ``=`` hit, ``s`` substitution, ``d`` deletion (a reference word alone), ``i`` insertion
        (a hypothesis word alone). ``"=sd"``: the first word is right, the second is another, the
        third is missing.
    """
    return [
        "".join(_CODES[edit.kind] for edit in align_words(reference, hypothesis))
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]
