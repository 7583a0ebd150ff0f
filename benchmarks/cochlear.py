"""How much faster the cochlear simulator is than pyclarity, per second of audio: one ear, 5 s.

pyclarity (``pip install numpy scipy`` and ``pip install --no-deps pyclarity==0.9.0``) works at
44.1 kHz only. It runs in a process of its own, in this environment or in the one of
``--peer-python``; both count their own CPU time and take turns.
"""

import argparse
import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.masking.cochlear import CochlearSimulator, severity_class
from pipeline.masking.profiles import HearingProfile, get_profile

SECONDS = 5
PROFILES = tuple(get_profile(name) for name in ("normal", "N1", "N2", "N3"))

# Its arguments: a waveform, frequencies, levels. For every line it reads, the CPU time of one run.
PEER = """
import logging, sys, time
import numpy as np
from clarity.evaluator.msbg.msbg import Ear
from clarity.utils.audiogram import Audiogram
logging.disable(logging.CRITICAL)
waveform = np.load(sys.argv[1]).astype(float)
frequencies, levels = (np.array(text.split(), float) for text in sys.argv[2:])
ear = Ear(equiv_0db_spl=80, ahr=20)
ear.set_audiogram(Audiogram(levels, frequencies))
for _ in sys.stdin:
    start = time.process_time()
    ear.process(waveform)
    print(time.process_time() - start, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peer-python",
        default=os.environ.get("CLARITY_PYTHON", sys.executable),
        help="interpreter that has pyclarity [env var: CLARITY_PYTHON]",
    )
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    peer = subprocess.run([asked.peer_python, "-c", "import clarity"], stderr=subprocess.DEVNULL)
    if peer.returncode:
        print("pyclarity is not installed, so there is nothing to compare with; see --peer-python")
    for profile in PROFILES:
        if peer.returncode:
            alone(profile, 44_100, asked.repeats)
        else:
            against_peer(profile, asked.peer_python, asked.repeats)
        alone(profile, 16_000, asked.repeats)


def clip(rate: int) -> np.ndarray:
    """Noise at 65 dB SPL, four times a second louder and softer: float32 [shape=(n,)]."""
    time_s = np.arange(SECONDS * rate) / rate
    noise = np.random.default_rng(0).standard_normal(len(time_s)) * np.sin(4 * np.pi * time_s) ** 2
    return (10 ** (-35 / 20) * noise / noise.std()).astype(np.float32)


def against_peer(profile: HearingProfile, python: str, repeats: int) -> None:
    waveform = clip(44_100)
    simulator = CochlearSimulator((profile,), 44_100)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.npy"
        np.save(file, waveform)
        points = (profile.frequencies_hz, profile.thresholds_db_hl)
        arguments = [str(file), *(" ".join(map(str, values)) for values in points)]
        with subprocess.Popen(
            [python, "-c", PEER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as peer:
            timed = [(ours(simulator, waveform), theirs(peer)) for _ in range(repeats + 1)][1:]
            assert peer.stdin
            peer.stdin.close()
    seconds = np.array(timed) / SECONDS
    low, median, high = np.quantile(seconds[:, 1] / seconds[:, 0], [0, 0.5, 1])
    mine, its = 1e3 * np.median(seconds, axis=0)
    print(
        f"{title(profile)}, 44.1 kHz: {mine:.1f} ms per second of audio against {its:.1f} ms, "
        f"{median:.1f} times as fast ({low:.1f} to {high:.1f} over {repeats} repeats)"
    )


def alone(profile: HearingProfile, rate: int, repeats: int) -> None:
    waveform, simulator = clip(rate), CochlearSimulator((profile,), rate)
    timed = [ours(simulator, waveform) for _ in range(repeats + 1)][1:]
    low, median, high = np.quantile(1e3 * np.array(timed) / SECONDS, [0, 0.5, 1])
    print(
        f"{title(profile)}, {rate / 1000:g} kHz: {median:.1f} ms per second of audio "
        f"({low:.1f} to {high:.1f} over {repeats} repeats), {median * SECONDS:.0f} ms per clip"
    )


def title(profile: HearingProfile) -> str:
    return f"{profile.name} (severity {severity_class(profile)})"


def ours(simulator: CochlearSimulator, waveform: np.ndarray) -> float:
    start = time.process_time()
    simulator.simulate(waveform)
    return time.process_time() - start


def theirs(peer: subprocess.Popen[str]) -> float:
    assert peer.stdin and peer.stdout
    peer.stdin.write("\n")
    peer.stdin.flush()
    return float(peer.stdout.readline())


if __name__ == "__main__":
    main()
