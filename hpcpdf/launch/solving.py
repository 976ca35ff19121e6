"""Measured files in, folders of ranked candidates out."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.errors import ConfigError
from hpcpdf.launch.reconstructing import check_span
from hpcpdf.launch.settings import check_writable
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import read_gr
from hpcpdf.report.overview import write_overview
from hpcpdf.report.solve_report import check_solution_dir, write_solution

if TYPE_CHECKING:
    from hpcpdf.reconstruct.solve import Candidate


@dataclass(frozen=True)
class SolveSettings:
    """Arguments of :func:`hpcpdf.solve`, which documents them."""

    element: str
    model: Path | None = None
    n_samples: int = 1000
    top: int = 10
    refine: bool = True
    r_range: tuple[float, float] = (1.5, 20.0)
    seed: int = 0


def solve_files(
    files: Sequence[Path],
    settings: SolveSettings,
    out: Path,
    *,
    overwrite: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None],
) -> list[Path]:
    """Solve every file; all of them are read and checked before the first is solved.

    Parameters
    ----------
    files
        Measured PDFs. One file is written to `out` itself, several to ``out/<name of the file>``.
    settings
        How to solve.
    out
        Folder for the results.
    overwrite
        Whether results for other data, found in a folder, are replaced.
    dry_run
        Only check and say what would be done.
    say
        Receives progress and the ranking.

    Returns
    -------
    list of Path
        Folders of the results, in the order of `files`.

    Raises
    ------
    ConfigError
        If arguments cannot be used as given.
    DataError
        If a file cannot be read.
    """
    check_span(settings.r_range, "--rmin", "--rmax")
    folders = _folders(files, out)
    check_writable(out, "--out")
    pdfs = [read_gr(path) for path in files]
    metallic_radius(settings.element)
    for pdf, folder in zip(pdfs, folders, strict=True):
        check_solution_dir(folder, pdf, overwrite=overwrite)
    if dry_run:
        for path, pdf, folder in zip(files, pdfs, folders, strict=True):
            say(f"{path}: {len(pdf.r)} points, r {pdf.r[0]:g} to {pdf.r[-1]:g} A -> {folder}")
        return folders

    from hpcpdf.model.store import load_model
    from hpcpdf.reconstruct.solve import check_composition, solve

    with warnings.catch_warnings(action="ignore"):
        for pdf in pdfs:
            check_composition(pdf, settings.element)
            PdfFitter(pdf, settings.r_range)
    model = load_model(settings.model)
    for path, pdf, folder in zip(files, pdfs, folders, strict=True):
        start = time.perf_counter()
        candidates = solve(pdf, **{**asdict(settings), "model": model}, progress=say)
        say(f"{path}: {len(candidates)} candidates in {time.perf_counter() - start:.1f} s")
        for line in ranking(candidates, settings.r_range):
            say(line)
        say(f"-> {write_solution(candidates, pdf, folder, asdict(settings), overwrite=overwrite)}")
    if len(folders) > 1:
        say(f"-> {write_overview(out, folders)}")
    return folders


def _folders(files: Sequence[Path], out: Path) -> list[Path]:
    if len(files) == 1:
        return [out]
    twice = [name for name, count in Counter(path.stem for path in files).items() if count > 1]
    if twice:
        raise ConfigError(f"several files are called {twice[0]}; solve them into folders of their own")
    return [out / path.stem for path in files]


def ranking(candidates: Sequence[Candidate], r_range: tuple[float, float]) -> list[str]:
    """The candidates as a table, best first."""
    low, high = r_range
    lines = [f"rank  R_w({low:g}-{high:g} A)  Pearson  atoms  family        nn (A)  coordination"]
    for rank, one in enumerate(candidates, start=1):
        width = len(f"R_w({low:g}-{high:g} A)")
        lines.append(
            f"{rank:>4}  {one.rw:>{width}.4f}  {one.pearson:>7.4f}  {one.n_atoms:>5}  {one.family:<12}"
            f"{one.nn_mean:>8.3f}  {one.coordination_mean:>12.2f}"
        )
    return lines
