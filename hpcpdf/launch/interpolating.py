"""Two measured files in, a folder of the structures between them out."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write
from numpy.typing import NDArray

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.launch.settings import check_writable
from hpcpdf.pdf.gr import read_gr
from hpcpdf.report import figures
from hpcpdf.report.page import check_out_dir, whole_folder
from hpcpdf.report.solve_report import pdf_digest
from hpcpdf.stage import DONE, mark_finished

Array = NDArray[np.float64]


def interpolate_files(
    first: Path,
    second: Path,
    element: str,
    out: Path,
    *,
    model: Path | None = None,
    steps: int = 9,
    dry_run: bool = False,
    say: Callable[[str], None],
) -> None:
    """Write the structures on the way between two PDFs: ``step-*.xyz``, ``way.csv`` and a figure of their PDFs.

    Parameters
    ----------
    first, second
        Files with PDFs.
    element
        Metal of both.
    out
        Folder; appears whole or not at all. An earlier result for the same files is replaced.
    model
        Trained model; None takes the one that ships with the package.
    steps
        Structures, both ends included.
    dry_run
        Only check and say what would be done.
    say
        Receives the table.
    """
    check_writable(out, "--out")
    metallic_radius(element)
    ends = (read_gr(first), read_gr(second))
    digest = "-".join(pdf_digest(pdf)[:16] for pdf in ends)
    check_out_dir(out, digest)
    if dry_run:
        say(f"{steps} structures from {first} to {second} -> {out}")
        return
    from hpcpdf.evaluate.interpolate import interpolate
    from hpcpdf.model.store import load_model
    from hpcpdf.reconstruct.solve import check_composition

    for pdf in ends:
        check_composition(pdf, element)
    way = interpolate(*ends, element, load_model(model), steps)
    rows = [
        {
            "fraction": f"{step.fraction:.4f}",
            "n_atoms": len(step.positions),
            "family": step.family,
            "rw_first": f"{step.rw_first:.4f}",
            "rw_second": f"{step.rw_second:.4f}",
        }
        for step in way
    ]
    say("fraction  atoms  family        R_w to first  R_w to second")
    for row in rows:
        say("{fraction:>8}  {n_atoms:>5}  {family:<12}{rw_first:>14}  {rw_second:>13}".format(**row))
    with whole_folder(out) as folder:
        for number, step in enumerate(way):
            atoms = Atoms([element] * len(step.positions), positions=step.positions)
            atoms.info = {"fraction": step.fraction, "family": step.family}
            write(folder / f"step-{number:02d}.xyz", atoms, format="extxyz")
        with (folder / "way.csv").open("w", encoding="utf-8", newline="") as handle:
            table = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        curves = [(f"{step.fraction:.2f}, {len(step.positions)} atoms", _on(way[0].r, step.r, step.g)) for step in way]
        figures.save(figures.way_figure(way[0].r, curves), folder / "way")
        files = sorted([*(entry.name for entry in folder.iterdir()), DONE])
        settings = {"element": element, "model": None if model is None else str(model), "steps": steps}
        mark_finished(folder, settings, input=[str(first), str(second)], digest=digest, files=files)
    say(f"-> {out}")


def _on(grid: Array, r: Array, g: Array) -> Array:
    """The two files may have different grids; a picture needs one."""
    return np.asarray(np.interp(grid, r, g, left=0.0, right=0.0))
