"""Figures of a study that show structures: latent map, ways between them, reconstructions, numbers of atoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.reconstruct.shape import geometry
from hpcpdf.report.figures import CALCULATED, DIFFERENCE, OBSERVED, draw_pdf, new_figure
from hpcpdf.report.study_data import MODELS, ONE_SAMPLE, Member, Study
from hpcpdf.report.study_figures import COLOURS, GREY, TEXT, WIDTH, label_axes, split_title

Floats = NDArray[np.float64]

ROLES = ("best", "typical", "worst")
_SHOWN_STEPS = 9
_VALID, _INVALID = "#0072b2", "#b34700"

_DISCS = ((1.0, 0.0, -0.5), (0.93, 0.02, -0.12), (0.72, 0.12, 0.1), (0.45, 0.25, 0.35), (0.2, 0.34, 0.7))
"""Radius, shift and lightness of the discs of an atom: a highlight out of the middle on ever smaller discs reads as a
sphere, and stays vector graphics."""

_TILT, _TURN = -0.32, 0.42
"""Radians; tilted like the page's viewer, so that rows of atoms do not hide behind one another."""


def latent_figure(members: Sequence[Member]) -> Figure:
    """Where PDFs and structures lie in latent space, coloured by the number of atoms; one panel a member."""
    figure = new_figure(WIDTH, 3.3)
    grid = figure.subplots(1, max(1, len(members)), squeeze=False)[0]
    counts = np.concatenate([member.latent["n_atoms"] for member in members])
    colours = ScalarMappable(Normalize(float(counts.min()), float(counts.max())), "viridis")
    for axes, member in zip(grid, members, strict=True):
        latent = member.latent
        prior, posterior, n_atoms = latent["prior"], latent["posterior"], latent["n_atoms"]
        # Large and open below, small and filled above: both stay visible where they coincide.
        shade = colours.to_rgba(n_atoms)
        axes.scatter(posterior[:, 0], posterior[:, 1], s=24, facecolors="none", edgecolors=shade, linewidths=0.7)
        axes.scatter(prior[:, 0], prior[:, 1], s=8, c=shade, linewidths=0)
        axes.set_title(f"{member.label} ({member.split} split, seed {member.seed})", fontsize=TEXT, loc="left")
        label_axes(axes, "latent coordinate z₁", "latent coordinate z₂")
    bar = figure.colorbar(colours, ax=list(grid), pad=0.01, aspect=30)
    bar.set_label("atoms", fontsize=TEXT)
    # Of many colours matplotlib makes a bitmap, unless told not to.
    bar.n_rasterize = colours.cmap.N + 2
    bar.update_normal(colours)
    bar.ax.tick_params(labelsize=TEXT - 0.5)
    handles = [
        Line2D([], [], marker="o", ls="", ms=3, color=GREY, label="from the PDF (prior mean)"),
        Line2D([], [], marker="o", ls="", ms=5.5, mfc="none", color=GREY, label="from the structure (posterior mean)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=TEXT - 0.5)
    return figure


def common_strips(members: Sequence[Member], most: int = 3) -> list[list[Mapping[str, Any]]]:
    """Ways between the same two PDFs, one of each member, in the order of the first member's."""
    if not members:
        return []
    by_pair = [{strip["pair"]: strip for strip in member.strips} for member in members]
    shared = [pair for pair in by_pair[0] if all(pair in strips for strips in by_pair)]
    return [[strips[pair] for strips in by_pair] for pair in shared[:most]]


def strip_figure(labels: Sequence[str], strips: Sequence[Mapping[str, Any]]) -> Figure:
    """The structures on the way from A to B, a row for each model, all on one scale.

    Parameters
    ----------
    labels
        Of the rows.
    strips
        One a row: ``symbols``, and ``steps`` with ``fraction``, ``valid``, ``positions`` (Å), ``n_atoms`` and
        ``rw_nearest``.
    """
    rows = [_thinned(strip["steps"]) for strip in strips]
    columns = max(len(steps) for steps in rows)
    radii = [float(np.mean([metallic_radius(symbol) for symbol in strip["symbols"]])) for strip in strips]
    reach = max(_reach(step["positions"]) for steps in rows for step in steps) + max(radii)
    cell = 2.12 * reach
    left = 0.3
    # Inches for an Å.
    inch = (WIDTH - left) / columns / cell
    text = 0.44 / inch
    figure = new_figure(WIDTH, inch * (cell * len(rows) + text * len(rows)) + 0.34)
    # Rows and columns are placed in Å, so that no layout moves or scales one structure against another.
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    bottom = -len(rows) * (cell + text) - 0.14 / inch
    axes.set_xlim(-left / inch, columns * cell)
    axes.set_ylim(bottom, 0.2 / inch)
    for row, (label, steps, radius) in enumerate(zip(labels, rows, radii, strict=True)):
        y = -row * (cell + text) - 0.5 * cell
        axes.text(-0.5 * left / inch, y, label, fontsize=TEXT, fontweight="bold", rotation=90, ha="center", va="center")
        for column, step in enumerate(steps):
            x = (column + 0.5) * cell
            if step["positions"]:
                draw_cluster(axes, step["positions"], radius, centre=(x, y))
            else:
                axes.text(x, y, "no structure", fontsize=TEXT - 1.5, color=GREY, ha="center", va="center")
            _write_below(axes, step, x, y - 0.5 * cell)
            if row == 0:
                axes.text(x, 0.0, _step_title(step["fraction"]), fontsize=TEXT - 0.5, ha="center", va="bottom")
    length = 10.0 if reach > 8 else 5.0
    y = bottom + 0.08 / inch
    axes.plot([0.2 * reach, 0.2 * reach + length], [y, y], color="k", lw=1.5, solid_capstyle="butt")
    axes.text(0.3 * reach + length, y, f"{length:g} Å", fontsize=TEXT - 1.5, va="center")
    return figure


def _thinned(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(_SHOWN_STEPS, len(steps))).round().astype(int))
    return [steps[index] for index in chosen]


def _step_title(fraction: float) -> str:
    return "A" if fraction <= 0 else "B" if fraction >= 1 else f"{fraction:.3g}"


def _reach(positions: ArrayLike) -> float:
    x = np.asarray(positions, dtype=float).reshape(-1, 3)
    return float(np.linalg.norm(x - x.mean(axis=0), axis=1).max()) if len(x) else 1.0


def _write_below(axes: Axes, step: Mapping[str, Any], x: float, y: float) -> None:
    valid = bool(step["valid"])
    rw = step.get("rw_nearest")
    number = "–" if rw is None or not np.isfinite(rw) else f"{rw:.3f}"
    lines = (
        ("✓ valid" if valid else "✗ invalid", _VALID if valid else _INVALID, "bold"),
        (f"{step['n_atoms']} atoms", "k", "normal"),
        (f"$R_w$ {number}", "k", "normal"),
    )
    for index, (text, colour, weight) in enumerate(lines):
        axes.annotate(
            text,
            (x, y),
            xytext=(0, -10 * index),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=TEXT - 1.5,
            color=colour,
            fontweight=weight,
        )


def draw_cluster(axes: Axes, positions: ArrayLike, radius: float, *, centre: tuple[float, float] = (0.0, 0.0)) -> None:
    """Draw atoms as shaded spheres, seen along z after a tilt, the far ones first and paler.

    Parameters
    ----------
    axes
        In Å.
    positions
        (n, 3), Å.
    radius
        Of an atom, Å.
    centre
        Where the middle of the cluster comes to lie.
    """
    x = np.asarray(positions, dtype=float).reshape(-1, 3)
    if not len(x):
        return
    neighbours = geometry(x).coordination
    x = (x - x.mean(axis=0)) @ _view().T
    depth = x[:, 2]
    fog = (depth.max() - depth) / max(float(np.ptp(depth)), 1e-9)
    offsets, colours = [], []
    for index in np.argsort(depth, kind="stable"):
        base = _mix(_coordination_colour(int(neighbours[index])), (1.0, 1.0, 1.0), 0.55 * fog[index])
        for _, shift, light in _DISCS:
            offsets.append((centre[0] + x[index, 0] - shift * radius, centre[1] + x[index, 1] + shift * radius))
            colours.append(_mix(base, (1.0, 1.0, 1.0) if light > 0 else (0.08, 0.09, 0.13), abs(light)))
    sizes = [2.0 * size * radius for size, _, _ in _DISCS]
    # A collection uses its sizes in turn, so that every atom gets all its discs before the next one covers it.
    discs = EllipseCollection(
        sizes, sizes, np.zeros(len(sizes)), units="xy", offsets=offsets, offset_transform=axes.transData
    )
    discs.set(facecolors=colours, linewidths=0)
    axes.add_collection(discs, autolim=False)


def _view() -> Floats:
    c, s = np.cos(_TILT), np.sin(_TILT)
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(_TURN), np.sin(_TURN)
    return np.asarray(tilt @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]))


