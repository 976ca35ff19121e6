"""Figures as files: a bitmap to look at and vector graphics to publish.

Everything is drawn on `Figure` objects of their own: no window, no global state, safe in threads and jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import AutoMinorLocator, FuncFormatter, LogLocator, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from hpcpdf.report.palette import PALETTE as PALETTE

OBSERVED = "#404040"
CALCULATED = "#d55e00"
DIFFERENCE = "#0072b2"
"""With `CALCULATED`, two hues of Okabe and Ito that colour-blind readers tell apart."""

_STYLE_SIZE = 9.0
_POINTS_SHOWN = 420


def new_figure(
    width: float = 6.6, height: float = 4.2, *, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """An empty figure of `width` × `height` inches that can be saved without a display."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, stem: Path, formats: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Write `stem`.png at 200 dpi, `stem`.pdf with embedded fonts, …; returns the paths."""
    paths = []
    for suffix in formats:
        path = stem.with_name(f"{stem.name}.{suffix}")
        # Without a date the same figure is the same bytes.
        metadata = {"CreationDate": None} if suffix == "pdf" else None
        figure.savefig(path, dpi=200, metadata=metadata)
        paths.append(path)
    return paths


def pdf_figure(
    r: ArrayLike,
    g_obs: ArrayLike,
    g_calc: ArrayLike,
    *,
    title: str = "",
    rw: float | None = None,
    label: str = "calculated",
) -> Figure:
    """Observed, calculated and difference PDF.

    Parameters
    ----------
    r
        (R,), Å.
    g_obs, g_calc
        (R,), Å⁻²; the calculated one scaled to the observed one. When there are more than about 400 points, circles
        mark every k-th one (stated in the legend); lines go through all.
    title
        Above the axes.
    rw
        Written into the legend.
    label
        Name of the calculated curve.
    """
    # Fixed margins: to measure all texts for a layout costs more than to draw the figure.
    figure = new_figure(layout=None)
    figure.subplots_adjust(left=0.11, right=0.985, bottom=0.11, top=0.93)
    draw_pdf(figure.subplots(), np.asarray(r), np.asarray(g_obs), np.asarray(g_calc), rw=rw, label=label)
    if title:
        figure.axes[0].set_title(title, fontsize=_STYLE_SIZE + 1, loc="left")
    return figure


