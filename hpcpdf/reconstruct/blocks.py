"""Rows computed in fixed blocks, a file for each until all are merged into one.

Which rows form a block depends on their number alone, never on who computes it. So any number of workers may start,
stop and start again in other numbers: what is finished stays finished, and the merged file is the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcpdf.dataset.schema import Arrays
from hpcpdf.dataset.shards import checksum
from hpcpdf.errors import DataError, LaunchError
from hpcpdf.reconstruct.results import FORMAT, FORMAT_VERSION, UNITS
from hpcpdf.stage import Context, atomic_path

log = logging.getLogger(__name__)

BLOCK_FORMAT, BLOCK_VERSION = "hpcpdf-reconstruction-block", 2
MOST_BLOCKS = 4096
"""Blocks, and files, of a job at most; larger jobs have larger blocks."""

_ATOM = np.dtype((np.void, 12))
_TELL_EVERY = 10.0  # s between lines of progress
_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError)
"""What h5py raises for files that are torn, or other files."""


class Work(Protocol):
    """Rows to compute."""

    @property
    def settings(self) -> str:
        """Digest of everything but the input rows that decides the results."""

    @property
    def smallest_block(self) -> int:
        """Rows of a block in a small job."""

    @property
    def constants(self) -> Arrays:
        """Arrays of the merged file that are no columns."""

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the merged file."""

    def __len__(self) -> int: ...

    def rows(self, first: int, last: int) -> NDArray[np.integer[Any]]:
        """The column ``row`` that is due."""

    def identity(self, first: int, last: int) -> str:
        """Digest of the input rows first ... last - 1."""

    def compute(self, first: int, last: int, halted: Callable[[], bool]) -> Arrays | None:
        """Columns for these rows; None when halted before the end.

        ``row``, ``n_atoms`` and ``positions`` are among them, the last (atoms, 3) float32: all structures one after
        another. They are padded when the blocks are merged.
        """


