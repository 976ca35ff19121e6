"""What a series answers with: a solution for each file, and how they change along it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.range import Range
from hpcpdf.reconstruct.shape import geometry
from hpcpdf.reconstruct.solution import Solution
from hpcpdf.report.series_report import write_series
from hpcpdf.report.solve_report import write_solution
from hpcpdf.sample.instrument import Instrument, as_instrument
from hpcpdf.sample.sizes import MotifSizes
from hpcpdf.series.axis import Axis
from hpcpdf.series.one import known_answer, record
from hpcpdf.series.precision import precision

LEVEL = 0.9
"""Of the intervals of sizes."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Series(Sequence[Solution]):
    """Solutions of a series in its order.

    Attributes
    ----------
    solutions : tuple of Solution
        Of the files that could be solved.
    names : tuple of str
        Of these files, without folders and endings.
    axis : Axis
        What the series runs along, and where each of these files stands.
    motifs : tuple of str
        Families that all files were searched for.
    failures : mapping
        Files that could not be solved, and why.
    settings : mapping
        What produced the answers, for the record.
    """

    solutions: tuple[Solution, ...]
    names: tuple[str, ...]
    axis: Axis
    motifs: tuple[str, ...]
    failures: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    pdfs: tuple[MeasuredPdf, ...] = field(default=(), repr=False)

    @classmethod
    def made(
        cls,
        pdfs: Sequence[MeasuredPdf],
        names: Sequence[str],
        axis: Axis,
        answers: Mapping[int, Solution],
        failures: Mapping[str, str],
        motifs: tuple[str, ...],
        settings: Mapping[str, Any],
    ) -> Series:
        """From the answers by the place of their file."""
        solved = sorted(answers)
        return cls(
            solutions=tuple(answers[k] for k in solved),
            names=tuple(names[k] for k in solved),
            axis=Axis(axis.quantity, axis.unit, tuple(axis.values[k] for k in solved), axis.source),
            motifs=motifs,
            failures={name: failures[name] for name in names if name in failures},
            settings=dict(settings),
            pdfs=tuple(pdfs[k] for k in solved),
        )

    def without(self, failures: Mapping[str, str]) -> Series:
        """The same, with more files told that are not in it."""
        return replace(self, failures={**self.failures, **failures})

    def __len__(self) -> int:
        return len(self.solutions)

    def __iter__(self) -> Iterator[Solution]:
        return iter(self.solutions)

    @overload
    def __getitem__(self, index: int) -> Solution: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Solution, ...]: ...
    def __getitem__(self, index: int | slice) -> Solution | tuple[Solution, ...]:
        return self.solutions[index]

    @cached_property
    def table(self) -> list[dict[str, Any]]:
        """One row for each solved file: where it stands, and its best structure with intervals and standard errors.

        ``p_FAMILY`` are the probabilities of the motifs; ``*_low`` and ``*_high`` hold 90 % of the posterior;
        ``*_error`` are standard errors of the fit. ``size_A`` and ``width_A`` are diameter (over atoms) and standard
        deviation of the sizes, ``weight_MOTIF`` shares of the atoms (`Solution.sizes`); empty where one structure
        explains the PDF.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            values = zip(self.names, self.axis.values, self.solutions, self.pdfs, strict=True)
            mixed = sorted({family for solution in self.solutions for family in mixed_in(solution)})
            return [
                {
                    "name": name,
                    self.axis.column: value,
                    **trend_row(solution, pdf, self.settings["r_range"], self.motifs, self.settings.get("instrument")),
                    **size_row(solution, mixed),
                }
                for name, value, solution, pdf in values
            ]

    def save(self, folder: str | Path) -> Path:
        """Write the trends, and a folder for each file as ``hpcpdf solve`` does.

        ``series.html`` shows them and opens without a network; ``series.csv`` has the numbers, ``series.png`` and
        ``.pdf`` the figure, ``series.json`` all of it for programs.

        Returns
        -------
        Path
            ``folder/series.html``.

        Raises
        ------
        ConfigError
            If the folder cannot be written or holds something else.
        """
        folder = Path(folder)
        for name, solution, pdf in zip(self.names, self.solutions, self.pdfs, strict=True):
            options = {**self.settings, "effort": solution.settings.get("effort", self.settings.get("effort"))}
            if known_answer(folder / name, pdf, options, ()) is None:
                write_solution(solution, pdf, folder / name, record(options, self.motifs), figure=False)
        return write_series(
            folder,
            self.table,
            column=self.axis.column,
            label=self.axis.label,
            motifs=self.motifs,
            failures=self.failures,
            settings=self.settings,
        )


def trend_row(
    solution: Solution,
    pdf: MeasuredPdf,
    r_range: Range,
    motifs: Sequence[str],
    instrument: Instrument | str | Path | None = None,
) -> dict[str, Any]:
    """What one file adds to the trends."""
    measured_by = None if instrument is None else as_instrument(instrument)
    best, posterior = solution[0], solution.posterior
    shape = geometry(best.atoms.positions)
    atoms = posterior.n_atoms(LEVEL) if posterior.samples else (math.nan, math.nan)
    diameter = posterior.diameter(LEVEL) if posterior.samples else (math.nan, math.nan)
    known = pdf.parameter("qdamp") if measured_by is None else measured_by.qdamp
    fitter = PdfFitter(pdf, r_range, instrument=measured_by)
    errors = precision(best, fitter, known if known is not None and known >= 0.0 else None)
    return {
        "rw": best.rw,
        "verdict": solution.verdict,
        "family": best.family,
        "n_atoms": best.n_atoms,
        "n_atoms_low": atoms[0],
        "n_atoms_high": atoms[1],
        "diameter_A": shape.diameter,
        "diameter_low_A": diameter[0],
        "diameter_high_A": diameter[1],
        "bond_A": best.nn_mean,
        "bond_error_A": errors.bond,
        "biso_A2": best.biso,
        "biso_error_A2": errors.biso,
        "delta2_A2": best.delta2,
        "qdamp_1_per_A": best.qdamp,
        "coordination": best.coordination_mean,
        **{f"p_{family}": posterior.families.get(family, 0.0) for family in motifs},
    }


def mixed_in(solution: Solution) -> list[str]:
    """Motifs over which an answer spreads the atoms."""
    return [one.family for one in _motifs_of(solution)]


def _motifs_of(solution: Solution) -> tuple[MotifSizes, ...]:
    return () if solution.sizes is None else solution.sizes.motifs


def size_row(solution: Solution, mixed: Sequence[str]) -> dict[str, Any]:
    """Sizes of the heaviest motif, and the weight of each of `mixed`."""
    by = {one.family: one for one in _motifs_of(solution)}
    first = next(iter(by.values()), None)
    row: dict[str, Any] = {}
    for name, key in (("atom_diameter", "size"), ("width", "width")):
        row[f"{key}_A"] = math.nan if first is None else getattr(first, name)
        row[f"{key}_error_A"] = math.nan if first is None else getattr(first, f"{name}_error")
    for family in mixed:
        motif = by.get(family)
        missing = 0.0 if by else math.nan
        row[f"weight_{family}"] = missing if motif is None else motif.weight
        row[f"weight_{family}_error"] = missing if motif is None else motif.weight_error
    row["spread_preferred"] = solution.sizes is not None and solution.sizes.preferred
    return row
