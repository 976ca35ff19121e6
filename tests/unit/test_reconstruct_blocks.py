"""Blocks: whoever computes them and however often they are interrupted, the merged file is the same."""

from __future__ import annotations

import errno
import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpcpdf import DataError, LaunchError
from hpcpdf.reconstruct import blocks as blockwise
from hpcpdf.reconstruct.blocks import MOST_BLOCKS, Blocks, compute, is_merged, merge
from hpcpdf.reconstruct.results import read_results
from hpcpdf.stage import Context

N = 23


@dataclass
class Numbers:
    """Rows that are computed from nothing but their number and `data`."""

    data: np.ndarray = field(default_factory=lambda: np.random.default_rng(1).normal(size=N))
    settings: str = "these"
    smallest_block: int = 4
    constants: dict = field(default_factory=lambda: {"r": np.arange(3.0)})
    attributes: dict = field(default_factory=lambda: {"source": "here"})
    made: list = field(default_factory=list)

    def __len__(self):
        return len(self.data)

    def rows(self, first, last):
        return np.arange(100 + first, 100 + last)

    def identity(self, first, last):
        return hashlib.blake2b(self.data[first:last].tobytes()).hexdigest()

    def compute(self, first, last, halted):
        self.made.append(first // self.smallest_block)
        rng = np.random.default_rng(first)
        n_atoms = rng.integers(0, 5, last - first).astype(np.int16)
        return {
            "row": self.rows(first, last),
            "rw": self.data[first:last],
            "n_atoms": n_atoms,
            "positions": rng.normal(size=(n_atoms.sum(), 3)).astype(np.float32),
        }


@pytest.fixture
def work():
    return Numbers()


@pytest.fixture
def blocks(work, tmp_path):
    return Blocks(work, tmp_path / "out.parts")


def finish(blocks, workers=1, n_threads=1):
    for worker in range(workers):
        compute(blocks, blocks.share(worker, workers), Context(), n_threads=n_threads)
    merge(blocks, blocks.parts.parent / "out.h5")
    return blocks.parts.parent / "out.h5"


@pytest.fixture
def expected(tmp_path_factory):
    return finish(Blocks(Numbers(), tmp_path_factory.mktemp("whole") / "out.parts")).read_bytes()


def test_merged_file(blocks, work):
    found = read_results(finish(blocks))
    assert found["row"].tolist() == list(range(100, 100 + N))
    np.testing.assert_array_equal(found["rw"], work.data)
    np.testing.assert_array_equal(found["r"], [0.0, 1.0, 2.0])
    assert found["positions"].shape[1] == 4
    for b in range(len(blocks)):
        first, last = blocks.span(b)
        own = work.compute(first, last, lambda: False)
        ends = np.cumsum(own["n_atoms"])
        for k, (n, end) in enumerate(zip(own["n_atoms"], ends, strict=True)):
            np.testing.assert_array_equal(found["positions"][first + k, :n], own["positions"][end - n : end])
            assert np.isnan(found["positions"][first + k, n:]).all()
    assert [path.name for path in blocks.parts.parent.iterdir()] == ["out.h5"]


@pytest.mark.parametrize(("workers", "threads"), [(1, 3), (2, 1), (5, 2), (40, 1)])
def test_same_bytes_for_any_number_of_workers_and_threads(blocks, expected, workers, threads):
    assert finish(blocks, workers, threads).read_bytes() == expected


def test_other_numbers_of_workers_go_on_from_finished_blocks(blocks, work, expected):
    compute(blocks, blocks.share(1, 3), Context())
    assert work.made == [1, 4]
    work.made.clear()
    assert finish(blocks, workers=2).read_bytes() == expected
    assert work.made == [0, 2, 3, 5]


def torn(path):
    path.write_bytes(path.read_bytes()[:900])


def changed(path):
    with h5py.File(path, "r+") as file:
        file["rw"][1] += 1e-9


def of_another_job(path):
    with h5py.File(path, "r+") as file:
        file.attrs["job"] = "those"


@pytest.mark.parametrize("harm", [torn, changed, of_another_job, lambda path: path.unlink()])
def test_missing_and_damaged_blocks(blocks, work, expected, tmp_path, harm):
    compute(blocks, range(len(blocks)), Context())
    harm(blocks.path(3))
    with pytest.raises(DataError, match=r"000003\.h5"):
        merge(blocks, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()
    work.made.clear()
    assert finish(blocks).read_bytes() == expected
    assert work.made == [3]


def test_rows_that_come_twice_are_refused(blocks, tmp_path):
    compute(blocks, range(len(blocks)), Context())
    blocks.path(2).write_bytes(blocks.path(1).read_bytes())
    with pytest.raises(DataError, match=r"1 of 6 blocks .* 000002\.h5 \(rows 8 to 11\)"):
        merge(blocks, tmp_path / "out.h5")


def test_wrong_rows_under_a_right_header_are_refused(blocks, work, tmp_path, monkeypatch):
    compute(blocks, range(len(blocks)), Context())
    made = work.compute(8, 12, lambda: False)
    blocks.write(2, {**made, "row": np.array([108, 109, 109, 111])})
    with pytest.raises(DataError, match="other rows than 8 to 11"):
        merge(blocks, tmp_path / "out.h5")
    assert not list(tmp_path.glob("*.h5")) + list(tmp_path.glob(".out*"))
    assert len(list(blocks.parts.iterdir())) == len(blocks), "blocks are deleted only once the merged file is there"


def test_input_that_changed_is_noticed(blocks, work, tmp_path):
    out = finish(blocks)
    assert is_merged(blocks, out)
    work.data[5] += 1.0
    assert not is_merged(blocks, out)
    work.made.clear()
    compute(blocks, [0, 1], Context())
    work.data[6] += 1.0
    compute(blocks, [0, 1], Context())
    assert work.made == [0, 1, 1]


def test_other_settings_make_other_results(blocks, work):
    out = finish(blocks)
    work.settings = "those"
    assert not is_merged(blocks, out)


@pytest.mark.parametrize("threads", [1, 2])
def test_stops_after_the_running_blocks(blocks, work, expected, threads):
    context, inner = Context(), work.compute

    def stop_soon(first, last, halted):
        if len(work.made) == 2:
            context.stop = True
        return inner(first, last, halted)

    work.compute = stop_soon
    with pytest.raises(LaunchError, match="run the same command again"):
        compute(blocks, range(len(blocks)), context, n_threads=threads)
    made = len(list(blocks.parts.iterdir()))
    assert 3 <= made < len(blocks)
    del work.compute
    assert finish(blocks).read_bytes() == expected
    assert len(work.made) == len(blocks)


def test_an_error_in_a_thread_comes_out(blocks, work):
    started = threading.Event()

    def fail(first, last, halted):
        started.set()
        raise DataError("unreadable")

    work.compute = fail
    with pytest.raises(DataError, match="unreadable"):
        compute(blocks, range(len(blocks)), Context(), n_threads=2)
    assert started.is_set()


def test_number_of_files_is_bounded(tmp_path):
    for n in (1, 4 * MOST_BLOCKS, 4 * MOST_BLOCKS + 1, 10_000_000):
        blocks = Blocks(Numbers(data=np.empty(n)), tmp_path)
        assert len(blocks) <= MOST_BLOCKS
        assert blocks.span(len(blocks) - 1)[1] == n
        assert blocks.size == 4 or len(blocks) > MOST_BLOCKS // 2


def test_too_little_room_is_said_before_it_is_filled(blocks, monkeypatch, tmp_path):
    compute(blocks, range(len(blocks)), Context())

    class Full:
        free = 100

    monkeypatch.setattr(blockwise.shutil, "disk_usage", lambda folder: Full)
    with pytest.raises(LaunchError, match="make room"):
        merge(blocks, tmp_path / "out.h5")
    assert len(list(blocks.parts.iterdir())) == len(blocks)


def test_a_full_disk_keeps_what_is_done(blocks, work, expected, monkeypatch):
    write, room = Path.write_bytes, iter([True, True])

    def until_full(path, data):
        if not next(room, False):
            write(path, data[:500])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", until_full)
        with pytest.raises(LaunchError, match=r"000002\.h5: cannot be written \(No space left on device\)"):
            compute(blocks, range(len(blocks)), Context())
    assert sorted(path.name for path in blocks.parts.iterdir()) == ["000000.h5", "000001.h5"]
    work.made.clear()
    assert finish(blocks).read_bytes() == expected
    assert work.made == [2, 3, 4, 5]
