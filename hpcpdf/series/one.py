"""One file of a series: solved from its neighbour, or taken from its folder where that was done before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcpdf.errors import DataError, SolverError
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.reconstruct.solution import Solution, read_solution
from hpcpdf.report import page
from hpcpdf.report.solve_report import check_solution_dir, pdf_digest, write_solution
from hpcpdf.stage import DONE

EFFORTS = ("quick", "normal", "thorough")
FOLLOWING = {"quick": "quick", "normal": "quick", "thorough": "normal"}
"""What a file that begins from its neighbour's structures needs, by what one without a neighbour does."""

_DETAILED = 1
"""Candidates that are refined of each file: the trends are those of the best."""
LIKELY = 0.01
"""Probability from which on a motif belongs to a series."""

Options = Mapping[str, Any]


def solve_one(
    pdf: MeasuredPdf, options: Options, neighbour: Solution | None, families: tuple[str, ...] | None, out: Path | None
) -> Solution | str:
    """Solve a file and, with `out`, write its folder; what it failed for, as text, where it cannot be solved."""
    from hpcpdf.reconstruct.solve import solve

    try:
        found = solve(pdf, **options, neighbour=neighbour, families=families, detailed=_DETAILED)
    except (DataError, SolverError) as error:
        return str(error)
    if out is not None:
        write_solution(found, pdf, out, record(options, families), overwrite=True, figure=False)
    return found


def record(options: Options, families: tuple[str, ...] | None) -> dict[str, Any]:
    """Settings as they are kept with an answer."""
    kept = {name: value for name, value in options.items() if name != "n_threads"}
    return {**kept, "families": None if families is None else list(families)}


def known_answer(folder: Path, pdf: MeasuredPdf, options: Options, families: tuple[str, ...] | None) -> Solution | None:
    """The answer that `folder` holds for these numbers and settings, if it is whole and good enough; else None.

    One of more effort, or of a search of more families, is good enough; None as `families` is a search of all.
    """
    try:
        found = json.loads((folder / DONE).read_text(encoding="utf-8"))
        settings = dict(found["settings"])
        if found["digest"] != pdf_digest(pdf):
            return None
        searched, effort = settings.pop("families"), settings.pop("effort")
        wanted = json.loads(json.dumps(page.plain(record(options, families))))
        needed, least = wanted.pop("families"), wanted.pop("effort")
        if settings != wanted or EFFORTS.index(effort) < EFFORTS.index(least):
            return None
        if searched is not None and (needed is None or not set(needed) <= set(searched)):
            return None
        return read_solution(folder)
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def check_folder(folder: Path, pdf: MeasuredPdf, *, overwrite: bool) -> None:
    """ConfigError where `folder` holds what must not be replaced."""
    check_solution_dir(folder, pdf, overwrite=overwrite)


def motifs(solution: Solution) -> set[str]:
    """Families that an answer leaves likely."""
    shares = solution.posterior.families
    return {solution[0].family} | {family for family, share in shares.items() if share >= LIKELY}
