"""Predict how intelligible masked speech is to people, by HASPI, level kept and level lost.

HASPI version 2 (Kates & Arehart 2021, Speech Communication 131:35-46) predicts the share of
sentences a listener understands, here one with normal hearing, from clean speech and what became of
it. It is computed by pyclarity, which is not among our dependencies; give it an environment of its
own::

    python3.11 -m venv haspi-env
    haspi-env/bin/pip install --no-deps pyclarity
    haspi-env/bin/pip install numpy scipy numba soundfile soxr pyyaml
    haspi-env/bin/python scripts/haspi.py CLIP...
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
warnings.filterwarnings("ignore")

try:
    from clarity.evaluator.haspi import haspi_v2
    from clarity.utils.audiogram import Audiogram
except ImportError:
    sys.exit("error: pyclarity is not installed; the head of this script says how to")

from pipeline.audio import load_mono  # noqa: E402
from pipeline.masking.audibility import active_rms  # noqa: E402
from pipeline.masking.mask import (  # noqa: E402
    Masked,
    StftSettings,
    apply_mask,
    gains,
    normalize,
)
from pipeline.masking.profiles import get_profile  # noqa: E402

PROFILES = ("N1", "N2", "N3", "N4", "N5", "N6", "N7", "S1", "S2", "S3", "lfloss", "hfloss")
RATE = 16_000
SPEECH_LEVEL_DB_SPL = 65.0
FREQUENCIES_HZ = (250, 500, 1000, 2000, 4000, 6000)


def main() -> None:
    """Print mean HASPI per profile, for ``shared`` and for ``peak`` normalisation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--profiles", nargs="+", default=PROFILES)
    arguments = parser.parse_args()
    settings = StftSettings(RATE)
    print(f"{'profile':8} {'level kept':>10} {'peak':>6}   mean of {len(arguments.clips)} clips")
    for name in arguments.profiles:
        gain = gains((get_profile(name),), settings)
        scores = []
        for path in arguments.clips:
            clip = load_mono(path, RATE)
            masked, peak = apply_mask(clip, gain, settings), float(np.abs(clip).max())
            kept = undo_gain(normalize(masked, "shared", peak))
            lost = normalize(masked, "peak", peak).waveforms[0] * peak
            scores.append([intelligibility(clip, kept), intelligibility(clip, lost)])
        kept_score, lost_score = np.mean(scores, axis=0)
        print(f"{name:8} {kept_score:10.3f} {lost_score:6.3f}", flush=True)


def undo_gain(masked: Masked) -> np.ndarray:
    """What was stored, at the level it had before normalisation."""
    return masked.waveforms[0] * 10 ** (-masked.output_gain_db[0] / 20)


def intelligibility(clip: np.ndarray, heard: np.ndarray) -> float:
    """HASPI of a normal-hearing listener who hears the clip at a conversational level."""
    np.random.seed(0)  # noqa: NPY002 - it adds noise by numpy's global generator
    normal = Audiogram(levels=np.zeros(len(FREQUENCIES_HZ)), frequencies=FREQUENCIES_HZ)
    level_of_one = SPEECH_LEVEL_DB_SPL - 20 * np.log10(active_rms(clip, RATE))
    # An RMS of 1 in both signals is level_of_one.
    score, _ = haspi_v2(clip, RATE, heard, RATE, normal, level1=level_of_one)
    return float(score)


if __name__ == "__main__":
    main()
