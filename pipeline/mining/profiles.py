"""Mine normal speech against the same speech under a hearing loss, clip by clip.

A clip that no longer finds itself among the clips of normal hearing has lost what tells it from
others: a measure of intelligibility that needs no recogniser and no transcript. Files written::

    profiles.csv, profiles.json   a row per profile: xsim error, ranks, margins
    clips.parquet                 a row per clip and profile: rank, margin, cosine, what it became
    confusions.csv                words that became others, and how often
    profiles.png                  the distribution of margins
"""

import csv
import difflib
import io
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.corpus import (
    Corpus,
    corpus_root,
    open_corpus,
    write_atomically,
    write_json,
    write_path,
)
from pipeline.errors import InputError
from pipeline.mining.embed import EmbedWork, embed_side, embedded_shards
from pipeline.mining.evaluate import chosen, xsim
from pipeline.mining.margin import neighbourhood
from pipeline.mining.preset import DataChoice, EncoderChoice, Side
from pipeline.mining.rows import UnitRows
from pipeline.mining.shards import open_side
from pipeline.neighbours import BothWays, Neighbours, nearest_both, ranks

CONFUSIONS_KEPT, CONFUSIONS_SHOWN = 200, 20  # in the file, and on the screen

logger = logging.getLogger("pipeline")


@dataclass(frozen=True)
class ProfileWork:
    """What is compared, and how.

    Attributes
    ----------
    base : Path
        Variants are ``<base>_<profile>``.
    reference : str
        The profile that the others are compared with.
    profiles : tuple of str
    splits : tuple of str, optional
    encoder : EncoderChoice
    k : int
        Neighbours that say what is usual around a clip.
    output : Path
    """

    base: Path
    reference: str
    profiles: tuple[str, ...]
    splits: tuple[str, ...] | None
    encoder: EncoderChoice
    k: int
    output: Path


@dataclass(frozen=True)
class ProfileResult:
    """What became of every clip under a profile; arrays with an entry per clip.

    Attributes
    ----------
    xsim_error, xsim_error_cosine : float
        Share of clips whose nearest reference clip, by margin or by cosine, is another.
    margin, cosine, rank : np.ndarray
        Of the clip with itself; NaN, NaN and 0 where it was left out.
    became : np.ndarray [dtype=int64]
        The reference clip of the largest cosine; -1 where it was left out.
    chosen : np.ndarray [dtype=int64]
        The same of the largest margin, which ``xsim_error`` judges.
    """

    profile: str
    xsim_error: float
    xsim_error_cosine: float
    margin: np.ndarray
    cosine: np.ndarray
    rank: np.ndarray
    became: np.ndarray
    chosen: np.ndarray


def compare_profiles(
    work: ProfileWork, num_workers: int, overwrite: bool = False
) -> dict[str, Any]:
    """Embed all variants, compare each with the reference, write everything; gives the table.

    Raises
    ------
    MissingPathError, InputError
        If a variant is missing, or is not aligned with the reference row by row.
    """
    root = corpus_root(work.base)
    corpora = {
        name: open_corpus(root.with_name(f"{root.name}_{name}"))
        for name in (work.reference, *work.profiles)
    }
    ids, sentences = _clips(corpora, work)
    rows = {
        name: _embed(corpus, name, work, num_workers, overwrite) for name, corpus in corpora.items()
    }
    reference = rows[work.reference]
    results = [compare(name, rows[name], reference, work.k) for name in work.profiles]
    table = [_summary(result) for result in results]
    _write_clips(work, ids, sentences, results)
    _write_table(work.output / "profiles.csv", table)
    confusions = _confusions(sentences, results)
    _write_table(work.output / "confusions.csv", confusions, ("profile", "said", "became", "clips"))
    from pipeline.mining.figure import draw_margins

    draw_margins(
        {result.profile: result.margin for result in results}, work.output / "profiles.png"
    )
    report = {
        "reference": work.reference,
        "encoder": work.encoder.target,
        "k": work.k,
        "clips": len(ids),
        "profiles": table,
    }
    kept = confusions[:CONFUSIONS_KEPT]
    write_json(work.output / "profiles.json", {**report, "confusions": kept})
    return {**report, "confusions": kept[:CONFUSIONS_SHOWN]}


