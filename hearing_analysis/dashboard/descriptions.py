"""What every column and every figure of the page means; shown as tooltips."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """How a column is shown.

    Attributes
    ----------
    label : str
        Name for people.
    unit : str
        Empty where there is none; ``%`` means that the value is a ratio to be shown in percent.
    text : str
        Definition in one or two sentences.
    """

    label: str
    unit: str
    text: str


FIGURES = {
    "profile": "Hearing profile the clips were filtered with before the recogniser heard them.",
    "model": "Speech recogniser whose output is scored.",
    "clips": "Clips in this group.",
    "minutes": "Audio in this group, without padding.",
    "wer": "Word error rate of the whole group: all substitutions, deletions and insertions over "
    "all reference words. A ratio of sums, not the mean of the clips' rates. It can exceed 100 %.",
    "cer": "Character error rate of the whole group: as WER, counted in characters, spaces "
    "included.",
    "interval": "95 % percentile bootstrap interval: the clips of the group are drawn again with "
    "replacement and the rate computed anew each time.",
    "delta": "WER minus the WER of the normal profile, in percentage points, on the clips both "
    "have. The interval resamples clips in pairs; where it excludes 0, the difference is larger "
    "than the choice of clips explains.",
    "substitutions": "Reference words recognised as another word.",
    "deletions": "Reference words with nothing recognised in their place.",
    "insertions": "Recognised words that the reference does not have.",
    "ctc_loss": "Connectionist temporal classification loss of the reference text (negative log "
    "likelihood, natural logarithm, per clip), averaged over the clips whose loss is finite.",
    "audiogram": "Hearing thresholds as audiologists draw them: frequency in octaves, level "
    "downward, so that a worse ear lies lower. Bands: grades of the World report on hearing "
    "(WHO, 2021).",
    "map": "Each point is a clip under one profile, placed by the model's pooled hidden states, "
    "reduced to two dimensions. Near means alike to the model; the axes have no unit.",
    "level": "Root mean square of the stored audio, in dB relative to full scale.",
    "matched": "Plays every profile at the same level (-23 dBFS, less where it would clip): hear "
    "what a profile does to the colour of the sound when its loudness is set aside.",
    "spectrogram": "Level of 80 mel bands over time. One fixed scale for all pictures, so a loss "
    "looks like a loss. A full-scale sine reads 0 dBFS in its band.",
}

_ERRORS = {
    "error_rate": ("error rate", "%", "Substitutions, deletions and insertions over reference {}."),
    "hits": ("hits", "", "Reference {} that were recognised."),
    "substitutions": ("substitutions", "", "Reference {} recognised as others."),
    "deletions": ("deletions", "", "Reference {} with nothing recognised in their place."),
    "insertions": ("insertions", "", "Recognised {} that the reference does not have."),
    "edits": ("edits", "", "Substitutions, deletions and insertions, in {}."),
    "reference_length": ("reference length", "", "Reference {}."),
}
_COLUMNS = {
    "id": Description("Clip", "", "Stable name of the clip: the stem of its file."),
    "sample_id": Description("Sample", "", "Clip and profile."),
    "profile_name": Description("Profile", "", FIGURES["profile"]),
    "split": Description("Split", "", "Part of the corpus the clip belongs to."),
    "model": Description("Model", "", FIGURES["model"]),
    "sentence": Description("Sentence", "", "What was read, as the corpus has it."),
    "reference": Description("Reference", "", "The sentence, normalised as the model writes."),
    "hypothesis": Description("Hypothesis", "", "What the model recognised, normalised alike."),
    "ctc_loss": Description(
        "CTC loss", "", "Negative log likelihood of the reference text given the audio."
    ),
    "truncated": Description(
        "Truncated", "", "Whether the clip is longer than the model's window and was cut."
    ),
    "x": Description("Map x", "", "First coordinate of the map."),
    "y": Description("Map y", "", "Second coordinate of the map."),
    "cluster": Description("Cluster", "", "k-means cluster of the model's pooled hidden states."),
} | {
    f"{unit}_{key}": Description(f"{unit.title()} {label}", measure, text.format(plural))
    for unit, plural in (("word", "words"), ("character", "characters"))
    for key, (label, measure, text) in _ERRORS.items()
}
_HANDLERS = {
    "profile": "Property of the hearing profile.",
    "audio": "Measured on the unpadded audio of this profile.",
    "text": "Property of the sentence.",
    "clip": "From the corpus.",
}
_UNITS = (
    ("db_hl", "dB HL"),
    ("dbfs", "dBFS"),
    ("db", "dB"),
    ("hz", "Hz"),
    ("seconds", "s"),
    ("s", "s"),
    ("percent", "percent"),
)
_ATTENUATION = re.compile(r"profile_attenuation_db_(\d+)_hz")


def describe(column: str) -> Description:
    """Describe a column; any metadata column gets a readable name, its unit and its origin."""
    if column in _COLUMNS:
        return _COLUMNS[column]
    if frequency := attenuation_frequency_hz(column):
        text = "Hearing threshold the profile has at this frequency."
        return Description(f"Attenuation at {frequency} Hz", "dB", text)
    handler = column.partition("_")[0]
    suffix, unit = next(((s, u) for s, u in _UNITS if column.endswith(f"_{s}")), ("", ""))
    words = column.removesuffix(f"_{suffix}") if suffix else column
    label = words.replace("_", " ").strip()
    text = _HANDLERS.get(handler, "Column of the analysis table.")
    return Description(label[:1].upper() + label[1:], unit, text)


def attenuation_frequency_hz(column: str) -> int | None:
    """Frequency of a ``profile_attenuation_db_*_hz`` column, ``None`` for any other column."""
    match = _ATTENUATION.fullmatch(column)
    return int(match[1]) if match else None
