"""The file of reconstructions: its columns, and reading it (`docs/file-format.md`)."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcpdf.dataset.schema import Arrays
from hpcpdf.errors import DataError

FORMAT = "hpcpdf-reconstruction"
FORMAT_VERSION = 3

_READABLE = (1, 2, FORMAT_VERSION)
"""Version 1 had no column `status`: every row was good. Version 2 had no `delta2`: it was 0."""

UNITS = {
    "positions": "angstrom",
    "r": "angstrom",
    "g_obs": "angstrom^-2",
    "g_calc": "angstrom^-2",
    "biso": "angstrom^2",
    "qdamp": "angstrom^-1",
    "delta2": "angstrom^2",
}
"""Units of the columns that have any."""


class RowStatus(IntEnum):
    """What became of a PDF; 0 means that its row holds a structure."""

    DONE = 0
    NOT_FINITE = 1
    """The PDF holds NaN or infinity."""
    NO_SIGNAL = 2
    """The PDF has no positive value above 1 Å, or is zero throughout the compared range."""
    UNKNOWN_ELEMENT = 3
    """No metallic radius is known of its element."""
    BAD_LIMITS = 4
    """The limits of its Fourier transform are not 0 <= qmin < qmax."""
    NOT_PLACED = 5
    """Nothing that the model predicts can be trilaterated."""


def read_results(path: str | Path) -> Arrays:
    """All columns of a file of reconstructions.

    Raises
    ------
    DataError
        If it is missing, damaged, or another kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; run reconstruct first")
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("format") != FORMAT:
                raise DataError(f"{path}: not a file of reconstructions")
            if file.attrs["format_version"] not in _READABLE:
                raise DataError(f"{path}: format version {file.attrs['format_version']}, expected {FORMAT_VERSION}")
            return {name: file[name][()] for name in file}
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: damaged: {error}") from None


def count_status(status: NDArray[np.integer[Any]]) -> dict[str, int]:
    """Rows that were passed over, by the name of the reason."""
    return {item.name.lower(): n for item in RowStatus if item and (n := int(np.count_nonzero(status == item)))}


def describe_status(counts: dict[str, int], total: int) -> str:
    """The same in words."""
    reasons = [f"{n} {name}" for name, n in counts.items()]
    return f"{sum(counts.values())} of {total} PDFs were passed over ({', '.join(reasons)}; see the column status)"
