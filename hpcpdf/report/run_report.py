"""The report of a pipeline run: what was generated, how training went, and how good the structures are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.data.colors import jmol_colors
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hpcpdf.config import RunConfig
from hpcpdf.dataset.reader import Dataset, open_dataset
from hpcpdf.dataset.schema import SPLITS
from hpcpdf.evaluate.table import LABELS
from hpcpdf.reconstruct.shape import geometry
from hpcpdf.report import figures, page
from hpcpdf.report.artefacts import (
    Example,
    History,
    Reconstructions,
    read_history,
    read_marker,
    read_reconstructions,
    read_rw,
    read_table,
)
from hpcpdf.report.families import family_name
from hpcpdf.stage import Context, is_finished, mark_finished, provenance, relevant

_EXAMPLES = 5
_STAGES = ("clusters", "pdf", "dataset", "model", "training", "reconstruct")


def run(config: RunConfig, context: Context) -> Path:
    """Write ``<run.out>/report`` from the folders of the other stages; a finished report is kept.

    Parameters
    ----------
    config
        Configuration of the run.
    context
        Only rank 0 writes.

    Returns
    -------
    Path
        ``<run.out>/report/report.html``, which opens without a network.

    Raises
    ------
    DataError
        If a stage is missing or damaged, naming what to run.
    """
    folder = config.run.out / "report"
    report = folder / "report.html"
    settings = relevant(config, *_STAGES)
    if context.rank != 0 or is_finished(folder, settings):
        return report
    out = config.run.out
    read_marker(out / "dataset", "generate")
    dataset = open_dataset(out / "dataset")
    history = read_history(out / "model")
    found, examples = read_reconstructions(out / "reconstruct", dataset, examples=_EXAMPLES)
    table = read_table(out / "evaluate")
    rw = read_rw(out / "evaluate")
    with page.whole_folder(folder) as fresh:
        drawn = []
        for name, title, caption, figure in _figures(dataset, history, found, rw, config):
            png, *_ = figures.save(figure, fresh / name)
            drawn.append({"title": title, "caption": caption, "uri": page.data_uri(png)})
        shown = [(f"{e.symbol}{len(e.true)}, {e.family_true}", e.r, e.g_obs, e.g_calc, e.rw) for e in examples]
        figures.save(figures.fits_figure(shown), fresh / "fits")
        html = _page(config, dataset, history, found, examples, table, drawn)
        (fresh / report.name).write_text(html, encoding="utf-8")
        mark_finished(fresh, settings)
    return report


def _figures(
    dataset: Dataset,
    history: History,
    found: Reconstructions,
    rw: Mapping[str, NDArray[np.float64]],
    config: RunConfig,
) -> list[tuple[str, str, str, Figure]]:
    columns = dataset.take(np.arange(len(dataset)), ["family", "n_atoms"])
    families = Counter(dataset.families[index] for index in columns["family"])
    counts = {name: families[name] for name in dataset.families if families[name]}
    split = config.reconstruct.split
    sizes = {name: columns["n_atoms"][dataset.split == index] for index, name in enumerate(SPLITS)}
    return [
        (
            "rw",
            "Agreement of the best candidate",
            f"Share of the {len(found.rw)} PDFs of the {split} split whose structure reaches an R_w; the network's is "
            f"the best of {config.reconstruct.n_samples} samples. Further left is better.",
            figures.rw_figure(rw),
        ),
        (
            "atoms",
            "Number of atoms",
            "Atoms of the best candidate against the true number; on the line it is right.",
            figures.atoms_figure(found.atoms_true, found.atoms),
        ),
        (
            "spread",
            "How much samples differ",
            f"R_w of the {config.reconstruct.n_samples} samples of each PDF before the fit, PDFs in the order of their "
            "best: a wide band means that the network proposes different structures, not one again and again.",
            figures.spread_figure(found.rw_samples),
        ),
        (
            "learning",
            "Learning curve",
            f"Loss by epoch; the weights of epoch {history.best_epoch} were kept.",
            figures.learning_figure(
                {"training": history.train, "validation": history.validation}, best=history.best_epoch
            ),
        ),
        (
            "families",
            "What was generated",
            f"{len(dataset)} clusters of {columns['n_atoms'].min()} to {columns['n_atoms'].max()} atoms by family.",
            figures.bars_figure(counts),
        ),
        (
            "sizes",
            "How large the clusters are",
            "Clusters by number of atoms and split.",
            figures.sizes_figure(sizes),
        ),
    ]


def _page(
    config: RunConfig,
    dataset: Dataset,
    history: History,
    found: Reconstructions,
    examples: Sequence[Example],
    table: Mapping[str, Any],
    drawn: Sequence[Mapping[str, str]],
) -> str:
    stamp = provenance()
    symbols = {example.symbol for example in examples}
    data = {
        "colours": {s: [round(255 * float(v)) for v in jmol_colors[atomic_numbers[s]]] for s in sorted(symbols)},
        "examples": [_example_data(example) for example in examples],
    }
    return page.render(
        "run.html",
        name=config.run.out.name,
        out=str(config.run.out),
        tiles=_tiles(dataset, history, found, table),
        table=table_view(table),
        split=config.reconstruct.split,
        split_kind=config.dataset.split if config.reconstruct.split == "test" else "",
        examples=[f"R_w {example.rw:.3f}" for example in examples],
        figures=drawn,
        config_json=json.dumps(config.model_dump(mode="json"), indent=2),
        stamp=stamp,
        date=datetime.fromisoformat(stamp["time"]).strftime("%-d %B %Y, %H:%M UTC"),
        data=page.embed_json(data),
    )


def _tiles(
    dataset: Dataset, history: History, found: Reconstructions, table: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    counts = dataset.summary
    look_up = next((row for row in table["rows"] if "look" in row["method"].lower()), None)
    beside = ""
    if look_up is not None and look_up["columns"].get("rw", {}).get("median") is not None:
        beside = f"look-up: {look_up['columns']['rw']['median']:.4f}"
    exact = np.mean(np.asarray(found.atoms) == np.asarray(found.atoms_true))
    return [
        ("clusters", f"{len(dataset):,}".replace(",", " "), f"{counts['shapes']} distinct shapes"),
        (
            "training",
            _duration(history.seconds),
            f"{history.parameters / 1e6:.2f} million parameters, {len(history.train)} epochs",
        ),
        ("PDFs reconstructed", str(len(found.rw)), "not seen in training"),
        ("median R_w of the best", f"{np.median(found.rw):.4f}", beside),
        ("mean R_w of the best", f"{np.mean(found.rw):.4f}", f"largest {np.max(found.rw):.3f}"),
        ("atoms exact", f"{100 * exact:.0f} %", "best candidate has the true number"),
    ]


def table_view(table: Mapping[str, Any]) -> dict[str, Any]:
    """The evaluation table as text for the page: columns, rows of cells, tests and sources."""
    present = {name: None for row in table["rows"] for name in row["columns"]}
    names = [name for name in LABELS if name in present] + [name for name in present if name not in LABELS]
    return {
        "columns": [{"label": LABELS.get(name, name)} for name in names],
        "rows": [
            {
                "method": row["method"],
                "samples": row["samples"],
                "cells": [_cell(name, row["columns"].get(name), row["samples"]) for name in names],
            }
            for row in table["rows"]
        ],
        "title": table.get("title", "").splitlines(),
        "tests": [
            f"{LABELS.get(test['column'], test['column'])}: {test['first']} − {test['second']} = "
            f"{test['difference']:+.4f}, p = {test['p_value']:.2g} (two-tailed paired t-test, n = {test['n']})"
            for test in table.get("tests", ())
            if test.get("p_value") is not None
        ],
        "sources": [f"{row['method']}: {row['source']}" for row in table["rows"] if row.get("source")],
    }


def _cell(name: str, summary: Mapping[str, Any] | None, samples: int) -> dict[str, str]:
    if summary is None or not summary["n"] or summary["mean"] is None:
        return {"text": "–", "median": ""}
    if name == "atoms_exact":
        return {"text": f"{100 * summary['mean']:.1f} %", "median": ""}
    digits = 2 if name == "atoms_error" else 4
    spread = "" if summary["std"] is None else f" ± {summary['std']:.{digits}f}"
    median = "" if summary["median"] is None else f"{summary['median']:.{digits}f}"
    if summary["n"] < samples:
        median += f", of {summary['n']} PDFs"
    return {"text": f"{summary['mean']:.{digits}f}{spread}".replace("-", "−"), "median": median.replace("-", "−")}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _example_data(example: Example) -> dict[str, Any]:
    return {
        "true": _structure(example.true, example.symbol, "true", example.family_true),
        "found": _structure(example.found, example.symbol, "found", example.family),
        "r": page.numbers(example.r, 5),
        "obs": page.numbers(example.g_obs),
        "calc": page.numbers(example.g_calc),
        "fullR": page.numbers(example.full_r, 5),
        "fullG": page.numbers(example.full_g),
    }


def _structure(positions: NDArray[np.float64], symbol: str, role: str, family: str) -> dict[str, Any]:
    shape = geometry(positions)
    return {
        "title": f"{role}: {page.subscript(f'{symbol}{len(positions)}')} {family_name(family)}",
        "pos": np.round(positions, 3).tolist(),
        "sym": [symbol] * len(positions),
        "bonds": shape.bonds.tolist(),
        "cn": shape.coordination.tolist(),
        "nn": round(shape.nn_mean, 4) if np.isfinite(shape.nn_mean) else 2.5,
    }
