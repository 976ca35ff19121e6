"""The folder that ``hpcpdf solve`` leaves: ranked structures, tables, figure, provenance and a page to read."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hpcpdf.errors import SolverError
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.reconstruct.shape import Geometry, geometry
from hpcpdf.reconstruct.solution import Candidate, Posterior, Solution
from hpcpdf.reconstruct.verdict import verdict
from hpcpdf.report import judge, page
from hpcpdf.report.families import bound_of, family_name
from hpcpdf.report.formats import FORMATS, chosen_formats
from hpcpdf.report.recipe import recipe
from hpcpdf.report.solve_page import solve_page
from hpcpdf.report.structures import equivalent_name, formula, was_refined, write_cif, write_xyz
from hpcpdf.stage import DONE, mark_finished, write_json


def pdf_digest(pdf: Any) -> str:
    """Digest of the measured numbers (`r`, `g`): tells whether two results belong to the same data."""
    both = np.ascontiguousarray(np.stack([np.asarray(pdf.r), np.asarray(pdf.g)]), dtype="<f8")
    return hashlib.sha256(both.tobytes()).hexdigest()


def check_solution_dir(out_dir: str | Path, pdf: Any, *, overwrite: bool = False) -> None:
    """Raise ConfigError if `write_solution` would refuse `out_dir`; meant to be called before solving."""
    page.check_out_dir(Path(out_dir), pdf_digest(pdf), overwrite=overwrite)


def write_solution(
    candidates: Sequence[Candidate],
    pdf: Any,
    out_dir: str | Path,
    settings: Mapping[str, Any],
    *,
    overwrite: bool = False,
    formats: Sequence[str] = (),
    script: bool = False,
    figure: bool = True,
) -> Path:
    """Write an answer to a folder.

    The folder appears complete or not at all. An earlier result for the same data is replaced.

    Parameters
    ----------
    candidates
        A `Solution`, or candidates alone, best first; `g_calc` is on the scale of `g_obs`, both on `r`, the fitted
        range.
    pdf
        The measured PDF (`hpcpdf.read_gr`).
    out_dir
        Holds afterwards ``candidate-01.xyz`` and ``.cif`` … (``candidate-01-e1.xyz`` … for structures that no PDF tells
        from the first), ``candidates.csv``, ``candidates.json``, ``solution.json`` and ``.npz`` (for
        `hpcpdf.read_solution`), ``fit.png``, ``fit.pdf``, ``fit.csv`` (the numbers of the figure), ``report.html`` and
        ``provenance.json``.
    settings
        What produced the candidates, for the record: element, n_samples, r_range, model, seed …
    overwrite
        Also replace a result for other data.
    formats
        Endings of further files of every candidate, of `hpcpdf.report.formats.FORMATS`.
    script
        Whether ``refine.py`` is written too, which refines the best candidate with DiffPy-CMI.
    figure
        Whether ``fit.png`` and ``fit.pdf`` are written; the report draws the fit for itself.

    Returns
    -------
    Path
        The report, ``out_dir/report.html``.

    Raises
    ------
    SolverError
        If there is no candidate.
    ConfigError
        If `out_dir` holds files that are not an earlier result, or one for other data, or a format is unknown.
    """
    if not candidates:
        raise SolverError(f"{_source(pdf)}: no candidate to report")
    out_dir, formats = Path(out_dir), chosen_formats(formats)
    check_solution_dir(out_dir, pdf, overwrite=overwrite)
    settings = page.plain(settings)
    solution = candidates if isinstance(candidates, Solution) else _alone(candidates, pdf, settings)
    shapes = [geometry(c.atoms.positions) for c in solution]
    judged = judge.judge(solution, pdf, shapes)
    rows = [_row(rank, solution, shape, rank - 1 in judged.equal) for rank, shape in enumerate(shapes, start=1)]
    with page.whole_folder(out_dir) as folder:
        for row, candidate in zip(rows, solution, strict=True):
            _write_structures(folder, row, candidate, formats)
        _write_tables(folder, rows, solution, pdf, settings)
        solution.save(folder)
        if figure:
            _write_figure(folder, rows[0], solution[0], pdf)
        if script:
            _write_script(folder, rows[0], solution, pdf)
        html = solve_page(solution, shapes, rows, judged, pdf, settings, formats, figure=figure)
        (folder / "report.html").write_text(html, encoding="utf-8")
        files = sorted([*(entry.name for entry in folder.iterdir()), DONE])
        mark_finished(folder, dict(settings), input=_source(pdf), digest=pdf_digest(pdf), files=files)
    return out_dir / "report.html"


def _alone(candidates: Sequence[Candidate], pdf: Any, settings: Mapping[str, Any]) -> Solution:
    """Candidates without bounds and posterior as an answer."""
    return Solution(
        candidates=tuple(candidates),
        verdict=verdict(candidates, pdf.qmin, pdf.qmax, Posterior()),
        source=_source(pdf),
        element=str(settings.get("element", "")),
        settings=settings,
    )


def _source(pdf: Any) -> str:
    return str(getattr(pdf, "source", "PDF"))


def _row(rank: int, solution: Solution, shape: Geometry, equal: bool) -> dict[str, Any]:
    candidate = solution[rank - 1]
    return {
        "rank": rank,
        "file": f"candidate-{rank:02d}.xyz",
        "formula": formula(candidate),
        "family": candidate.family,
        "n_atoms": candidate.n_atoms,
        "probability": _known(candidate.probability),
        "equivalents": "; ".join(equivalent_name(one) for one in candidate.equivalents),
        "rw": float(candidate.rw),
        "rw_before_refine": float(candidate.rw_before_refine) if was_refined(candidate) else None,
        "rw_relaxed": _known(candidate.rw_relaxed),
        "family_bound": bound_of(solution, candidate.family),
        "pearson": float(candidate.pearson),
        "fits_as_well_as_best": equal,
        "scale": float(candidate.scale),
        "zoom": float(candidate.zoom),
        "biso_A2": float(candidate.biso),
        "qdamp_1_per_A": float(candidate.qdamp),
        "delta2_A2": float(candidate.delta2),
        "nn_mean_A": shape.nn_mean,
        "nn_std_A": shape.nn_std,
        "coordination_mean": shape.coordination_mean,
        "bond_cutoff_A": shape.cutoff,
        "diameter_A": shape.diameter,
        "notes": "; ".join(candidate.notes),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _write_structures(folder: Path, row: Mapping[str, Any], candidate: Candidate, formats: Sequence[str]) -> None:
    path = folder / row["file"]
    write_xyz(path, candidate)
    write_cif(path.with_suffix(".cif"), candidate, title=f"{row['formula']}_{row['family']}_rank{row['rank']}")
    for count, one in enumerate(candidate.equivalents, start=1):
        write_xyz(path.with_stem(f"{path.stem}-e{count}"), one)
    for ending in formats:
        FORMATS[ending](path.with_suffix(f".{ending}"), candidate)


def _write_script(folder: Path, row: Mapping[str, Any], solution: Solution, pdf: Any) -> None:
    best = solution[0]
    params, instrument = (
        PdfFitter(pdf, (float(best.r[0]), float(best.r[-1]))).params,
        solution.settings.get("instrument"),
    )
    known = isinstance(instrument, Mapping)
    if isinstance(instrument, Mapping):
        params = replace(params, qbroad=float(instrument["qbroad"]))
    text = recipe(best, params, _source(pdf), row["file"], qdamp_known=known)
    (folder / "refine.py").write_text(text, encoding="utf-8")


def _write_figure(folder: Path, row: Mapping[str, Any], best: Candidate, pdf: Any) -> None:
    # Drawing is imported late: whoever only checks a folder or its arguments does not wait for it.
    from hpcpdf.report import figures

    title = f"{Path(_source(pdf)).name}: {row['formula']} {family_name(best.family)}"
    figures.save(figures.pdf_figure(best.r, best.g_obs, best.g_calc, title=title, rw=best.rw), folder / "fit")


def _write_tables(folder: Path, rows: Sequence[dict[str, Any]], solution: Solution, pdf: Any, settings: Any) -> None:
    with (folder / "candidates.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in row.items()})
    best = solution[0]
    document = {
        "input": _source(pdf),
        "verdict": solution.verdict,
        "qmin_1_per_A": pdf.qmin,
        "qmax_1_per_A": pdf.qmax,
        "r_fit_A": [float(best.r[0]), float(best.r[-1])],
        "settings": settings,
        "bounds": solution.bounds,
        "families": solution.posterior.families,
        "candidates": [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in r.items()} for r in rows],
    }
    write_json(folder / "candidates.json", document)
    columns = [best.r, best.g_obs, best.g_calc, best.g_obs - best.g_calc]
    header = "r_A,G_observed_A-2,G_calculated_A-2,difference_A-2"
    np.savetxt(folder / "fit.csv", np.column_stack(columns), fmt="%.8g", delimiter=",", header=header, comments="")