def _coordination_colour(neighbours: int) -> tuple[float, float, float]:
    """Viridis up to 11 neighbours, grey for the inside of a close packing: as in the page's viewer."""
    if neighbours >= 12:
        return (0.73, 0.753, 0.784)
    red, green, blue, _ = colormaps["viridis"](neighbours / 11.0)
    return red, green, blue


def _mix(a: Sequence[float], b: Sequence[float], share: float) -> tuple[float, float, float]:
    red, green, blue = (x + (y - x) * share for x, y in zip(a, b, strict=True))
    return red, green, blue


def fits_figure(members: Sequence[Member]) -> Figure:
    """Observed, reconstructed and difference PDFs: best, typical, worst in rows, models in columns."""
    figure = new_figure(WIDTH, 6.4)
    grid = figure.subplots(len(ROLES), max(1, len(members)), sharex=True, squeeze=False)
    for column, member in enumerate(members):
        examples = {example["role"]: example for example in member.examples}
        for row, role in enumerate(ROLES):
            axes = grid[row][column]
            if role not in examples:
                axes.set_visible(False)
                continue
            one = examples[role]
            r, observed, calculated = (np.asarray(one[name], dtype=float) for name in ("r", "g_obs", "g_calc"))
            # Where nothing could be built there is no PDF: the difference is all that was observed.
            calculated = np.nan_to_num(calculated)
            draw_pdf(axes, r, observed, calculated, legend=False, marker=1.8)
            axes.set_title(
                f"{member.label}, {role}: {one['symbol']}, {one['n_true']} → {one['n_found']} atoms, "
                f"Pearson {one['pearson']:.3f}".replace("-", "−"),
                fontsize=TEXT - 1,
                loc="left",
            )
            label_axes(axes, "r (Å)" if row == len(ROLES) - 1 else "", "G (Å⁻²)" if column == 0 else "")
    handles = [
        Line2D([], [], marker="o", ls="", ms=3.5, mfc="none", color=OBSERVED, label="observed"),
        Line2D([], [], color=CALCULATED, lw=1.3, label="reconstructed"),
        Line2D([], [], color=DIFFERENCE, lw=0.9, label="difference, shifted down"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=TEXT - 0.5)
    return figure


def atoms_figure(study: Study, splits: Sequence[str]) -> Figure:
    """Number of atoms generated against the true one, all seeds; the area of a bubble is the number of PDFs."""
    kinds = [kind for kind in MODELS if any(study.main(split, kind) for split in splits)]
    figure = new_figure(WIDTH, 0.5 + 2.9 * len(splits))
    grid = figure.subplots(len(splits), len(kinds), sharex=True, sharey=True, squeeze=False)
    scores = [[study.pooled(split, kind, ONE_SAMPLE, "n_atoms", "atoms_error") for kind in kinds] for split in splits]
    counted = [[np.unique(np.cumsum(one, axis=1), axis=0, return_counts=True) for one in row] for row in scores]
    most = max(int(counts.max(initial=1)) for row in counted for _, counts in row)
    limit = 1.06 * max(float(pairs.max(initial=10.0)) for row in counted for pairs, _ in row)
    for row, split in enumerate(splits):
        for column, kind in enumerate(kinds):
            axes, (pairs, counts) = grid[row][column], counted[row][column]
            axes.plot([0, limit], [0, limit], color="0.6", lw=0.8, zorder=0)
            axes.scatter(pairs[:, 0], pairs[:, 1], s=_area(counts, most), color=COLOURS[kind], alpha=0.55, lw=0)
            if len(pairs):
                exact = 100 * counts[pairs[:, 0] == pairs[:, 1]].sum() / counts.sum()
                axes.text(0.04, 0.96, f"exact: {exact:.0f} %", transform=axes.transAxes, fontsize=TEXT - 0.5, va="top")
            axes.set_title(f"{MODELS[kind]}, {split_title(split)}", fontsize=TEXT, loc="left")
            label_axes(axes, "atoms, true" if row == len(splits) - 1 else "", "atoms, generated" if column == 0 else "")
            axes.set_xlim(0, limit)
            axes.set_ylim(0, limit)
            axes.set_aspect("equal")
    handles = []
    for n in sorted({1, max(1, most // 4), most}):
        size = float(np.sqrt(_area(n, most)))
        handles.append(Line2D([], [], marker="o", ls="", ms=size, mew=0, color=GREY, label=f"{n} PDF" + "s" * (n > 1)))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=TEXT - 0.5)
    return figure


def _area(counts: ArrayLike, most: int) -> Floats:
    """Of a bubble, in square points; no bubble is too small to be seen."""
    return np.maximum(4.0, 180.0 * np.asarray(counts, dtype=float) / max(most, 20))
