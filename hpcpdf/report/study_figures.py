"""Figures of a study that show numbers: scores, validity, satellites, factors, learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from hpcpdf.evaluate.table import PAPER
from hpcpdf.report.figures import PALETTE, new_figure
from hpcpdf.report.study_data import FACTORS, MODELS, ONE_SAMPLE, SPLITS, Study

TEXT = 8.5
"""Points; as large as the text of a journal when a figure of 6.6 in fills a page's width."""

COLOURS = {"cvae-2020": PALETTE[0], "dae-2020": PALETTE[1]}
MARKERS = {"cvae-2020": "o", "dae-2020": "s"}
GREY = "#595959"
WIDTH = 6.6
PUBLISHED = {
    kind: next(row.columns["pearson"] for row in PAPER if row.name.startswith(label)) for kind, label in MODELS.items()
}
"""Pearson of Table 1 of the reference."""

_CRITERIA = {
    "distance": "bond length",
    "shortest": "shortest distance",
    "spread": "spread of bonds",
    "coordination": "coordination",
    "least_neighbours": "least neighbours",
    "overlaps": "no overlap",
    "connected": "in one piece",
    "rw_nearest": "R_w to a real cluster",
}


def label_axes(axes: Axes, x_label: str, y_label: str) -> None:
    """Name the axes and take away what carries nothing."""
    axes.set_xlabel(x_label, fontsize=TEXT)
    axes.set_ylabel(y_label, fontsize=TEXT)
    axes.tick_params(labelsize=TEXT - 0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def split_title(split: str) -> str:
    """What a split is called above a panel."""
    return {"paper": "paper split (random)", "shape": "shape split (shapes unseen)"}.get(split, f"{split} split")


def present_splits(study: Study) -> list[str]:
    """Splits that have members of the published protocol."""
    return [split for split in SPLITS if study.main(split)]


def distributions_figure(study: Study) -> Figure:
    """Pearson of every PDF by method, mean and standard deviation, and the published ones."""
    methods = study.methods()
    rows: list[tuple[str | None, str, str]] = [
        (kind, method, f"{MODELS[kind]}, {method}") for kind in MODELS for method in methods
    ]
    rows += [(None, method, method) for method in study.look_ups()]
    splits = present_splits(study)
    figure = new_figure(WIDTH, 1.3 + 0.33 * len(rows))
    grid = figure.subplots(1, len(splits), sharex=True, sharey=True, squeeze=False)[0]
    rng = np.random.default_rng(0)
    low = 0.0
    for axes, split in zip(grid, splits, strict=True):
        for y, (kind, method, _) in enumerate(rows):
            values = study.pooled(split, kind, method, "pearson")[:, 0]
            if not values.size:
                axes.text(0.02, y, "no values", fontsize=TEXT - 1.5, color=GREY, va="center")
                continue
            low = min(low, float(values.min()))
            colour = COLOURS.get(kind or "", GREY)
            axes.plot(values, y + rng.uniform(-0.3, 0.3, values.size), ".", ms=2.8, color=colour, alpha=0.35, mew=0)
            _mean_bar(axes, float(values.mean()), float(np.std(values, ddof=min(1, values.size - 1))), y)
        if split == "paper":
            for y, (kind, method, _) in enumerate(rows):
                if kind and method == ONE_SAMPLE:
                    _published(axes, PUBLISHED[kind].mean, PUBLISHED[kind].std, y + 0.42)
        axes.set_title(split_title(split), fontsize=TEXT, loc="left")
        label_axes(axes, "Pearson correlation of the PDFs", "")
        axes.tick_params(axis="y", length=0)
        for border in (len(methods) - 0.45, 2 * len(methods) - 0.45):
            axes.axhline(border, color="0.85", lw=0.6)
    grid[0].set_yticks(range(len(rows)), [label for *_, label in rows])
    grid[0].set_ylim(len(rows) - 0.4, -0.6)
    grid[0].set_xlim(min(low, 0.0) - 0.03, 1.03)
    handles = [
        Line2D([], [], color="k", marker="o", ms=4, lw=1.4, label="mean ± standard deviation"),
        Line2D([], [], color="k", marker="D", mfc="w", ms=4, lw=1.0, ls=(0, (3, 2)), label="published"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=TEXT - 0.5)
    return figure


def _mean_bar(axes: Axes, mean: float, std: float, y: float) -> None:
    axes.plot([mean - std, mean + std], [y, y], color="w", lw=3.4, solid_capstyle="butt")
    axes.plot([mean - std, mean + std], [y, y], color="k", lw=1.4, solid_capstyle="butt")
    axes.plot(mean, y, "o", color="k", mec="w", mew=0.6, ms=5)


def _published(axes: Axes, mean: float, std: float, y: float) -> None:
    axes.plot([mean - std, mean + std], [y, y], color="k", lw=1.0, ls=(0, (3, 2)))
    axes.plot(mean, y, "D", color="k", mfc="w", ms=4.2)


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % confidence interval of a share of `n` (Wilson's score interval)."""
    z2 = 1.959964**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def valid_by_fraction(study: Study, split: str, kind: str) -> list[tuple[float, float, float, float]]:
    """(fraction, share of valid structures, low, high) along the way, over all pairs and seeds of a model.

    The interval takes every pair of every seed for one draw: seeds have pairs and networks of their own.
    """
    members = [member.intermediates for member in study.main(split, kind) if member.intermediates]
    if not members:
        return []
    fractions, valid = (np.concatenate([member[name] for member in members]) for name in ("fraction", "valid"))
    found = []
    for fraction in np.unique(fractions.round(6)):
        here = np.isclose(fractions, fraction, atol=1e-6)
        share = float(valid[here].mean())
        found.append((float(fraction), share, *wilson(share, int(here.sum()))))
    return found


def validity_figure(study: Study, split: str) -> Figure:
    """Share of valid structures along the way from A to B, and by criterion."""
    criteria = criteria_met(study, split)
    figure = new_figure(WIDTH, 3.0)
    left, *right = figure.subplots(
        1, 2 if criteria else 1, squeeze=False, width_ratios=(1.35, 1)[: 2 if criteria else 1]
    )[0]
    for kind, label in MODELS.items():
        points = np.array(valid_by_fraction(study, split, kind)).reshape(-1, 4)
        if not len(points):
            continue
        left.fill_between(points[:, 0], 100 * points[:, 2], 100 * points[:, 3], color=COLOURS[kind], alpha=0.2, lw=0)
        left.plot(
            points[:, 0], 100 * points[:, 1], marker=MARKERS[kind], ms=4, lw=1.4, color=COLOURS[kind], label=label
        )
    left.set_xlim(-0.02, 1.02)
    left.set_ylim(-2, 104)
    label_axes(left, "fraction of the way from A to B", "valid structures (%)")
    left.legend(frameon=False, fontsize=TEXT - 0.5, loc="best")
    if criteria:
        _draw_criteria(right[0], criteria)
    return figure


def criteria_met(study: Study, split: str) -> dict[str, dict[str, float]]:
    """Criterion to model to the share of structures strictly between the ends that meet it, all seeds together."""
    found: dict[str, dict[str, float]] = {}
    for kind in MODELS:
        members = [member.intermediates for member in study.main(split, kind) if member.intermediates]
        for name in members[0] if members else ():
            if name.startswith("ok_") and all(name in member for member in members):
                inside = [m[name][(m["fraction"] > 0) & (m["fraction"] < 1)] for m in members]
                found.setdefault(name.removeprefix("ok_"), {})[kind] = float(np.concatenate(inside).mean())
    return found


def criterion(name: str) -> str:
    """What a criterion of validity is called."""
    return _CRITERIA.get(name, name)


def _draw_criteria(axes: Axes, criteria: Mapping[str, Mapping[str, float]]) -> None:
    for y, shares in enumerate(criteria.values()):
        for kind, offset in zip(MODELS, (-0.13, 0.13), strict=True):
            if kind in shares:
                axes.plot([0, 100 * shares[kind]], [y + offset] * 2, color=COLOURS[kind], lw=2.5, alpha=0.3)
                axes.plot(100 * shares[kind], y + offset, MARKERS[kind], color=COLOURS[kind], ms=5.5, mec="w", mew=0.6)
    axes.set_yticks(range(len(criteria)), [criterion(name).replace("R_w", "$R_w$") for name in criteria])
    axes.set_ylim(len(criteria) - 0.5, -0.5)
    axes.set_xlim(0, 104)
    label_axes(axes, "intermediates that meet it (%)", "")
    axes.tick_params(axis="y", length=0)


def satellites_figure(rows: Sequence[Mapping[str, str]]) -> Figure:
    """Error of the reconstruction against the number of satellites: the network's, and the solver's own."""
    figure = new_figure(WIDTH, 3.5)
    panels = figure.subplots(1, 2)
    names = ("pearson_mean", "rmsd_median")
    shades = ("#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f", "#000000")
    curves: dict[str, list[Mapping[str, str]]] = {}
    for row in sorted(rows, key=lambda row: (row["source"], _number(row["sigma"]))):
        curves.setdefault(_curve(row), []).append(row)
    solver = iter(shades)
    for label, curve in curves.items():
        network = curve[0]["source"] == "network"
        colour, marker = (COLOURS["cvae-2020"], "o") if network else (next(solver, GREY), "^")
        order = sorted(curve, key=lambda row: float(row["satellites"]))
        x = np.array([float(row["satellites"]) for row in order])
        for axes, name in zip(panels, names, strict=True):
            y = np.array([_number(row[name]) for row in order])
            style = "-" if network else (0, (4, 2))
            axes.plot(x, y, color=colour, marker=marker, ms=4, lw=1.6 if network else 1.1, ls=style, label=label)
            if name == "pearson_mean" and network and "pearson_std" in order[0]:
                spread = np.array([_number(row["pearson_std"]) for row in order])
                axes.fill_between(x, y - spread, np.minimum(y + spread, 1.0), color=colour, alpha=0.15, lw=0)
    for axes, text in zip(panels, ("Pearson correlation of the PDFs", "median RMSD of the atoms (Å)"), strict=True):
        label_axes(axes, "satellites", text)
        axes.set_xticks(sorted({float(row["satellites"]) for row in rows}))
        axes.xaxis.set_major_formatter("{x:g}")
    panels[1].set_yscale("log")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=2 if len(labels) == 4 else 3,
        frameon=False,
        fontsize=TEXT - 0.5,
    )
    return figure


def _curve(row: Mapping[str, str]) -> str:
    """The curve that a row belongs to; the noise of a network differs from number to number of satellites."""
    if row["source"] == "network":
        return "network and solver"
    if row["source"] == "solver":
        return f"solver alone, σ = {float(row['sigma']):g} Å"
    return "solver alone, σ of the network"


def _number(text: str) -> float:
    return float(text) if text else float("nan")


def factors_figure(study: Study) -> Figure:
    """Pearson after each factor alone is corrected; the uncorrected one as a line."""
    rows = study.factors or ()
    splits = [split for split in SPLITS if any(row["split"] == split for row in rows)]
    present = {row["factor"] for row in rows} - {ONE_SAMPLE}
    names = [name for name in FACTORS if name in present] + sorted(present - set(FACTORS))
    figure = new_figure(WIDTH, 1.3 + 0.36 * len(names))
    grid = figure.subplots(1, max(1, len(splits)), sharey=True, sharex=True, squeeze=False)[0]
    for axes, split in zip(grid, splits, strict=True):
        for kind, offset in zip(MODELS, (-0.16, 0.16), strict=True):
            mine = {row["factor"]: row for row in rows if row["split"] == split and row["model"] == kind}
            if not mine:
                continue
            reference = np.mean([float(row["pearson"]) - float(row["difference"]) for row in mine.values()])
            axes.axvline(reference, color=COLOURS[kind], lw=1.0, ls=(0, (4, 3)))
            for y, name in enumerate(names):
                if name not in mine:
                    continue
                value = float(mine[name]["pearson"])
                axes.plot(
                    [reference, value], [y + offset] * 2, color=COLOURS[kind], lw=3.0, alpha=0.35, solid_capstyle="butt"
                )
                for member in study.main(split, kind):
                    if name in member.scores:
                        seed = np.nanmean(member.scores[name]["pearson"])
                        axes.plot(seed, y + offset, "|", color=COLOURS[kind], ms=7, mew=0.9)
                axes.plot(value, y + offset, MARKERS[kind], color=COLOURS[kind], ms=5.5, mec="w", mew=0.6)
        axes.set_title(split_title(split), fontsize=TEXT, loc="left")
        label_axes(axes, "mean Pearson correlation of the PDFs", "")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    grid[0].set_yticks(range(len(names)), [f"{name} corrected" for name in names])
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    handles: list[Line2D] = []
    for kind, label in MODELS.items():
        handles.append(Line2D([], [], color=COLOURS[kind], marker=MARKERS[kind], ls="", ms=5.5, label=label))
    handles.append(Line2D([], [], color=GREY, ls=(0, (4, 3)), lw=1.0, label="nothing corrected"))
    handles.append(Line2D([], [], color=GREY, marker="|", ls="", ms=7, label="one seed"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=TEXT - 0.5)
    return figure


def learning_figure(study: Study) -> Figure:
    """Loss by epoch of the members of the published protocol: validation solid, training dotted."""
    kinds = [kind for kind in MODELS if any(study.main(split, kind) for split in SPLITS)]
    splits = present_splits(study)
    figure = new_figure(WIDTH, 3.2)
    grid = figure.subplots(1, len(kinds), squeeze=False)[0]
    colours = dict(zip(splits, ("#009e73", "#cc79a7"), strict=False))
    positive = True
    for axes, kind in zip(grid, kinds, strict=True):
        for split in splits:
            for member in study.main(split, kind):
                train, validation = (np.array(v) for v in (member.history.train, member.history.validation))
                epoch = np.arange(1, len(train) + 1)
                positive = positive and bool((train > 0).all() and (validation > 0).all())
                axes.plot(epoch, train, color=colours[split], lw=0.9, ls=(0, (1, 1.2)))
                axes.plot(epoch, validation, color=colours[split], lw=1.2)
                best = member.history.best_epoch
                if 0 < best <= len(validation):
                    axes.plot(best, validation[best - 1], "o", color=colours[split], mec="k", mew=0.6, ms=4.5, zorder=3)
        axes.set_title(MODELS[kind], fontsize=TEXT, loc="left")
        label_axes(axes, "epoch", "loss")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if positive:
        for axes in grid:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
    handles = [Line2D([], [], color=colour, lw=1.6, label=f"{split} split") for split, colour in colours.items()]
    handles += [
        Line2D([], [], color=GREY, lw=1.2, label="validation"),
        Line2D([], [], color=GREY, lw=0.9, ls=(0, (1, 1.2)), label="training"),
        Line2D([], [], color=GREY, marker="o", mec="k", ls="", ms=4.5, label="kept"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=TEXT - 0.5)
    return figure