@dataclass(frozen=True)
class Blocks:
    """The blocks of a job, in the folder `parts`."""

    work: Work
    parts: Path

    @property
    def size(self) -> int:
        """Rows of a block."""
        size = self.work.smallest_block
        while len(self.work) > MOST_BLOCKS * size:
            size *= 2
        return size

    def __len__(self) -> int:
        return -(-len(self.work) // self.size)

    def span(self, b: int) -> tuple[int, int]:
        """First row of block `b`, and the one after its last."""
        return b * self.size, min((b + 1) * self.size, len(self.work))

    def path(self, b: int) -> Path:
        return self.parts / f"{b:06d}.h5"

    def share(self, worker: int, workers: int) -> range:
        """Blocks of one of several workers."""
        return range(worker, len(self), workers)

    def write(self, b: int, columns: Arrays) -> None:
        """Write a block: whole, or not at all.

        The file is built in memory and written with one plain call: HDF5 cannot close a file cleanly on a full disk.

        Raises
        ------
        LaunchError
            If the disk is full or the folder cannot be written.
        """
        first, last = self.span(b)
        room = sum(values.nbytes for values in columns.values()) + (1 << 16)
        # The name has to differ between the files that are open at a time.
        with h5py.File(f"block {b}", "w", driver="core", backing_store=False, block_size=room) as file:
            file.attrs.update(
                {
                    "format": BLOCK_FORMAT,
                    "format_version": BLOCK_VERSION,
                    "job": self.work.settings,
                    "first": first,
                    "last": last,
                    "input": self.work.identity(first, last),
                }
            )
            for name, values in columns.items():
                file.create_dataset(name, data=values).attrs["crc32"] = np.uint32(checksum(values))
            file.flush()
            image = file.id.get_file_image()
        try:
            with atomic_path(self.path(b)) as temporary:
                temporary.write_bytes(image)
        except OSError as error:
            raise LaunchError(
                f"{self.path(b)}: cannot be written ({error.strerror}); put that right and run the same command again"
            ) from None

    def read(self, b: int) -> tuple[Arrays, str]:
        """Columns of a block and the digest of its input, checked against its checksums, this job and the input.

        Raises
        ------
        DataError
            Saying what is wrong with it.
        """
        first, last = self.span(b)
        try:
            with h5py.File(self.path(b), "r", locking=False) as file:
                self._check_header(file, b)
                columns: Arrays = {name: file[name][()] for name in file}
                sums = {name: int(file[name].attrs["crc32"]) for name in file}
                known = str(file.attrs["input"])
        except FileNotFoundError:
            raise DataError(f"{self.path(b)}: missing") from None
        except _DAMAGE as error:
            raise DataError(f"{self.path(b)}: damaged ({error})") from None
        for name, values in columns.items():
            if checksum(values) != sums[name]:
                raise DataError(f"{self.path(b)}: {name} fails its checksum")
            expected = int(np.sum(columns.get("n_atoms", 0))) if name == "positions" else last - first
            if len(values) != expected:
                raise DataError(f"{self.path(b)}: {name} has {len(values)} rows, expected {expected}")
        if not np.array_equal(columns.get("row", []), self.work.rows(first, last)):
            raise DataError(f"{self.path(b)}: holds other rows than {first} to {last - 1}")
        if known != self.work.identity(first, last):
            raise DataError(f"{self.path(b)}: was made from other PDFs")
        return columns, known

    def _check_header(self, file: h5py.File, b: int) -> None:
        first, last = self.span(b)
        found = [file.attrs.get(name) for name in ("format", "format_version", "job")]
        if found != [BLOCK_FORMAT, BLOCK_VERSION, self.work.settings]:
            raise DataError(f"{self.path(b)}: belongs to another job")
        if (file.attrs["first"], file.attrs["last"]) != (first, last):
            raise DataError(f"{self.path(b)}: holds rows {file.attrs['first']} to {file.attrs['last'] - 1}")

    def is_done(self, b: int) -> bool:
        """Whether a block is there and sound."""
        try:
            self.read(b)
        except DataError as error:
            if self.path(b).exists():
                log.warning("%s; made again", error)
            return False
        return True

    def largest(self, b: int) -> int:
        """Atoms of the largest structure of a block, or -1 where there is no block of this job."""
        try:
            with h5py.File(self.path(b), "r", locking=False) as file:
                self._check_header(file, b)
                return int(file["n_atoms"][()].max(initial=0))
        except (*_DAMAGE, DataError):
            return -1

    def inputs(self) -> str:
        """Digest of all input rows."""
        state = hashlib.blake2b(digest_size=16)
        for b in range(len(self)):
            state.update(self.work.identity(*self.span(b)).encode())
        return state.hexdigest()


def compute(blocks: Blocks, mine: Sequence[int], context: Context, *, n_threads: int = 1) -> int:
    """Compute those of the blocks `mine` that are not done yet, `n_threads` at a time; returns their rows.

    Raises
    ------
    LaunchError
        When a signal asked to stop. Running blocks are finished first, unless the work halts by itself.
    """
    pending = [b for b in mine if not blocks.is_done(b)]
    start, told, done = time.monotonic(), 0.0, 0
    with contextlib.closing(_computed(blocks, pending, context, n_threads)) as finished:
        for count, rows in enumerate(finished, start=1):
            done += rows
            spent = time.monotonic() - start
            if spent - told > _TELL_EVERY or count == len(pending):
                told = spent
                left = (len(pending) - count) * spent / count
                log.info(
                    "reconstruct: %d of %d blocks here, %.4g rows/s, %.0f s left",
                    count,
                    len(pending),
                    done / spent,
                    left,
                )
    if context.stop:
        raise LaunchError(f"{blocks.parts}: stopped by a signal; run the same command again to go on")
    return done


def _computed(blocks: Blocks, pending: Sequence[int], context: Context, n_threads: int) -> Generator[int, None, None]:
    """Compute blocks and yield the rows of each when it is written; ends early when the context stops."""

    def one(b: int, halted: Callable[[], bool]) -> int:
        first, last = blocks.span(b)
        columns = None if halted() else blocks.work.compute(first, last, halted)
        if columns is None:
            return 0
        blocks.write(b, columns)
        return last - first

    if n_threads == 1:
        for b in pending:
            rows = one(b, context.stopping)
            if not rows:
                return
            yield rows
        return
    halt = Event()
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: set[Future[int]] = {pool.submit(one, b, halt.is_set) for b in pending}
        try:
            while waiting:
                # Only this thread may ask: signals and messages of other ranks arrive here.
                if context.stopping():
                    halt.set()
                ready, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
                yield from (rows for future in ready if (rows := future.result()))
        finally:
            halt.set()


def merge(blocks: Blocks, out: Path) -> None:
    """Join all blocks into the file `out`, one after the other, and delete them once it is safely there.

    Raises
    ------
    DataError
        If a block is missing or damaged, or its rows are not those that are due. Nothing is written then.
    LaunchError
        If there is not room enough on the disk.
    """
    sizes = [blocks.largest(b) for b in range(len(blocks))]
    absent = [b for b, found in enumerate(sizes) if found < 0]
    if absent:
        first, last = blocks.span(absent[0])
        raise DataError(
            f"{blocks.parts}: {len(absent)} of {len(blocks)} blocks are missing or damaged, the first "
            f"{blocks.path(absent[0]).name} (rows {first} to {last - 1}); run the same command again to make them"
        )
    width = max(1, *sizes)
    try:
        with atomic_path(out) as temporary, h5py.File(temporary, "w") as file:
            _fill(file, blocks, width)
    except RuntimeError as error:
        raise LaunchError(f"{out}: cannot be written ({str(error).splitlines()[0]}); is the disk full?") from None
    _sync(out.parent)
    shutil.rmtree(blocks.parts)


def _fill(file: h5py.File, blocks: Blocks, width: int) -> None:
    n = len(blocks.work)
    state = hashlib.blake2b(digest_size=16)
    for b in range(len(blocks)):
        columns, identity = blocks.read(b)
        first, last = blocks.span(b)
        columns["positions"] = _padded(columns["positions"], columns["n_atoms"], width)
        if b == 0:
            _check_room(file, columns, n)
            for name, values in columns.items():
                file.create_dataset(name, (n, *values.shape[1:]), values.dtype, fill_time="never")
        for name, values in columns.items():
            file[name][first:last] = values
        state.update(identity.encode())
    for name, values in blocks.work.constants.items():
        file.create_dataset(name, data=values)
    for name in file:
        file[name].attrs["units"] = UNITS.get(name, "1")
    file.attrs.update(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "job": blocks.work.settings,
            "inputs": state.hexdigest(),
            **blocks.work.attributes,
        }
    )


