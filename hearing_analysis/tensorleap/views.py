"""Pictures of a sample that are the same for every recogniser.

There is no ``from __future__ import annotations`` here: code-loader reads the annotations as types.
"""

import numpy as np
from code_loader.contract.enums import LeapDataType
from code_loader.contract.visualizer_classes import LeapGraph
from code_loader.inner_leap_binder.leapbinder_decorators import tensorleap_custom_visualizer

from hearing_analysis.tensorleap import drawing

__all__ = ["audiogram", "spectrum"]


@tensorleap_custom_visualizer("audiogram", LeapDataType.Graph)
def audiogram(thresholds_db_hl: np.ndarray) -> LeapGraph:
    """Draw the audiogram of the profile."""
    return drawing.audiogram(thresholds_db_hl)


@tensorleap_custom_visualizer("spectrum", LeapDataType.Graph)
def spectrum(spectra_dbfs: np.ndarray) -> LeapGraph:
    """Draw the long-term spectrum under the first profile and under this."""
    return drawing.spectrum(spectra_dbfs)
