"""What a data set file holds: columns, units, fill values and attributes (`docs/file-format.md`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcpdf.config import FAMILIES, RunConfig
from hpcpdf.errors import DataError
from hpcpdf.pdf.grids import r_grid
from hpcpdf.pdf.params import PdfParams
from hpcpdf.stage import relevant

Arrays: TypeAlias = dict[str, NDArray[Any]]

FORMAT = "hpcpdf-dataset"
SHARD_FORMAT = "hpcpdf-shard"
FORMAT_VERSION = 1
MASTER = "dataset.h5"
PARAMS = ("qmin", "qmax", "qdamp", "qbroad", "delta1", "delta2", "biso")
SPLITS = ("train", "validation", "test")

_PAPER_ATOMS = 100
"""Node slots of the reference method, whose clusters have at most 100 atoms."""


@dataclass(frozen=True)
class Column:
    """One HDF5 dataset with a row for each sample.

    Attributes
    ----------
    dtype
        NumPy type string.
    shape
        Shape of a row: numbers, or ``N`` (atom slots), ``R`` (points of the r grid), ``P`` (parameters).
    units
        Units as stored in the ``units`` attribute; ``1`` when there are none.
    fill
        Value of unused slots, and of a row whose shard is missing.
    meaning
        One line, stored as the ``description`` attribute.
    """

    dtype: str
    shape: tuple[Literal["N", "R", "P"] | int, ...]
    units: str
    fill: Any
    meaning: str


COLUMNS: dict[str, Column] = {
    "sample_id": Column("i8", (), "1", -1, "number that seeds the sample; also its place in the shards"),
    "positions": Column("f4", ("N", 3), "angstrom", np.nan, "atoms in canonical order and orientation"),
    "n_atoms": Column("i2", (), "1", -1, "number of atoms"),
    "family": Column("i1", (), "1", -1, "index into the attribute `families`"),
    "sites": Column("i2", ("N",), "1", -1, "occupied sites of the family's template"),
    "z": Column("i2", (), "1", -1, "atomic number of the element"),
    "nn": Column("f8", (), "angstrom", np.nan, "nearest-neighbour distance"),
    "pdf": Column("f4", ("R",), "angstrom^-2", np.nan, "reduced pair distribution function G(r), exact transform"),
    "params": Column("f8", ("P",), "angstrom^-1, angstrom, angstrom^2", np.nan, "instrument and sample parameters"),
    "shape_key": Column("S32", (), "1", b"", "digest of the scale-free distance list"),
}
"""Columns of a shard. The master file has them as virtual datasets, and `split` beside them."""

PARAM_UNITS = ("angstrom^-1", "angstrom^-1", "angstrom^-1", "angstrom^-1", "angstrom", "angstrom^2", "angstrom^2")


@dataclass(frozen=True)
class Layout:
    """Sizes that all shards of a data set share.

    Attributes
    ----------
    n_samples
        Samples drawn, before duplicates are removed.
    shard_size
        Samples of a shard; the last one may hold fewer.
    max_atoms
        Atom slots N of a row.
    r
        Grid of the PDFs, Å, shape (R,).
    """

    n_samples: int
    shard_size: int
    max_atoms: int
    r: NDArray[np.float64]

    @property
    def n_shards(self) -> int:
        return -(-self.n_samples // self.shard_size)

    def shard(self, index: int) -> range:
        """Sample ids of a shard: fixed, whatever rank makes it."""
        return range(index * self.shard_size, min((index + 1) * self.shard_size, self.n_samples))

    def row(self, column: Column) -> tuple[int, ...]:
        """Shape of one row of `column`."""
        sizes = {"N": self.max_atoms, "R": len(self.r), "P": len(PARAMS)}
        return tuple(sizes[size] if isinstance(size, str) else size for size in column.shape)

    def empty(self, n: int) -> Arrays:
        """Arrays of `n` rows holding the fill values."""
        return {
            name: np.full((n, *self.row(column)), column.fill, dtype=column.dtype) for name, column in COLUMNS.items()
        }


def layout_of(config: RunConfig) -> Layout:
    """Sizes that follow from a configuration."""
    clusters = config.clusters
    return Layout(
        n_samples=clusters.n,
        shard_size=config.dataset.shard_size,
        max_atoms=_PAPER_ATOMS if clusters.recipe == "paper" else clusters.max_atoms,
        r=r_grid(PdfParams(rmin=0.0, rmax=config.pdf.rmax, rstep=config.pdf.rstep)),
    )


def shard_name(index: int) -> str:
    """File name of a shard, relative to the data set's folder."""
    return f"shard-{index:05d}.h5"


def shard_settings(config: RunConfig) -> dict[str, Any]:
    """What decides the contents of the shards; splits may change without making them again."""
    settings = relevant(config, "clusters", "pdf")
    settings["dataset"] = {"shard_size": config.dataset.shard_size}
    return settings


def settings_of(config: RunConfig) -> dict[str, Any]:
    """What decides a data set: its configuration without `run.out`, so that a folder can be moved."""
    return relevant(config, "clusters", "pdf", "dataset")


def canonical_json(data: Any) -> str:
    """JSON text that is equal for equal data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def write_header(file: h5py.File, kind: str, settings: dict[str, Any], layout: Layout) -> None:
    """Attributes that master and shards have in common, and the r grid."""
    file.attrs["format"] = kind
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["config"] = canonical_json(settings)
    file.attrs["families"] = list(FAMILIES)
    file.attrs["param_names"] = list(PARAMS)
    file.attrs["param_units"] = list(PARAM_UNITS)
    file.attrs["max_atoms"] = layout.max_atoms
    grid = file.create_dataset("r", data=layout.r)
    grid.attrs["units"] = "angstrom"
    grid.attrs["description"] = "grid of the PDFs"


def describe(dataset: h5py.Dataset, column: Column) -> None:
    """Units and description of one column."""
    dataset.attrs["units"] = column.units
    dataset.attrs["description"] = column.meaning


def check_header(file: h5py.File, path: Path, kind: str) -> None:
    """Reject a file of another kind or version.

    Raises
    ------
    DataError
        Naming the file, what it is and what was expected.
    """
    found = file.attrs.get("format")
    if found != kind:
        raise DataError(f"{path}: not an {kind} file (attribute format is {found!r})")
    version = file.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path}: {kind} version {version}, this hpcpdf reads version {FORMAT_VERSION}; make it again or upgrade"
        )
