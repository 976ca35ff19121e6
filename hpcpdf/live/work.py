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
    """How files are read and solved.

    Attributes
    ----------
    options
        Of `hpcpdf.solve`: element, r_range, effort …
    reading
        How files are read that do not say it all themselves.
    """

    options: Mapping[str, Any]
    reading: Reading = field(default_factory=Reading)

    def read(self, path: Path) -> MeasuredPdf:
        """Read a file."""
        return self.reading.read(path)

    def solve(self, path: Path, out: Path, neighbour: Path | None) -> dict[str, Any]:
        """Solve a file, begun from the answer in `neighbour`, write its folder, and give its row of the trends."""
        from hpcpdf.reconstruct.solve import solve

        pdf = self.read(path)
        options = dict(self.options)
        begin = None if neighbour is None else _answer(neighbour)
        if begin is not None:
            options["effort"] = FOLLOWING[options["effort"]]
        with warnings.catch_warnings():
            # What a composition holds beside the metal is noted in every answer.
            warnings.simplefilter("ignore", UserWarning)
            found = solve(pdf, **options, neighbour=begin, n_threads=1, detailed=1)
            row = self._row(found, pdf)
        write_solution(found, pdf, out, {**options, **self.reading.stated()}, overwrite=True, figure=False)
        return row

    def recall(self, path: Path, out: Path) -> dict[str, Any]:
        """The row of a file whose answer is in `out`.

        Raises
        ------
        DataError
            If the answer is damaged.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return self._row(read_solution(out), self.read(path))

    def _row(self, found: Solution, pdf: MeasuredPdf) -> dict[str, Any]:
        motifs, instrument = sorted(found.posterior.families), self.options.get("instrument")
        trend = trend_row(found, pdf, self.options["r_range"], motifs, instrument)
        return json_row({**trend, **size_row(found, mixed_in(found))})


def _answer(folder: Path) -> Solution | None:
    """A neighbour's answer; None where it has just been replaced or moved."""
    try:
        return read_solution(folder)
    except DataError:
        return None
