"""Audiograms as a picture, drawn as audiologists draw them: octaves across, loss downwards."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.errors import InputError
from pipeline.masking.profiles import OCTAVES_HZ, HearingProfile
from pipeline.masking.severity import WHO_GRADES

SUFFIXES = (".png", ".svg", ".pdf")
DEEPEST_DB_HL = 120.0
MARKERS = "osD^v<>Ph*Xdp8"


def plot_audiograms(profiles: tuple[HearingProfile, ...], path: Path) -> None:
    """Draw audiograms into a file.

    Parameters
    ----------
    profiles : tuple of HearingProfile
    path : Path
        Ends in ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    InputError
        If it ends otherwise.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--plot {path} does not end in one of: {', '.join(SUFFIXES)}")
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, profile in enumerate(profiles):
        axes.plot(
            profile.frequencies_hz,
            profile.thresholds_db_hl,
            marker=MARKERS[number % len(MARKERS)],
            linestyle=("-", "--", ":", "-.")[number // 10 % 4],
            label=profile.name,
        )
    deepest = max([DEEPEST_DB_HL, *(max(p.thresholds_db_hl) + 5 for p in profiles)])
    highest = min([-10.0, *(min(p.thresholds_db_hl) for p in profiles)])
    lowest = min(OCTAVES_HZ[0], *(profile.frequencies_hz[0] for profile in profiles))
    highest_hz = max(OCTAVES_HZ[-1], *(profile.frequencies_hz[-1] for profile in profiles))
    for threshold, grade in WHO_GRADES:
        axes.axhline(threshold, color="0.85", linewidth=1, zorder=0)
        axes.text(
            0.92 * lowest,
            threshold + 1,
            grade.replace("_", " "),
            color="0.45",
            fontsize=8,
            va="top",
        )
    axes.set_xscale("log", base=2)
    axes.set_xlim(0.88 * lowest, 1.12 * highest_hz)
    axes.set_xticks(
        OCTAVES_HZ, [f"{hz:g}" if hz < 1000 else f"{hz / 1000:g}k" for hz in OCTAVES_HZ]
    )
    axes.set_ylim(deepest, highest)
    axes.set_xlabel("Frequency in Hz")
    axes.set_ylabel("Threshold in dB HL (grades: WHO 2021, of the average at 0.5 to 4 kHz)")
    axes.grid(axis="x", color="0.92")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise InputError(f"--plot {path} cannot be written: {error.strerror}") from None