def _padded(atoms: NDArray[np.float32], counts: NDArray[np.integer[Any]], width: int) -> NDArray[np.float32]:
    """Structures one after another as (n, width, 3), padded with NaN."""
    out = np.full((len(counts), width, 3), np.nan, dtype=np.float32)
    # The three numbers of an atom move as one.
    out.view(_ATOM)[np.arange(width) < counts[:, None]] = np.ascontiguousarray(atoms).view(_ATOM)
    return out


def _check_room(file: h5py.File, columns: Arrays, n: int) -> None:
    needed = n * sum(values[:1].nbytes for values in columns.values())
    folder = Path(file.filename).parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LaunchError(
            f"{folder}: {needed / 1e9:.2f} GB needed for the results, {free / 1e9:.2f} GB free; make room"
        )


def _sync(folder: Path) -> None:
    """Make a renaming in `folder` last through a crash."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_merged(blocks: Blocks, out: Path) -> bool:
    """Whether `out` holds the results of this job, made from the input as it is now."""
    try:
        with h5py.File(out, "r", locking=False) as file:
            if file.attrs.get("job") != blocks.work.settings or len(file["row"]) != len(blocks.work):
                return False
            known = file.attrs.get("inputs")
    except _DAMAGE:
        return False
    return bool(known == blocks.inputs())
