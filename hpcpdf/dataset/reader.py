"""Reading data sets, and sets of PDFs to reconstruct."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcpdf.dataset.schema import COLUMNS, FORMAT, MASTER, PARAMS, SHARD_FORMAT, SPLITS, Arrays, check_header
from hpcpdf.errors import DataError

_BLOCK = 16384
"""Rows read at once; a wanted block is read whole and thinned in memory, far faster than picking rows in HDF5."""

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Dataset:
    """A generated data set on disk. Nothing is kept open, so it may be shared across forks and threads.

    Attributes
    ----------
    path
        The master file.
    r
        Grid of the PDFs, Å, shape (R,).
    split
        0 train, 1 validation, 2 test for every sample, shape (n,).
    families
        Names that the column ``family`` indexes.
    max_atoms
        Atom slots N of ``positions`` and ``sites``.
    config
        The configuration it was made with, as plain data.
    summary
        Counts: samples, duplicates removed, distinct shapes, train, validation, test.
    """

    path: Path
    r: NDArray[np.float64] = field(repr=False)
    split: NDArray[np.int8] = field(repr=False)
    families: tuple[str, ...]
    max_atoms: int
    config: dict[str, Any] = field(repr=False)
    summary: dict[str, int]

    def __len__(self) -> int:
        return len(self.split)

    def rows(self, split: Split) -> NDArray[np.intp]:
        """Row numbers of a split, ascending.

        Raises
        ------
        DataError
            If there is no such split.
        """
        if split not in SPLITS:
            raise DataError(f"{self.path}: no split {split!r}; expected one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.split == SPLITS.index(split))

    def load(self, split: Split, columns: Sequence[str] | None = None) -> Arrays:
        """Columns of a split, by name, rows in ascending order.

        Parameters
        ----------
        columns
            Which of ``positions`` (n,N,3) Å, ``n_atoms``, ``family``, ``sites`` (n,N), ``z``, ``nn`` Å, ``pdf`` (n,R)
            Å^-2, ``params`` (n,7), ``shape_key``, ``sample_id``; default all.

        Raises
        ------
        DataError
            If a column is unknown or the files cannot be read.
        """
        return self.take(self.rows(split), columns)

    def take(self, rows: NDArray[np.integer[Any]], columns: Sequence[str] | None = None) -> Arrays:
        """Columns of the given rows, in ascending order of the rows."""
        names = self._known(columns)
        wanted = np.zeros(len(self), dtype=bool)
        wanted[rows] = True
        n = int(np.count_nonzero(wanted))
        with _reading(self.path) as file:
            out = {name: np.empty((n, *file[name].shape[1:]), dtype=file[name].dtype) for name in names}
            done = 0
            for first in range(0, len(self), _BLOCK):
                mask = wanted[first : first + _BLOCK]
                here = int(np.count_nonzero(mask))
                if not here:
                    continue
                for name in names:
                    out[name][done : done + here] = file[name][first : first + len(mask)][mask]
                done += here
        return out

    def _known(self, columns: Sequence[str] | None) -> list[str]:
        names = list(COLUMNS) if columns is None else list(columns)
        for name in names:
            if name not in COLUMNS:
                raise DataError(f"{self.path}: no column {name!r}; expected some of {', '.join(COLUMNS)}")
        return names


def open_dataset(path: str | Path) -> Dataset:
    """Open a data set by its folder or master file and check that it is whole.

    Raises
    ------
    DataError
        If the file is missing, not a data set, of another version or truncated, or if a shard that it needs is missing
        or truncated: HDF5 itself would silently show fill values in its place.
    """
    path = Path(path)
    if path.is_dir():
        path = path / MASTER
    with _reading(path) as file:
        check_header(file, path, FORMAT)
        _check_columns(file, path)
        dataset = Dataset(
            path=path,
            r=file["r"][()],
            split=file["split"][()],
            families=tuple(file.attrs["families"]),
            max_atoms=int(file.attrs["max_atoms"]),
            config=json.loads(file.attrs["config"]),
            summary=json.loads(file.attrs["summary"]),
        )
        shards = sorted({source.file_name for source in file["n_atoms"].virtual_sources()})
    for name in shards:
        with _reading(path.parent / name, missing="shard is missing; run generate again to rebuild it") as shard:
            check_header(shard, path.parent / name, SHARD_FORMAT)
    return dataset


def _check_columns(file: h5py.File, path: Path) -> None:
    names = [*COLUMNS, "split"]
    lengths = {len(file[name]) for name in names if name in file}
    absent = [name for name in [*names, "r"] if name not in file]
    if absent:
        raise DataError(f"{path}: lacks {', '.join(absent)}; run generate again")
    if len(lengths) != 1:
        raise DataError(f"{path}: columns differ in length ({sorted(lengths)}); run generate again")
    if tuple(file.attrs["param_names"]) != PARAMS:
        raise DataError(f"{path}: parameters are {list(file.attrs['param_names'])}, expected {list(PARAMS)}")


@dataclass(frozen=True)
class PdfSet:
    """PDFs in an HDF5 file, to be reconstructed; rows are read when asked for.

    Attributes
    ----------
    path
        The file.
    n
        Number of PDFs.
    r
        Grid, Å, shape (R,).
    columns
        What is there beside ``pdf``: among ``z`` (atomic number of the element) and ``params`` (the seven of
        `schema.PARAMS`).
    """

    path: Path
    n: int
    r: NDArray[np.float64] = field(repr=False)
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return self.n

    def read(self, first: int = 0, last: int | None = None) -> Arrays:
        """Rows first ... last - 1: ``pdf`` (n,R) in Å^-2, and the `columns` there are."""
        with _reading(self.path) as file:
            return {name: file[name][first:last] for name in ("pdf", *self.columns)}


def read_pdfs(path: str | Path) -> PdfSet:
    """Open a set of PDFs: any HDF5 file with ``pdf`` (n,R) and ``r`` (R,), or a data set.

    Raises
    ------
    DataError
        If the file is missing, empty or not HDF5, if ``pdf`` or ``r`` is absent or of the wrong shape or type, or if
        ``r`` is not ascending.
    """
    path = Path(path)
    if path.is_dir() and (path / MASTER).is_file():
        path = path / MASTER
    with _reading(path) as file:
        if file.attrs.get("format") == FORMAT:
            open_dataset(path)
        pdf, r = (_numeric(file, path, name) for name in ("pdf", "r"))
        if pdf.ndim != 2 or r.shape != pdf.shape[1:]:
            raise DataError(f"{path}: pdf has shape {pdf.shape} and r {r.shape}; expected (n, R) and (R,)")
        grid = np.asarray(r[()], dtype=np.float64)
        if len(grid) < 2 or not np.all(np.isfinite(grid)) or np.any(np.diff(grid) <= 0) or grid[0] < 0:
            raise DataError(f"{path}: r must ascend from a value >= 0, without NaN, over two points or more")
        shapes = {"z": (len(pdf),), "params": (len(pdf), len(PARAMS))}
        columns = tuple(name for name in shapes if name in file)
        for name in columns:
            if _numeric(file, path, name).shape != shapes[name]:
                raise DataError(f"{path}: {name} has shape {file[name].shape}, expected {shapes[name]}")
        return PdfSet(path=path, n=len(pdf), r=grid, columns=columns)


def _numeric(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{path}: no dataset {name!r}; it has {', '.join(sorted(file)) or 'nothing'}")
    if found.dtype.kind not in "fiu":
        raise DataError(f"{path}: {name} holds {found.dtype}, expected numbers")
    return found


@contextlib.contextmanager
def _reading(path: Path, missing: str = "no such file") -> Iterator[h5py.File]:
    if not path.exists():
        raise DataError(f"{path}: {missing}")
    if path.is_dir():
        raise DataError(f"{path}: is a folder without {MASTER}, expected an HDF5 file")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: is empty, expected an HDF5 file") from None
        reason = str(error).strip("'\"").splitlines()[0]
        raise DataError(
            f"{path}: cannot be read as HDF5, it may be truncated or another kind of file ({reason})"
        ) from None
