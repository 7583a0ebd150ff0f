"""How far profiles lie apart in the latent space of a model."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hearing_analysis.reports.statistics import energy_coefficient
from hearing_analysis.reports.table import AnalysisTable

LARGEST_SAMPLE = 1000  # clips per profile, for every distance between two of them is needed


@dataclass(frozen=True)
class DomainGap:
    """Two profiles in the latent space of a model.

    Attributes
    ----------
    energy : float
        0: the same cloud of points, 1: two points far apart (energy coefficient).
    displacement : float, optional
        Median distance of a clip to itself under the other profile, over the median distance of two
        clips under the first: above 1, the profile changes more than the sentence does.
    n_clips : int
        Clips that have both, as far as they were looked at.
    """

    model: str
    first: str
    second: str
    energy: float
    displacement: float | None
    n_clips: int


def domain_gaps(table: AnalysisTable) -> tuple[DomainGap, ...]:
    """Measure the gap between every two profiles, for every model; the widest first."""
    if not table.has_latents:
        return ()
    gaps = [gap for model in table.models for gap in _of_model(table, model)]
    return tuple(sorted(gaps, key=lambda gap: -gap.energy))


def _of_model(table: AnalysisTable, model: str) -> list[DomainGap]:
    clouds = {profile: _cloud(table, model, profile) for profile in table.profiles}
    present = [profile for profile in table.profiles if len(clouds[profile].clips) > 1]
    return [_gap(model, a, b, clouds[a], clouds[b]) for a, b in combinations(present, 2)]


@dataclass(frozen=True)
class _Cloud:
    clips: np.ndarray
    latents: np.ndarray


def _cloud(table: AnalysisTable, model: str, profile: str) -> _Cloud:
    models, profiles = np.array(table.texts("model")), np.array(table.texts("profile_name"))
    # The same clips under every profile, so that they can be paired.
    clips = np.arange(table.n_clips)
    if len(clips) > LARGEST_SAMPLE:
        clips = np.random.default_rng(0).choice(clips, LARGEST_SAMPLE, replace=False)
    rows = np.flatnonzero((models == model) & (profiles == profile) & np.isin(table.clips, clips))
    return _Cloud(table.clips[rows], table.latents(rows))


def _gap(model: str, first: str, second: str, a: _Cloud, b: _Cloud) -> DomainGap:
    shared, here, there = np.intersect1d(a.clips, b.clips, return_indices=True)
    displacement = None
    if len(shared) > 1:
        moved = np.linalg.norm(a.latents[here] - b.latents[there], axis=1)
        # Each clip with the next one: as good as all pairs, and as many as there are clips.
        others = np.linalg.norm(a.latents[here] - np.roll(a.latents[here], 1, axis=0), axis=1)
        if median := float(np.median(others)):
            displacement = float(np.median(moved)) / median
    energy = energy_coefficient(a.latents, b.latents)
    return DomainGap(model, first, second, energy, displacement, len(shared))
