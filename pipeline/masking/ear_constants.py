"""Measured constants of the Cambridge (MSBG) hearing-loss model.

The transfer functions of the outer and middle ear below, and in ``gammatones.json`` the centre
frequency, time advance and high-pass filter of every filterbank channel, are those of pyclarity
0.9.0 (``clarity/evaluator/msbg/msbg_utils.py`` and ``msbg_hparams/``,
https://github.com/claritychallenge/clarity), whose licence asks for this notice:

    MIT License. Copyright (c) 2022 The PyClarity Team

    Permission is hereby granted, free of charge, to any person obtaining a copy of this software
    and associated documentation files (the "Software"), to deal in the Software without
    restriction, including without limitation the rights to use, copy, modify, merge, publish,
    distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
    Software is furnished to do so, subject to the following conditions:

    The above copyright notice and this permission notice shall be included in all copies or
    substantial portions of the Software.

    THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING
    BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
    NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
    DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
    OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# The rate for which the model's filters were designed, in Hz.
MODEL_RATE = 44_100

# fmt: off
# Frequencies in Hz of the two tables that follow.
EAR_HZ = (
    0.0, 20.0, 25.0, 31.5, 40.0, 50.0, 63.0, 80.0, 100.0, 125.0, 160.0, 200.0, 250.0, 315.0, 400.0,
    500.0, 630.0, 750.0, 800.0, 1000.0, 1250.0, 1500.0, 1600.0, 2000.0, 2500.0, 3000.0, 3150.0,
    4000.0, 5000.0, 6000.0, 6300.0, 8000.0, 9000.0, 10000.0, 11200.0, 12500.0, 14000.0, 15000.0,
    16000.0, 20000.0, 48000.0,
)
# From a frontal free field to the eardrum, in dB (Shaw 1974).
FIELD_TO_EARDRUM_DB = (
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.3, 0.5, 0.9, 1.4, 1.6, 1.7, 2.5, 2.7, 2.6,
    2.6, 3.2, 5.2, 6.6, 12.0, 16.8, 15.3, 15.2, 14.2, 10.7, 7.1, 6.4, 1.8, -0.9, -1.6, 1.9, 4.9,
    2.0, -2.0, 2.5, 2.5, 2.5,
)
# What the middle ear takes away between eardrum and cochlea, in dB.
MIDDLE_EAR_DB = (
    50.0, 39.6, 32.0, 25.85, 21.4, 18.5, 15.9, 14.1, 12.4, 11.0, 9.6, 8.3, 7.4, 6.2, 4.8, 3.8, 3.3,
    2.9, 2.6, 2.6, 4.5, 5.4, 6.1, 8.5, 10.4, 7.3, 7.0, 6.6, 7.0, 9.2, 10.2, 12.2, 10.8, 10.1, 12.7,
    15.0, 18.2, 23.8, 32.3, 50.0, 50.0,
)
# fmt: on


@dataclass(frozen=True, eq=False)
class Gammatones:
    """Channels of a gammatone filterbank, as they were designed for 44.1 kHz.

    Attributes
    ----------
    broadening : float
        Width of a channel in equivalent rectangular bandwidths of a normal ear.
    recombination_db : float
        How much louder than the input the sum of all channels is.
    centres_hz : np.ndarray [shape=(n_channels,), dtype=float64]
        Ascending.
    advances : np.ndarray [shape=(n_channels,), dtype=float64]
        By how many samples the output is moved forward, so that all channels line up.
    highpass_b, highpass_a : np.ndarray [shape=(n_channels, 3), dtype=float64]
        Second-order section that steepens the lower skirt; 1 where a channel has none.
    """

    broadening: float
    recombination_db: float
    centres_hz: np.ndarray
    advances: np.ndarray
    highpass_b: np.ndarray
    highpass_a: np.ndarray


def load_gammatones(broadening: float) -> Gammatones:
    """Read one of the three filterbanks: 1.5, 2 or 3 equivalent rectangular bandwidths wide."""
    tables = json.loads(Path(__file__).with_name("gammatones.json").read_text(encoding="utf-8"))
    table = {bank["broadening"]: bank for bank in tables["banks"]}[broadening]
    centres, advances, sections = zip(*table["channels"], strict=True)
    none = (1.0, 0.0, 0.0), (1.0, 0.0, 0.0)
    highpass = [none if s is None else ((s[0], -2 * s[0], s[0]), (1.0, *s[1:])) for s in sections]
    numerators, denominators = zip(*highpass, strict=True)
    return Gammatones(
        broadening,
        table["recombination_db"],
        np.array(centres),
        np.array(advances, dtype=np.float64),
        np.array(numerators),
        np.array(denominators),
    )
