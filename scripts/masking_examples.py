"""Draw and record what each simulator makes of one sentence: docs/images and docs/audio."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline.audio import encode_audio, load_mono
from pipeline.masking.mask import StftSettings, normalize
from pipeline.masking.plot import plot_audiograms
from pipeline.masking.profiles import PROFILES, get_profile
from pipeline.masking.simulators import SimulationSettings, make_simulator

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "examples/mini-corpus/cv-corpus-1.0-2026-11-21/en/clips/common_voice_en_10000200.mp3"
RATE = 16_000
EXAMPLES = (
    ("normal, mask", "normal", SimulationSettings("mask")),
    ("lfloss, mask", "lfloss", SimulationSettings("mask")),
    ("hfloss, mask", "hfloss", SimulationSettings("mask")),
    ("N3, mask", "N3", SimulationSettings("mask")),
    ("N3, audibility by noise", "N3", SimulationSettings("audibility")),
    ("N3, audibility by a gate", "N3", SimulationSettings("audibility", threshold="gate")),
    ("N3, cochlear", "N3", SimulationSettings("cochlear")),
)


def main() -> None:
    """Write the pictures and the sounds."""
    clip = load_mono(CLIP, RATE)
    peak = float(np.abs(clip).max())
    sounds = {"source": clip / peak}
    for name, profile, settings in EXAMPLES:
        made = make_simulator((get_profile(profile),), StftSettings(RATE), settings)
        sounds[name] = normalize(made.simulate(clip), "shared", peak).waveforms[0]
    (ROOT / "docs/audio").mkdir(exist_ok=True)
    for name, waveform in sounds.items():
        path = ROOT / "docs/audio" / f"{name.replace(', ', '-').replace(' ', '-')}.flac"
        path.write_bytes(encode_audio(waveform, RATE))
    draw(sounds, ROOT / "docs/images/simulators.png")
    plot_audiograms(tuple(PROFILES.values()), ROOT / "docs/images/profiles.png")


def draw(sounds: dict[str, np.ndarray], path: Path) -> None:
    """Spectrograms, all on one scale in dB re full scale."""
    figure = Figure(figsize=(10, 9), layout="constrained")
    axes = figure.subplots(4, 2, sharex=True, sharey=True).ravel()
    for axis, (name, waveform) in zip(axes, sounds.items(), strict=True):
        _, _, _, image = axis.specgram(
            np.pad(waveform, 256) + 1e-12,
            NFFT=512,
            Fs=RATE,
            noverlap=384,
            scale="dB",
            vmin=-140,
            vmax=-40,
            cmap="magma",
        )
        axis.set_title(name, fontsize=10)
    for axis in axes[::2]:
        axis.set_ylabel("Hz")
    for axis in axes[-2:]:
        axis.set_xlabel("s")
    figure.colorbar(image, ax=list(axes), shrink=0.5, label="dB re full scale per Hz")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
