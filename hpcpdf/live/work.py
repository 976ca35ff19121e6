"""The work on one file of a followed folder, as a process of its own does it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcpdf.errors import DataError
from hpcpdf.pdf.gr import read_gr
from hpcpdf.reconstruct.solution import Solution, read_solution
from hpcpdf.report.series_report import json_row
from hpcpdf.report.solve_report import write_solution
from hpcpdf.series.one import FOLLOWING
from hpcpdf.series.result import trend_row


@dataclass(frozen=True)
class Work:
    """How files are solved; called with a file, the folder of its answer, and that of its neighbour or None.

    Attributes
    ----------
    options
        Of `hpcpdf.solve`: element, r_range, effort …
    """

    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, path: Path, out: Path, neighbour: Path | None) -> dict[str, Any]:
        """Solve a file, write its folder, and give its row of the trends."""
        from hpcpdf.reconstruct.solve import solve

        pdf = read_gr(path)
        options = dict(self.options)
        begin = None if neighbour is None else _answer(neighbour)
        if begin is not None:
            options["effort"] = FOLLOWING[options["effort"]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = solve(pdf, **options, neighbour=begin, n_threads=1, detailed=1)
            row = self._row(found, path)
        write_solution(found, pdf, out, options, overwrite=True)
        return row

    def recall(self, path: Path, out: Path) -> dict[str, Any]:
        """The row of a file whose answer is there.

        Raises
        ------
        DataError
            If the answer is damaged.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return self._row(read_solution(out), path)

    def _row(self, solution: Solution, path: Path) -> dict[str, Any]:
        return json_row(
            trend_row(solution, read_gr(path), self.options["r_range"], sorted(solution.posterior.families))
        )


def _answer(folder: Path) -> Solution | None:
    """A neighbour's answer; None where it has just been replaced or moved."""
    try:
        return read_solution(folder)
    except DataError:
        return None
