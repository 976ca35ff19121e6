"""Where PDFs to reconstruct come from: rows that are read when their turn comes, never all at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.dataset.reader import Dataset, PdfSet, read_pdfs
from hpcpdf.dataset.schema import PARAMS, Arrays
from hpcpdf.errors import ConfigError, DataError
from hpcpdf.model.features import R_FLOOR, R_STEP, all_to_network_grid
from hpcpdf.pdf.gr_table import MIN_POINTS
from hpcpdf.reconstruct.results import RowStatus

Floats = NDArray[np.float64]


class Source(Protocol):
    """PDFs on one grid `r` (R,), Å; `name` is told in the results."""

    @property
    def r(self) -> Floats: ...
    @property
    def name(self) -> str: ...
    def __len__(self) -> int: ...
    def rows(self, first: int, last: int) -> NDArray[np.integer[Any]]:
        """Numbers under which rows first ... last - 1 are told, (n,)."""

    def read(self, first: int, last: int) -> Arrays:
        """Rows first ... last - 1: ``row`` (n,), ``pdf`` (n, R), ``z`` (n,), ``params`` (n, 7) as in a data set."""


@dataclass(frozen=True, eq=False)
class ArraySource:
    """PDFs in memory; `arrays` as `Source.read` gives them."""

    r: Floats
    arrays: Arrays
    name: str = "memory"

    def __len__(self) -> int:
        return len(self.arrays["row"])

    def rows(self, first: int, last: int) -> NDArray[np.integer[Any]]:
        return self.arrays["row"][first:last]

    def read(self, first: int, last: int) -> Arrays:
        return {name: values[first:last] for name, values in self.arrays.items()}


@dataclass(frozen=True, eq=False)
class SplitSource:
    """Some rows of a data set, ascending."""

    dataset: Dataset
    chosen: NDArray[np.intp]

    @property
    def r(self) -> Floats:
        return self.dataset.r

    @property
    def name(self) -> str:
        return self.dataset.path.name

    def __len__(self) -> int:
        return len(self.chosen)

    def rows(self, first: int, last: int) -> NDArray[np.integer[Any]]:
        return self.chosen[first:last]

    def read(self, first: int, last: int) -> Arrays:
        rows = self.rows(first, last)
        return {"row": rows, **self.dataset.take(rows, ("pdf", "z", "params"))}


@dataclass(frozen=True, eq=False)
class FileSource:
    """PDFs of any HDF5 file; `number` is the atomic number and `limits` (qmin, qmax) where the file does not say."""

    pdfs: PdfSet
    number: int | None = None
    limits: tuple[float, float] | None = None

    @property
    def r(self) -> Floats:
        return self.pdfs.r

    @property
    def name(self) -> str:
        return self.pdfs.path.name

    def __len__(self) -> int:
        return len(self.pdfs)

    def rows(self, first: int, last: int) -> NDArray[np.integer[Any]]:
        return np.arange(first, min(last, len(self)))

    def read(self, first: int, last: int) -> Arrays:
        arrays = self.pdfs.read(first, last)
        n = len(arrays["pdf"])
        arrays["row"] = self.rows(first, last)
        if self.number is not None:
            arrays["z"] = np.full(n, self.number)
        if self.limits is not None:
            arrays["params"] = np.tile([*self.limits, *[0.0] * (len(PARAMS) - 2)], (n, 1))
        return arrays


def file_source(
    path: Path, *, element: str | None = None, qmin: float | None = None, qmax: float | None = None
) -> FileSource:
    """PDFs of an HDF5 file (``pdf``, ``r``; maybe ``z`` and ``params``).

    Raises
    ------
    ConfigError
        If the file does not say the element, or the limits of the transform, and neither do the arguments.
    DataError
        If the file cannot be read or is empty.
    """
    pdfs = read_pdfs(path)
    if len(pdfs) == 0:
        raise DataError(f"{path}: holds no PDFs")
    number = None
    if element is not None:
        metallic_radius(element)
        number = chemical_symbols.index(element)
    elif "z" not in pdfs.columns:
        raise ConfigError(f"{path}: has no dataset z (atomic numbers); name the element, for example --element Pt")
    limits = None
    if qmin is not None and qmax is not None:
        limits = (qmin, qmax)
    elif "params" not in pdfs.columns:
        raise ConfigError(f"{path}: has no dataset params; give --qmin and --qmax")
    return FileSource(pdfs, number, limits)


@dataclass(frozen=True)
class Screen:
    """Finds the PDFs that cannot be reconstructed, before anything is computed with them.

    Parameters
    ----------
    r : (R,)
        Their grid, Å.
    r_range
        Range in which structures are compared with them, Å.

    Raises
    ------
    DataError
        If they have fewer than 10 points there.
    """

    r: Floats
    r_range: tuple[float, float]

    def __post_init__(self) -> None:
        if np.count_nonzero(self._used) < MIN_POINTS:
            low, high = self.r_range
            raise DataError(
                f"{np.count_nonzero(self._used)} points between {low:g} and {high:g} Å; the PDFs cover "
                f"{self.r[0]:g} to {self.r[-1]:g} Å; choose another r range"
            )

    @cached_property
    def _used(self) -> NDArray[np.bool_]:
        return np.asarray((self.r >= self.r_range[0] - 1e-9) & (self.r <= self.r_range[1] + 1e-9))

    def __call__(self, arrays: Arrays) -> NDArray[np.int8]:
        """`RowStatus` of every row, (n,)."""
        pdf = arrays["pdf"]
        status = np.full(len(pdf), RowStatus.DONE, dtype=np.int8)
        qmin, qmax = arrays["params"][:, 0], arrays["params"][:, 1]
        sound = np.isfinite(qmin) & np.isfinite(qmax) & (qmin >= 0.0) & (qmin < qmax)
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(pdf).all(axis=1))
        seen = all_to_network_grid(self.r, pdf[finite])[:, round(R_FLOOR / R_STEP) :]
        silent = ~finite
        silent[finite] = ~(seen > 0.0).any(axis=1) | ~pdf[finite][:, self._used].any(axis=1)
        # A reason is overwritten by later ones, which say more.
        for reason, bad in (
            (RowStatus.BAD_LIMITS, ~sound),
            (RowStatus.UNKNOWN_ELEMENT, ~np.isfinite(self.expected_nn(arrays["z"]))),
            (RowStatus.NO_SIGNAL, silent),
            (RowStatus.NOT_FINITE, ~finite),
        ):
            status[bad] = reason
        return status

    def expected_nn(self, z: NDArray[Any]) -> Floats:
        """Nearest-neighbour distance expected of the elements with atomic numbers `z`, Å; NaN where unknown."""
        radii = _radii()
        number = np.where((z >= 0) & (z < len(radii)), z, 0).astype(np.intp)
        return np.asarray(2.0 * radii[number])


@cache
def _radii() -> Floats:
    """Metallic radii by atomic number, Å; NaN where unknown."""
    return np.array([_radius(symbol) for symbol in chemical_symbols])


def _radius(symbol: str) -> float:
    try:
        return metallic_radius(symbol)
    except ConfigError:
        return float("nan")
