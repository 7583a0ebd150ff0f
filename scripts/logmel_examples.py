"""Draw what Whisper sees of one sentence under each profile: docs/images/logmel.png."""

import numpy as np
from masking_examples import CLIP, ROOT
from matplotlib.figure import Figure

from pipeline.audio import load_mono
from pipeline.logmel.auris import decibel_mel
from pipeline.logmel.features import MelSettings, log_mel
from pipeline.masking.mask import StftSettings, apply_mask, gains, normalize
from pipeline.masking.profiles import get_profile

PROFILES = ("normal", "lfloss", "hfloss", "N4")


def main() -> None:
    """Write the picture."""
    clip = load_mono(CLIP)
    settings = StftSettings()
    gain = gains(tuple(map(get_profile, PROFILES)), settings)
    masked = normalize(apply_mask(clip, gain, settings), "shared", float(np.abs(clip).max()))
    figure = Figure(figsize=(10, 8), layout="constrained")
    rows = figure.subplots(len(PROFILES), 2, sharex=True, sharey=True)
    for profile, waveform, axes in zip(PROFILES, masked.waveforms, rows, strict=True):
        kinds = (
            (log_mel(waveform, MelSettings()), -1.0, 1.5, "whisper"),
            (decibel_mel(waveform), -80.0, 0.0, "auris"),
        )
        for axis, (features, low, high, kind) in zip(axes, kinds, strict=True):
            image = axis.imshow(
                features, origin="lower", aspect="auto", vmin=low, vmax=high, cmap="magma"
            )
            axis.set_title(f"{profile}, {kind}", fontsize=10)
            figure.colorbar(image, ax=axis, label="dB" if kind == "auris" else None)
        axes[0].set_ylabel("mel bin")
    for axis in rows[-1]:
        axis.set_xlabel("frame of 10 ms")
    figure.savefig(ROOT / "docs/images/logmel.png", dpi=80)


if __name__ == "__main__":
    main()
