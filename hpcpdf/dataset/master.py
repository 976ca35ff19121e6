"""The master file: one view of all shards without their duplicates, with the splits."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcpdf.config import RunConfig
from hpcpdf.dataset.schema import (
    COLUMNS,
    FORMAT,
    MASTER,
    SPLITS,
    Column,
    Layout,
    canonical_json,
    describe,
    settings_of,
    shard_name,
    write_header,
)
from hpcpdf.dataset.shards import read_columns
from hpcpdf.dataset.splits import assign, first_of_each
from hpcpdf.stage import atomic_path

_IDENTITY = ("shape_key", "z", "nn")
_SPLIT = Column("i1", (), "1", -1, "0 train, 1 validation, 2 test")


def write_master(folder: Path, config: RunConfig, layout: Layout) -> dict[str, int]:
    """Write ``dataset.h5`` over intact shards, atomically.

    Shards are named relative to the folder, so it can be moved as a whole.

    Returns
    -------
    dict
        Number of samples, of removed duplicates and of distinct shapes, and samples of each split.

    Raises
    ------
    DataError
        If a shard cannot be read.
    OSError
        If the disk is full or the folder cannot be written.
    """
    parts = [read_columns(folder / shard_name(index), _IDENTITY) for index in range(layout.n_shards)]
    identity = {name: np.concatenate([part[name] for part in parts]) for name in _IDENTITY}
    keep = first_of_each(identity)
    shape_keys = identity["shape_key"][keep]
    split = assign(config.dataset.split, shape_keys, config.run.seed, config.dataset.fractions)
    summary = {
        "samples": len(keep),
        "duplicates": layout.n_samples - len(keep),
        "shapes": len(np.unique(shape_keys)),
        **{name: int(np.count_nonzero(split == code)) for code, name in enumerate(SPLITS)},
    }
    with h5py.File("image", "w", driver="core", backing_store=False) as file:
        write_header(file, FORMAT, settings_of(config), layout)
        file.attrs["splits"] = list(SPLITS)
        file.attrs["summary"] = canonical_json(summary)
        runs = _runs(keep, layout)
        for name, column in COLUMNS.items():
            _add_view(file, name, column, runs, len(keep), layout)
        describe(file.create_dataset("split", data=split), _SPLIT)
        file.flush()
        image = file.id.get_file_image()
    with atomic_path(folder / MASTER) as temporary:
        temporary.write_bytes(image)
    return summary


def _runs(keep: NDArray[np.intp], layout: Layout) -> list[tuple[int, int, int]]:
    """Consecutive kept rows within one shard, as (shard, first row there, row after the last)."""
    shard, row = np.divmod(keep, layout.shard_size)
    ends = np.flatnonzero((np.diff(keep) != 1) | (np.diff(shard) != 0)) + 1
    return [
        (int(shard[part[0]]), int(row[part[0]]), int(row[part[-1]]) + 1)
        for part in np.split(np.arange(len(keep)), ends)
        if len(part)
    ]


def _add_view(
    file: h5py.File, name: str, column: Column, runs: list[tuple[int, int, int]], n: int, layout: Layout
) -> None:
    """Virtual dataset over `runs`. Made by HDF5's own calls, because h5py always lets virtual ones keep their time."""
    row = layout.row(column)
    whole = h5py.h5s.create_simple((n, *row))
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_obj_track_times(False)
    if column.fill != b"":  # the empty string is HDF5's own default, and h5py mistakes it for a pointer
        plist.set_fill_value(np.array(column.fill, dtype=column.dtype))
    corner = (0,) * len(row)
    start = 0
    for shard, first, last in runs:
        source = h5py.h5s.create_simple((len(layout.shard(shard)), *row))
        source.select_hyperslab((first, *corner), (last - first, *row))
        whole.select_hyperslab((start, *corner), (last - first, *row))
        plist.set_virtual(whole, shard_name(shard).encode(), name.encode(), source)
        start += last - first
    whole.select_all()
    kind = h5py.h5t.py_create(np.dtype(column.dtype), logical=True)
    describe(h5py.Dataset(h5py.h5d.create(file.id, name.encode(), kind, whole, plist)), column)