def draw_pdf(
    axes: Axes,
    r: NDArray[np.float64],
    g_obs: NDArray[np.float64],
    g_calc: NDArray[np.float64],
    *,
    rw: float | None = None,
    label: str = "calculated",
    legend: bool = True,
    marker: float = 3.4,
) -> None:
    """Draw observed circles, the calculated line and the difference below its own zero line."""
    every = max(1, -(-len(r) // _POINTS_SHOWN))
    difference = g_obs - g_calc
    top = float(max(g_obs.max(), g_calc.max()))
    bottom = float(min(g_obs.min(), g_calc.min()))
    gap = 0.06 * (top - bottom)
    offset = bottom - gap - max(float(difference.max()), gap)
    shown = "observed" if every == 1 else f"observed (every {_ordinal(every)} point)"
    axes.plot(r[::every], g_obs[::every], "o", ms=marker, mfc="none", mec=OBSERVED, mew=0.7, label=shown)
    text = label if rw is None else f"{label}, $R_w$ = {rw:.3f}"
    axes.plot(r, g_calc, color=CALCULATED, lw=1.3, label=text)
    axes.plot(r, difference + offset, color=DIFFERENCE, lw=0.9, label="difference")
    axes.axhline(offset, color=DIFFERENCE, lw=0.6, ls=(0, (4, 3)))
    axes.axhline(0.0, color="0.75", lw=0.6, zorder=0)
    axes.set_xlim(float(r[0]), float(r[-1]))
    axes.set_ylim(offset + min(float(difference.min()), -gap) - gap, top + 2.0 * gap)
    _finish(axes, "r (Å)", "G (Å⁻²)")
    if legend:
        axes.legend(frameon=False, fontsize=_STYLE_SIZE - 0.5, loc="upper right", handlelength=1.6)


def way_figure(r: NDArray[np.float64], curves: Sequence[tuple[str, NDArray[np.float64]]]) -> Figure:
    """PDFs one above the other, the first at the bottom: (label, G) each, all scaled to the same maximum."""
    figure = new_figure(6.6, 1.6 + 0.5 * len(curves))
    axes = figure.subplots()
    for level, (label, g) in enumerate(curves):
        axes.axhline(level, color="0.85", lw=0.6, zorder=0)
        axes.plot(r, level + 0.8 * g / np.abs(g).max(), color=CALCULATED, lw=1.1)
        axes.annotate(label, (1.01, level), xycoords=("axes fraction", "data"), va="center", fontsize=_STYLE_SIZE - 0.5)
    axes.set_xlim(float(r[0]), float(r[-1]))
    _finish(axes, "r (Å)", "G, scaled and shifted")
    axes.set_yticks([])
    return figure


def fits_figure(
    fits: Sequence[tuple[str, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]],
    *,
    columns: int = 2,
) -> Figure:
    """Several fits side by side: (title, r, g_obs, g_calc, rw) each."""
    rows = -(-len(fits) // columns)
    figure = new_figure(3.9 * columns, 2.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for index, axes in enumerate(grid.flat):
        if index >= len(fits):
            axes.set_visible(False)
            continue
        title, r, g_obs, g_calc, rw = fits[index]
        draw_pdf(axes, r, g_obs, g_calc, legend=False, marker=2.2)
        axes.set_title(f"{title}   $R_w$ = {rw:.3f}", fontsize=_STYLE_SIZE, loc="left")
        if index % columns:
            axes.set_ylabel("")
    return figure


def rw_figure(values: Mapping[str, ArrayLike]) -> Figure:
    """Cumulative share of PDFs that reach an R_w, one line for each named set of values."""
    figure = new_figure(5.0, 3.4)
    axes = figure.subplots()
    low = np.inf
    for colour, (name, data) in zip(PALETTE, values.items(), strict=False):
        ordered = np.sort(np.asarray(data, dtype=float))
        ordered = np.maximum(ordered[np.isfinite(ordered)], 1e-4)
        if not ordered.size:
            continue
        low = min(low, float(ordered[0]))
        share = np.arange(1, len(ordered) + 1) / len(ordered)
        label = f"{name} (median {np.median(ordered):.3g})"
        axes.step(np.r_[ordered[0], ordered], np.r_[0.0, share], where="post", color=colour, lw=1.5, label=label)
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.set_xlim(0.8 * low if np.isfinite(low) else 1e-3, 1.2)
    axes.set_ylim(0.0, 1.02)
    _finish(axes, "$R_w$ of the best candidate", "share of test PDFs", minor=False)
    if axes.lines:
        axes.legend(frameon=False, fontsize=_STYLE_SIZE - 0.5, loc="lower right")
    return figure


def spread_figure(rw_samples: ArrayLike) -> Figure:
    """Spread of R_w over the samples of every PDF.

    Parameters
    ----------
    rw_samples
        (n, K), NaN where a sample is missing; a row with none at all is left out.
    """
    samples = np.asarray(rw_samples, dtype=float)
    samples = np.sort(samples[np.isfinite(samples).any(axis=1)], axis=1)
    figure = new_figure(5.0, 3.4)
    axes = figure.subplots()
    if len(samples):
        samples = np.maximum(samples[np.argsort(samples[:, 0], kind="stable")], 1e-4)
        low, middle, high = np.nanpercentile(samples, [10, 50, 90], axis=1)
        x = np.arange(1, len(samples) + 1)
        marker = "o" if len(samples) < 30 else ""
        axes.fill_between(x, low, high, color=DIFFERENCE, alpha=0.25, lw=0, label="10 – 90 % of the samples")
        axes.plot(x, middle, color=DIFFERENCE, lw=1.2, marker=marker, ms=2.5, label="median sample")
        axes.plot(x, samples[:, 0], color=CALCULATED, lw=1.4, marker=marker, ms=2.5, label="best sample")
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
        axes.set_xlim(0.5, len(samples) + 0.5)
        axes.legend(frameon=False, fontsize=_STYLE_SIZE - 0.5, loc="best")
    _finish(axes, "PDF, in the order of its best sample", "$R_w$ of samples", minor=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def atoms_figure(true: ArrayLike, generated: ArrayLike) -> Figure:
    """Number of atoms: generated against true; the area of a marker counts coinciding cases."""
    pairs = np.column_stack([np.asarray(true, dtype=int), np.asarray(generated, dtype=int)])
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    figure = new_figure(5.0, 3.4)
    axes = figure.subplots()
    limit = 1.06 * float(unique.max())
    axes.plot([0, limit], [0, limit], color="0.6", lw=0.8, zorder=0)
    axes.scatter(unique[:, 0], unique[:, 1], s=10.0 + 6.0 * (counts - 1), color=DIFFERENCE, alpha=0.6, lw=0)
    axes.set_xlim(0, limit)
    axes.set_ylim(0, limit)
    axes.set_aspect("equal")
    exact = float(np.mean(pairs[:, 0] == pairs[:, 1]))
    axes.text(0.05, 0.93, f"exact: {100 * exact:.0f} %", transform=axes.transAxes, fontsize=_STYLE_SIZE)
    _finish(axes, "atoms, true", "atoms, generated")
    return figure


def learning_figure(history: Mapping[str, ArrayLike], *, best: int | None = None, y_label: str = "loss") -> Figure:
    """Learning curves by epoch (the first is 1), one line for each name; `best` marks the epoch that was kept."""
    figure = new_figure(5.0, 3.4)
    axes = figure.subplots()
    positive = True
    for colour, (name, data) in zip(PALETTE, history.items(), strict=False):
        values = np.asarray(data, dtype=float)
        positive = positive and bool(np.all(values[np.isfinite(values)] > 0))
        marker = "o" if len(values) < 30 else ""
        axes.plot(np.arange(1, len(values) + 1), values, color=colour, lw=1.4, marker=marker, ms=2.5, label=name)
    if positive:
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    if best is not None:
        axes.axvline(best, color="0.5", lw=0.8, ls=(0, (4, 3)), label=f"kept (epoch {best})")
    _finish(axes, "epoch", y_label, minor=False)
    axes.legend(frameon=False, fontsize=_STYLE_SIZE - 0.5)
    return figure


def bars_figure(counts: Mapping[str, int], *, y_label: str = "clusters") -> Figure:
    """A bar for each name."""
    figure = new_figure(5.0, 3.4)
    axes = figure.subplots()
    bars = axes.bar(list(counts), list(counts.values()), color=DIFFERENCE, width=0.7)
    axes.bar_label(bars, fontsize=_STYLE_SIZE - 1.5)
    _finish(axes, "", y_label, minor=False)
    axes.tick_params(axis="x", length=0)
    if len(counts) > 4:
        for text in axes.get_xticklabels():
            text.set(rotation=25, ha="right", rotation_mode="anchor")
    return figure


def sizes_figure(counts: Mapping[str, ArrayLike]) -> Figure:
    """Histogram of the number of atoms, stacked by name."""
    figure = new_figure(5.0, 3.4)
    axes = figure.subplots()
    groups = {name: np.asarray(values) for name, values in counts.items() if np.size(values)}
    if groups:
        together = np.concatenate(list(groups.values()))
        edges = np.linspace(together.min() - 0.5, together.max() + 0.5, int(min(40, np.ptp(together) + 2))).tolist()
        axes.hist(list(groups.values()), bins=edges, stacked=True, color=PALETTE[: len(groups)], label=list(groups))
        axes.legend(frameon=False, fontsize=_STYLE_SIZE - 0.5)
    _finish(axes, "atoms", "clusters")
    return figure


def trends_figure(
    x: ArrayLike, x_label: str, panels: Sequence[tuple[str, Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]]]]
) -> Figure:
    """Quantities over a series, one panel each.

    Parameters
    ----------
    x
        (n,), where each file stands.
    x_label
        Its quantity and unit.
    panels
        Title, and curves by name: values (n,) and the lower and upper ends of their bars, NaN for none.
    """
    x = np.asarray(x, dtype=float)
    figure = new_figure(7.2, 2.1 * -(-len(panels) // 2))
    grid = figure.subplots(-(-len(panels) // 2), 2, squeeze=False)
    for axes, (title, curves) in zip(grid.flat, panels, strict=False):
        for (name, (values, low, high)), colour in zip(curves.items(), PALETTE, strict=False):
            y = np.asarray(values, dtype=float)
            # The best structure is refined and may lie a little outside of what the search weighed.
            bars = np.array([y - np.asarray(low, dtype=float), np.asarray(high, dtype=float) - y])
            axes.plot(x, y, "-", color=colour, lw=0.8, alpha=0.4)
            bars = np.where(np.isfinite(bars), np.maximum(bars, 0.0), 0.0)
            axes.errorbar(x, y, bars, fmt="o", ms=3.0, color=colour, elinewidth=1.0, label=name)
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=_STYLE_SIZE - 1.5)
        _finish(axes, x_label, title)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    return figure


def _finish(axes: Axes, x_label: str, y_label: str, *, minor: bool = True) -> None:
    axes.set_xlabel(x_label, fontsize=_STYLE_SIZE)
    axes.set_ylabel(y_label, fontsize=_STYLE_SIZE)
    axes.tick_params(labelsize=_STYLE_SIZE - 0.5, direction="out")
    if minor:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
        axes.xaxis.set_minor_locator(AutoMinorLocator())
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis 0.1, 0.2, 0.5, 1 … instead of with powers of ten, as long as that is short."""
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low) if low > 0 else 9.0
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")
