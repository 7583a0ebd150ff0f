"""Figures for papers: the width of a column, 8-point type, vector formats with editable text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hearing_analysis.reports.columns import describe
from hearing_analysis.reports.descriptions import attenuation_frequency_hz
from hearing_analysis.reports.figures import GroupFigures, overview
from hearing_analysis.reports.phones import CLASS_NAMES, count_phones
from hearing_analysis.reports.statistics import Estimate, ratio_estimate
from hearing_analysis.reports.table import AnalysisTable, read_table
from pipeline.corpus import write_path
from pipeline.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
# Okabe and Ito (2008), as in the dashboard; with a sign each, for those who see no colours.
COLOURS = ("#0072b2", "#d55e00", "#00875f", "#b5488b", "#a87800", "#27b3c8", "#5b4ba0", "#6b6f76")
SIGNS = ("o", "s", "^", "D", "v", "P", "*", "h")
KINDS = {"substitutions": "#e69f00", "deletions": "#a8326e", "insertions": "#2f74c0"}
OCTAVES_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)
METADATA = ("text_word_count", "audio_level_dbfs", "audio_pause_ratio")
N_BINS = 5
MAX_POINTS = 5000  # of the map; a vector format keeps every one
MM_PER_INCH = 25.4
STYLE = {
    "font.size": 8,
    "font.family": "sans-serif",
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "hearing-analysis",
    "savefig.dpi": 300,
}


@dataclass(frozen=True)
class _Drawing:
    """What all figures are drawn from."""

    table: AnalysisTable
    split: str
    groups: tuple[GroupFigures, ...]

    def rows(self, profile: str) -> np.ndarray:
        """Rows of a profile in the split, of the first model."""
        names = {n: np.array(self.table.texts(n)) for n in ("profile_name", "split", "model")}
        return np.flatnonzero(
            (names["profile_name"] == profile)
            & (names["split"] == self.split)
            & (names["model"] == self.table.models[0])
        )


def draw_figures(
    path: Path,
    output: Path,
    formats: str = "pdf",
    *,
    split: str | None = None,
    width_mm: float = 89.0,
) -> Iterator[Path]:
    """Draw all figures of an analysis table.

    Parameters
    ----------
    path : Path
        ``analysis.parquet``.
    output : Path
        Folder that gets ``error_rates``, ``audiograms``, ``map``, ``metadata`` and ``phones``.
    formats : str
        Of png, svg and pdf, separated by commas.
    split : str, optional
        Which split is drawn; by default the first, test where there is one.
    width_mm : float
        Width of the figures: 89 mm is a column of most journals.

    Yields
    ------
    Path
        Each file that was written; the same table, the same bytes.

    Raises
    ------
    InputError
        If a format or the split is not known, or matplotlib is not installed.
    """
    wanted = _formats(formats)
    table = read_table(path)
    split = split or table.splits[0]
    if split not in table.splits:
        raise InputError(f"{path} has no split {split!r}; it has: {', '.join(table.splits)}")
    groups = tuple(g for g in overview(table) if g.split == split and g.model == table.models[0])
    drawing = _Drawing(table, split, groups)
    matplotlib = _matplotlib()
    with matplotlib.rc_context(STYLE):
        for name, draw in _FIGURES.items():
            figure = draw(drawing, width_mm / MM_PER_INCH)
            if figure is None:
                continue
            for suffix in wanted:
                yield _save(figure, output / f"{name}.{suffix}")


def _formats(formats: str) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(word.strip().lower() for word in formats.split(",")))
    for word in wanted:
        if word not in FORMATS:
            raise InputError(f"--formats {word!r} is not one of: {', '.join(FORMATS)}")
    return wanted


def _matplotlib() -> Any:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise InputError(
            "figures need matplotlib; install it (pip install matplotlib), or run poetry install"
        ) from error
    mpl.use("Agg")
    return mpl


def _save(figure: "Figure", path: Path) -> Path:
    # A date would make every file differ.
    metadata: dict[str, Any] = {
        "pdf": {"CreationDate": None},
        "svg": {"Date": None},
        "png": {"Software": None},
    }[path.suffix[1:]]
    with write_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
    return path


def _axes(width: float, height: float, n_columns: int = 1) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, n_columns, squeeze=n_columns == 1)


def _error_rates(drawing: _Drawing, width: float) -> "Figure | None":
    groups = [group for group in drawing.groups if group.word.rate.value is not None]
    if not groups:
        return None
    figure, axes = _axes(width, 0.5 + 0.3 * len(groups))
    for place, group in enumerate(groups):
        start = 0.0
        for kind, colour in KINDS.items():
            share = 100 * getattr(group.word, kind) / group.word.reference_length
            axes.barh(place, share, 0.62, start, color=colour, label=None if place else kind)
            start += share
        _whisker(axes, group.word.rate, place)
    axes.set_yticks(range(len(groups)), [group.profile for group in groups])
    axes.invert_yaxis()
    axes.set_xlabel("Word error rate (%)")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
    return figure


def _whisker(axes: "Axes", rate: Estimate, place: float) -> None:
    if rate.value is None or rate.low is None or rate.high is None:
        return
    value, low, high = 100 * rate.value, 100 * rate.low, 100 * rate.high
    axes.errorbar(
        value, place, xerr=[[value - low], [high - value]], color="black", capsize=2.5, lw=0.9
    )


def _audiograms(drawing: _Drawing, width: float) -> "Figure | None":
    table = drawing.table
    columns = sorted(
        (hz, name) for name in table.rows.column_names if (hz := attenuation_frequency_hz(name))
    )
    if not columns:
        return None
    figure, axes = _axes(width, 0.8 * width)
    for number, profile in enumerate(table.profiles):
        rows = drawing.rows(profile)
        if len(rows):
            levels = [table.numbers(name)[rows[0]] for _, name in columns]
            axes.plot([hz for hz, _ in columns], levels, label=profile, **_line(number))
    axes.set_xscale("log", base=2)
    axes.set_xticks(OCTAVES_HZ, [f"{hz}" if hz < 1000 else f"{hz // 1000}k" for hz in OCTAVES_HZ])
    axes.minorticks_off()
    axes.set_ylim(110, -10)
    axes.grid(color="#dddddd", lw=0.5)
    axes.set_xlabel("Frequency (Hz)")
    axes.set_ylabel("Hearing level (dB HL)")
    axes.legend(frameon=False)
    return figure


def _map(drawing: _Drawing, width: float) -> "Figure":
    figure, axes = _axes(width, 0.9 * width)
    x, y = drawing.table.numbers("x"), drawing.table.numbers("y")
    for number, profile in enumerate(drawing.table.profiles):
        rows = drawing.rows(profile)
        step = max(1, len(rows) * len(drawing.table.profiles) // MAX_POINTS)
        rows = rows[::step]
        axes.scatter(
            x[rows],
            y[rows],
            s=9,
            c=_colour(number),
            marker=_sign(number),
            alpha=0.7,
            linewidths=0.2,
            edgecolors="white",
            label=profile,
        )
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_axis_off()
    axes.legend(frameon=False, loc="best", handletextpad=0.2)
    return figure


def _metadata(drawing: _Drawing, width: float) -> "Figure | None":
    names = [name for name in METADATA if name in drawing.table.rows.column_names]
    if not names:
        return None
    # Two columns wide, as is usual for several panels.
    figure, panels = _axes(2 * width, 0.62 * width, len(names))
    for axes, name in zip(np.ravel(panels), names, strict=True):
        for number, profile in enumerate(drawing.table.profiles):
            _binned(axes, drawing, profile, name, number)
        description = describe(name)
        unit = f" ({description.unit})" if description.unit else ""
        axes.set_xlabel(f"{description.label}{unit}")
        axes.set_ylim(bottom=0)
    np.ravel(panels)[0].set_ylabel("Word error rate (%)")
    np.ravel(panels)[0].legend(frameon=False)
    return figure


def _binned(axes: "Axes", drawing: _Drawing, profile: str, name: str, number: int) -> None:
    table, rows = drawing.table, drawing.rows(profile)
    values = table.numbers(name)[rows]
    known = np.isfinite(values)
    rows, values = rows[known], values[known]
    if not len(rows):
        return
    edges = np.unique(np.quantile(values, np.linspace(0, 1, N_BINS + 1)))
    bins = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, max(0, len(edges) - 2))
    edits, lengths = table.numbers("word_edits"), table.numbers("word_reference_length")
    points = []
    for part in np.unique(bins):
        inside = rows[bins == part]
        rate = ratio_estimate(edits[inside], lengths[inside])
        if rate.value is not None and rate.low is not None:
            half = 100 * (rate.value - rate.low)
            points.append((values[bins == part].mean(), 100 * rate.value, half))
    if points:
        x, y, halves = zip(*points, strict=True)
        axes.errorbar(x, y, yerr=halves, capsize=2, elinewidth=0.8, label=profile, **_line(number))


def _phones(drawing: _Drawing, width: float) -> "Figure":
    table = drawing.table
    references, hypotheses = table.texts("reference"), table.texts("hypothesis")
    figure, axes = _axes(width, 0.85 * width)
    n_profiles = len(table.profiles)
    for number, profile in enumerate(table.profiles):
        rows = drawing.rows(profile)
        counts = count_phones([references[r] for r in rows], [hypotheses[r] for r in rows])
        for place in range(len(CLASS_NAMES)):
            said = counts.said[:, place].astype(np.int64)
            share = ratio_estimate(counts.recognised[:, place].astype(np.int64), said)
            if share.value is None or share.low is None:
                continue
            half = 100 * (share.value - share.low)
            axes.errorbar(
                100 * share.value,
                place + 0.18 * (number - (n_profiles - 1) / 2),
                xerr=half,
                elinewidth=0.8,
                label=None if place else profile,
                **_line(number) | {"linestyle": "none"},
            )
    axes.set_yticks(range(len(CLASS_NAMES)), CLASS_NAMES)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.grid(axis="x", color="#dddddd", lw=0.5)
    axes.set_xlabel("Phones recognised (%)")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
    return figure


_FIGURES: dict[str, Callable[[_Drawing, float], "Figure | None"]] = {
    "error_rates": _error_rates,
    "audiograms": _audiograms,
    "map": _map,
    "metadata": _metadata,
    "phones": _phones,
}


def _line(number: int) -> dict[str, Any]:
    return {
        "color": _colour(number),
        "marker": _sign(number),
        "markersize": 4,
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
    }


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _sign(number: int) -> str:
    return SIGNS[number % len(SIGNS)]
