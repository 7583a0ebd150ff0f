"""What only integrations with input encoders may have: simulations, and spaces of the clips alone.

There is no ``from __future__ import annotations`` here: code-loader reads the annotations as types.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from code_loader.contract.datasetclasses import PreprocessResponse
from code_loader.contract.enums import DataStateType
from code_loader.inner_leap_binder.leapbinder_decorators import (
    tensorleap_custom_latent_space,
    tensorleap_simulation,
)

from hearing_analysis.encoders import SPECTRUM_N_FFT
from hearing_analysis.metadata.bands import long_term_levels_dbfs
from hearing_analysis.simulation import (
    FAMILIES,
    HIGHEST_DEGREE_DB,
    SIDES,
    STEEPEST_DB_PER_OCTAVE,
    HearingLoss,
    simulate,
)
from hearing_analysis.tensorleap.dataset import CONFIG, TABLES, samples_of
from pipeline.audio import SAMPLING_RATE

SIMULATION_PARAMETERS: dict[str, dict[str, Any]] = {
    "family": {"type": str, "bounds": {"values": list(FAMILIES)}},
    "degree_db": {"type": float, "bounds": {"min": 0.0, "max": HIGHEST_DEGREE_DB}},
    "slope_db_per_octave": {"type": float, "bounds": {"min": 0.0, "max": STEEPEST_DB_PER_OCTAVE}},
    "side": {"type": str, "bounds": {"values": list(SIDES)}},
}


@tensorleap_simulation("hearing_loss", SIMULATION_PARAMETERS)
def hearing_loss(
    family: str, degree_db: float, slope_db_per_octave: float, side: str, N: int, seed: int
) -> PreprocessResponse:
    """Filter clips of the training split, as its first profile heard them, by any loss."""
    loss = HearingLoss(family, float(degree_db), float(slope_db_per_octave), side)  # type: ignore[arg-type]
    simulated = simulate(samples_of(CONFIG.splits.training), loss, int(N), int(seed))
    return PreprocessResponse(
        sample_ids=list(simulated.ids), data=simulated, state=DataStateType.additional
    )


@tensorleap_custom_latent_space("acoustic")
def acoustic(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
    """Place a clip by its long-term spectrum alone: float32 [shape=(18,)], in dB."""
    return long_term_levels_dbfs(preprocess.data.waveform(idx), SAMPLING_RATE, SPECTRUM_N_FFT)


def _stage_space(column: str) -> Callable[[str, PreprocessResponse], np.ndarray]:
    """Register the vectors of one column of a clip table as a latent space."""

    @tensorleap_custom_latent_space(f"stage_{column}")
    def stage_space(idx: str, preprocess: PreprocessResponse) -> np.ndarray:
        sample = preprocess.data.sample(idx)
        return TABLES.vector(column, sample.clip_id, sample.profile)

    return stage_space


SPACES = [acoustic, *map(_stage_space, TABLES.vector_names)]


def try_hearing_loss() -> PreprocessResponse:
    """Simulate once, so that code-loader has seen it work."""
    return hearing_loss(
        family="sloping", degree_db=60.0, slope_db_per_octave=15.0, side="high", N=2, seed=0
    )


SIMULATIONS = [try_hearing_loss]
