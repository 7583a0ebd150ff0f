"""What every figure of the page means; shown as tooltips, as the columns' texts are."""

import re

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
    "than the choice of clips explains. p: paired bootstrap test of no difference.",
    "live": "95 % interval of a ratio of sums from the scatter of its clips, without resampling "
    "(Cochran 1977); it follows selection and filters at once.",
    "wil": "Word information lost: 1 - (hits / reference words) x (hits / recognised words), of "
    "the group's sums (Morris et al. 2004). Unlike WER it never exceeds 100 %.",
    "substitutions": "Reference words recognised as another word.",
    "deletions": "Reference words with nothing recognised in their place.",
    "insertions": "Recognised words that the reference does not have.",
    "ctc_loss": "Connectionist temporal classification loss of the reference text (negative log "
    "likelihood, natural logarithm, per clip), averaged over the clips whose loss is finite.",
    "loss": "What the model was trained to make small, averaged over the clips whose loss is "
    "finite: CTC loss per clip, or for models that write token by token cross entropy per token.",
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
    "projection": "How latent vectors become two coordinates. Principal components keep "
    "distances between groups, t-SNE and UMAP keep neighbours.",
    "silhouette": "How much nearer a sample is to its own cluster than to the next one, on "
    "average, from -1 to 1 (Rousseeuw 1987). Above 0.5 clusters are distinct, below 0.25 hardly.",
    "trait": "Columns that tell most of membership in the cluster: mutual information in nats "
    "between membership and the column, numbers in ten bins.",
    "effect": "Difference between inside and outside: Hedges' g for numbers, Cohen's h for shares. "
    "0.2 is small, 0.5 medium, 0.8 large.",
    "spearman": "Spearman's rank correlation over samples: 1 when one always grows with the other, "
    "-1 when it always falls, 0 when neither.",
    "word_accuracy": "Share of the occurrences of a word that were recognised as that word.",
    "neighbourhood": "Words as vectors (speech sequence embeddings): which word of the reference "
    "lies nearest to a word as the profile hears it, the word itself left out.",
    "mining": "Every clip is looked for, by its embedding, among the clips of the reference. "
    "One that no longer finds itself has lost what tells it from others.",
    "xsim": "Share of clips whose best match, by margin, is another clip. 0 % loses nothing.",
    "xsim_cosine": "The same by the cosine alone: share of clips whose nearest is another clip.",
    "mining_rank": "Place of a clip among those of the reference, the nearest first; 1 is itself.",
    "margin": "Cosine of a clip with itself over the mean cosine of the neighbours of both "
    "(Artetxe and Schwenk 2019). Above 1 it stands out, at 1 it is no nearer than others are.",
    "confusable": "Words that stand in the place of others in the sentence of the clip that a "
    "clip became, where the two sentences share at least one word.",
    "phones": "Share of the phones of a class that the aligned hypothesis has in the same place. "
    "Phones by the CMU pronouncing dictionary; made-up words by their letters.",
    "severity": "Share of all word errors that would not occur if the group were as good as the "
    "other samples of the same profiles and splits.",
    "excess": "WER of the group minus that of the other samples, measured from the mean of each "
    "profile and split, with its 95 % interval.",
    "p_value": "Two-sided p-value, corrected for all groups that were tried (Benjamini and "
    "Hochberg 1995).",
    "energy": "How far apart two profiles lie in the latent space: 0 is the same cloud of points, "
    "1 two points far apart (energy coefficient, Szekely and Rizzo 2013).",
    "displacement": "Median distance of a clip to itself under the other profile, over the "
    "distance between two clips. Above 1, the profile changes more than the sentence does.",
    "neighbours": "Samples whose latent vectors are nearest, in the first principal components.",
    "confidence": "How sure the model was of each word.",
}

_ATTENUATION = re.compile(r"profile_attenuation_db_(\d+)_hz")


def attenuation_frequency_hz(column: str) -> int | None:
    """Frequency of a ``profile_attenuation_db_*_hz`` column, ``None`` for any other column."""
    match = _ATTENUATION.fullmatch(column)
    return int(match[1]) if match else None