def compare(profile: str, variant: UnitRows, reference: UnitRows, k: int) -> ProfileResult:
    """Mine a variant against the reference it was made from; line ``i`` of both is one clip."""
    found = nearest_both(variant, reference, k)
    place = np.searchsorted(reference.lines, variant.lines)
    place = np.minimum(place, max(len(reference) - 1, 0))
    both = reference.lines[place] == variant.lines if len(reference) else np.zeros(0, bool)
    n = variant.n_lines
    cosine, margin = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
    rank, became = np.zeros(n, np.int64), np.full(n, -1, np.int64)
    lines = variant.lines[both]
    own = np.concatenate(
        [np.empty(0, np.float32)]
        + [
            np.einsum("ij,ij->i", variant[at], reference[place[at]])
            for at in np.array_split(np.flatnonzero(both), max(len(lines) // 4096, 1))
            if len(at)
        ]
    )
    usual = (neighbourhood(found.forward) + neighbourhood(found.backward)[place]) / 2
    cosine[lines] = own
    margin[lines] = np.divide(
        own, usual[both], out=np.full_like(own, np.nan), where=usual[both] > 0
    )
    rank[lines] = ranks(variant, reference, place)[both]
    became[variant.lines] = reference.lines[found.forward.indices[:, 0]]
    by_line = _by_line(found, variant, reference)
    return ProfileResult(
        profile,
        xsim(by_line)["forward"],
        xsim(by_line, "absolute")["forward"],
        margin,
        cosine,
        rank,
        became,
        chosen(*by_line),
    )


def _by_line(found: BothWays, variant: UnitRows, reference: UnitRows) -> BothWays:
    """The same neighbours with lines in place of rows."""
    directions = []
    for neighbours, of, other in (
        (found.forward, variant, reference),
        (found.backward, reference, variant),
    ):
        shape = (of.n_lines, neighbours.indices.shape[1])
        similarities = np.full(shape, -np.inf, np.float32)
        indices = np.full(shape, -1, np.int64)
        similarities[of.lines] = neighbours.similarities
        indices[of.lines] = other.lines[neighbours.indices]
        directions.append(Neighbours(similarities, indices))
    return BothWays(*directions)


def _clips(corpora: dict[str, Corpus], work: ProfileWork) -> tuple[list[str], list[str]]:
    """Ids and sentences, in the order of the rows; the same in all variants, or it says so."""
    columns = {}
    for name, corpus in corpora.items():
        splits = [corpus[split] for split in work.splits or corpus.splits]
        columns[name] = [clip for split in splits for clip in split.column("id").to_pylist()]
    expected = columns[work.reference]
    for name, ids in columns.items():
        if ids != expected:
            raise InputError(
                f"{corpora[name].root} does not hold the clips of {corpora[work.reference].root} "
                "row by row; make both with one `pipeline mask`"
            )
    reference = corpora[work.reference]
    splits = [reference[split] for split in work.splits or reference.splits]
    sentences = [
        text or ""
        for split in splits
        for text in (
            split.column("sentence").to_pylist()
            if "sentence" in split.columns
            else [""] * len(split)
        )
    ]
    return expected, sentences


def _embed(
    corpus: Corpus, name: str, work: ProfileWork, num_workers: int, overwrite: bool
) -> UnitRows:
    from pipeline.mining.encoders import make_encoder

    encoder = make_encoder(work.encoder)
    if encoder.kind != "speech":
        raise InputError(
            f"{work.encoder.target} does not take speech; name an encoder of speech, such as "
            "pipeline.mining.DualSpeechEncoder"
        )
    side = Side(name, DataChoice(corpus=str(corpus.root), splits=work.splits), work.encoder)
    shards = tuple(open_side(side))
    embedding = EmbedWork(side, shards, encoder, work.output / "embed" / name, overwrite)
    embed_side(embedding, range(len(shards)), num_workers)
    return UnitRows(embedded_shards(embedding))


def _summary(result: ProfileResult) -> dict[str, Any]:
    there = result.rank > 0
    margin = result.margin[np.isfinite(result.margin)]
    quartiles = np.percentile(margin, [25, 50, 75]) if len(margin) else [np.nan] * 3
    return {
        "profile": result.profile,
        "clips": int(there.sum()),
        "xsim_error": round(result.xsim_error, 4),
        "xsim_error_cosine": round(result.xsim_error_cosine, 4),
        "median_rank": float(np.median(result.rank[there])) if there.any() else None,
        "margin_q25": round(float(quartiles[0]), 4),
        "margin_median": round(float(quartiles[1]), 4),
        "margin_q75": round(float(quartiles[2]), 4),
        "cosine_mean": round(float(np.nanmean(result.cosine)), 4) if there.any() else None,
    }


def _write_clips(
    work: ProfileWork, ids: list[str], sentences: list[str], results: Sequence[ProfileResult]
) -> None:
    """Write figures by clip, to be joined to other tables by ``id`` and ``profile_name``."""
    tables = []
    for result in results:
        there = result.became >= 0
        missing = ~there
        names = np.array(ids, dtype=object)[np.where(there, result.became, 0)]
        texts = np.array(sentences, dtype=object)[np.where(there, result.became, 0)]
        columns = {
            "id": pa.array(ids),
            "profile_name": pa.array([result.profile] * len(ids)),
            "mining_rank": pa.array(result.rank, mask=result.rank == 0),
            "mining_margin": pa.array(result.margin, mask=~np.isfinite(result.margin)),
            "mining_cosine": pa.array(result.cosine, mask=~np.isfinite(result.cosine)),
            "mining_found_itself": pa.array(result.rank == 1, mask=result.rank == 0),
            "mining_found_by_margin": pa.array(
                result.chosen == np.arange(len(ids)), mask=result.rank == 0
            ),
            "mining_nearest_id": pa.array(names, pa.string(), mask=missing),
            "mining_nearest_sentence": pa.array(texts, pa.string(), mask=missing),
        }
        tables.append(pa.table(columns))
    with write_path(work.output / "clips.parquet") as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)


def _confusions(sentences: list[str], results: Sequence[ProfileResult]) -> list[dict[str, Any]]:
    """Words that stand in the place of others in the sentence a clip became, most often first."""
    found: list[dict[str, Any]] = []
    for result in results:
        counts: Counter[tuple[str, str]] = Counter()
        for clip in np.flatnonzero((result.rank > 1) & (result.became >= 0)):
            counts.update(replaced_words(sentences[clip], sentences[int(result.became[clip])]))
        for (said, became), clips in sorted(counts.items(), key=lambda one: (-one[1], one[0])):
            found.append(
                {"profile": result.profile, "said": said, "became": became, "clips": clips}
            )
    return sorted(found, key=lambda one: -one["clips"])


def replaced_words(said: str, became: str) -> list[tuple[str, str]]:
    """Words of a sentence and those that stand in their place in another.

    Only where as many words stand in place of as many; sentences with no word in common say
    nothing about words.
    """
    first, second = (re.findall(r"[\w']+", text.lower()) for text in (said, became))
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    if not any(block.size for block in matcher.get_matching_blocks()):
        return []
    return [
        pair
        for kind, i, i_end, j, j_end in matcher.get_opcodes()
        if kind == "replace" and i_end - i == j_end - j
        for pair in zip(first[i:i_end], second[j:j_end], strict=True)
    ]


def _write_table(
    path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...] | None = None
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, buffer.getvalue().encode())
