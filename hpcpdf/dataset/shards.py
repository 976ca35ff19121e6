"""Shards: fixed ranges of samples, each written whole or not at all, each able to prove itself intact."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

import hpcpdf
from hpcpdf.dataset.schema import (
    COLUMNS,
    FORMAT_VERSION,
    SHARD_FORMAT,
    Arrays,
    Layout,
    canonical_json,
    describe,
    shard_name,
    write_header,
)
from hpcpdf.errors import ConfigError, DataError
from hpcpdf.stage import atomic_path


@dataclass(frozen=True)
class ShardState:
    """What was found in the place of a shard.

    Attributes
    ----------
    index
        Shard number.
    problem
        Why it has to be made (again); empty when it is intact.
    """

    index: int
    problem: str = ""

    @property
    def intact(self) -> bool:
        return not self.problem


def checksum(array: NDArray[Any]) -> int:
    """CRC-32 of an array's bytes in C order."""
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data) if array.size else 0


def write_shard(folder: Path, index: int, arrays: Arrays, layout: Layout, settings: dict[str, Any]) -> None:
    """Write shard `index` atomically, with a checksum of every column.

    The file is built in memory and written with one plain call: HDF5 itself cannot close a file cleanly on a full disk.
    The bytes depend on the arguments alone.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written.
    """
    with h5py.File("image", "w", driver="core", backing_store=False) as file:
        write_header(file, SHARD_FORMAT, settings, layout)
        file.attrs["hpcpdf"] = hpcpdf.__version__
        file.attrs["shard"] = index
        file.attrs["first_sample"] = layout.shard(index).start
        for name, column in COLUMNS.items():
            dataset = file.create_dataset(name, data=arrays[name])
            describe(dataset, column)
            dataset.attrs["crc32"] = np.uint32(checksum(arrays[name]))
        file.flush()
        image = file.id.get_file_image()
    with atomic_path(folder / shard_name(index)) as temporary:
        temporary.write_bytes(image)


def inspect_shard(folder: Path, index: int, layout: Layout, settings: dict[str, Any]) -> ShardState:
    """Look whether shard `index` is there, complete and undamaged.

    Raises
    ------
    ConfigError
        If an intact shard was made with other settings or by another version: data are never mixed.
    """
    path = folder / shard_name(index)
    if not path.is_file():
        return ShardState(index, "missing")
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("format") != SHARD_FORMAT:
                return ShardState(index, "not a shard")
            made = (str(file.attrs["config"]), int(file.attrs["format_version"]), str(file.attrs["hpcpdf"]))
            if made != (canonical_json(settings), FORMAT_VERSION, hpcpdf.__version__):
                what = "with other settings" if made[0] != canonical_json(settings) else f"by hpcpdf {made[2]}"
                raise ConfigError(
                    f"{path}: was made {what}; choose another run.out or delete the folder to make it again"
                )
            damage = _damage(file, index, layout)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        return ShardState(index, f"damaged ({_one_line(error)})")
    return ShardState(index, damage)


def _damage(file: h5py.File, index: int, layout: Layout) -> str:
    ids = layout.shard(index)
    if int(file.attrs["shard"]) != index or int(file.attrs["first_sample"]) != ids.start:
        return "holds another range of samples"
    for name, column in COLUMNS.items():
        dataset = file[name]
        if dataset.shape != (len(ids), *layout.row(column)):
            return f"column {name} has shape {dataset.shape}"
        if checksum(dataset[()]) != int(dataset.attrs["crc32"]):
            return f"column {name} fails its checksum"
    return ""


def read_columns(path: Path, names: tuple[str, ...]) -> Arrays:
    """Whole columns of one shard.

    Raises
    ------
    DataError
        Naming the shard when it is missing, truncated or lacks a column.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            return {name: file[name][()] for name in names}
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read ({_one_line(error)}); run generate again to rebuild it") from None


def _one_line(error: Exception) -> str:
    return str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
