"""The work on one file of a followed folder, as a process of its own does it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcpdf.errors import DataError
from hpcpdf.pdf.fq import Reading
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.reconstruct.solution import Solution, read_solution
from hpcpdf.report.series_report import json_row
from hpcpdf.report.solve_report import write_solution
from hpcpdf.series.one import FOLLOWING
from hpcpdf.series.result import mixed_in, size_row, trend_row


@dataclass(frozen=True)
class Work:
    """How files are solved; called with a file, the folder of its answer, and that of its neighbour or None.

    Attributes
    ----------
    options
        Of `hpcpdf.solve`: element, r_range, effort …
    reading
        How to read files that do not say it all themselves.
    """

    options: Mapping[str, Any]
    reading: Reading = field(default_factory=Reading)

    def __call__(self, path: Path, out: Path, neighbour: Path | None) -> dict[str, Any]:
        """Solve a file, write its folder, and give its row of the trends."""
        from hpcpdf.reconstruct.solve import solve

        pdf = self.reading.read(path)
        options = dict(self.options)
        begin = None if neighbour is None else _answer(neighbour)
        if begin is not None:
            options["effort"] = FOLLOWING[options["effort"]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = solve(pdf, **options, neighbour=begin, n_threads=1, detailed=1)
            row = self._row(found, pdf)
        write_solution(found, pdf, out, options, overwrite=True, figure=False)
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
            return self._row(read_solution(out), self.reading.read(path))

    def _row(self, solution: Solution, pdf: MeasuredPdf) -> dict[str, Any]:
        motifs, instrument = sorted(solution.posterior.families), self.options.get("instrument")
        row = trend_row(solution, pdf, self.options["r_range"], motifs, instrument)
        return json_row({**row, **size_row(solution, mixed_in(solution))})


def _answer(folder: Path) -> Solution | None:
    """A neighbour's answer; None where it has just been replaced or moved."""
    try:
        return read_solution(folder)
    except DataError:
        return None
