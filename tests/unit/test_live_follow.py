"""A followed folder: half-written, renamed, rewritten, removed and dropped files, and a process that is killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import live_work
import numpy as np
import pytest
from live_work import FastWork, follower, text_of

from hpcpdf.errors import ConfigError
from hpcpdf.live.entry import recorded
from hpcpdf.live.follow import Follower
from hpcpdf.live.watch import Watcher


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


@pytest.fixture
def work(tmp_path: Path) -> FastWork:
    return FastWork(tmp_path / "log")


@contextlib.contextmanager
def following(one: Follower) -> Iterator[Follower]:
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield one
    finally:
        one.stop()
        thread.join(10.0)
        assert not thread.is_alive()


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def states(one: Follower) -> dict[str, str]:
    return {entry.name: entry.state for entry in one.entries()[1]}


def test_a_file_is_whole_when_it_has_not_changed_for_two_looks(folder: Path) -> None:
    watcher = Watcher(folder)
    (folder / "a.gr").write_text("1 2\n")
    (folder / "b.txt").write_text("1 2\n")
    (folder / ".c.gr").write_text("1 2\n")
    (folder / "d.gr").mkdir()
    (folder / "empty.gr").touch()
    assert [watcher.look() for _ in range(4)] == [[], ["a.gr"], [], []]
    assert watcher.present == {"a.gr", "empty.gr"}
    (folder / "a.gr").write_text("1 2\n3 4\n")
    assert [watcher.look() for _ in range(3)] == [[], ["a.gr"], []]
    # A last line without an end may be half a line.
    (folder / "a.gr").write_text("1 2\n3 4\n5")
    assert [len(watcher.look()) for _ in range(11)] == [*[0] * 9, 1, 0]
    watcher.look_again("a.gr")
    assert watcher.look() == ["a.gr"]
    (folder / "a.gr").unlink()
    assert watcher.look() == []
    assert watcher.present == {"empty.gr"}


def test_a_file_written_in_pieces_is_solved_when_it_is_whole(folder: Path, work: FastWork, tmp_path: Path) -> None:
    text = text_of(1)
    with following(follower(folder, tmp_path / "out", work)) as one, (folder / "a.gr").open("w") as handle:
        for k in range(0, len(text), 40):
            handle.write(text[k : k + 40])
            handle.flush()
            time.sleep(0.03)
        until(lambda: states(one) == {"a.gr": "solved"})
    assert len(work.done()) == 1


def test_rewritten_removed_and_unreadable(folder: Path, work: FastWork, tmp_path: Path) -> None:
    with following(follower(folder, tmp_path / "out", work)) as one:
        (folder / "a.gr").write_text(text_of(1))
        (folder / "bad.gr").write_text("not a pdf\n")
        until(lambda: states(one) == {"a.gr": "solved", "bad.gr": "failed"})
        message = one.entries()[1][1].message
        assert "bad.gr" in message
        # Touched, it is the same; rewritten, it is another.
        os.utime(folder / "a.gr", (1e9, 1e9))
        time.sleep(0.3)
        assert len(work.done()) == 1
        (folder / "a.gr").write_text(text_of(2))
        (folder / "bad.gr").write_text(text_of(3))
        until(lambda: len(work.done()) == 3 and set(states(one).values()) == {"solved"})
        (folder / "bad.gr").unlink()
        until(lambda: not all(entry.present for entry in one.entries()[1]))
        # Back again, it is known.
        (folder / "bad.gr").write_text(text_of(3))
        until(lambda: all(entry.present for entry in one.entries()[1]))
        time.sleep(0.3)
    assert len(work.done()) == 3
    assert set(states(one).values()) == {"solved"}


def test_a_file_renamed_after_it_was_solved_keeps_its_answer(folder: Path, work: FastWork, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with following(follower(folder, out, work)) as one:
        (folder / "x.gr").write_text(text_of(1))
        until(lambda: states(one) == {"x.gr": "solved"})
        (folder / "x.gr").rename(folder / "x_300K.gr")
        until(lambda: states(one) == {"x_300K.gr": "solved"})
    assert list(recorded(out)) == ["x_300K"]
    # The same while nobody looked; a copy is a file of its own.
    (folder / "x_300K.gr").rename(folder / "y.gr")
    with following(follower(folder, out, work)) as one:
        until(lambda: states(one) == {"y.gr": "solved"})
        assert len(work.done()) == 1
        (folder / "z.gr").write_text(text_of(1))
        until(lambda: states(one) == {"y.gr": "solved", "z.gr": "solved"})
    assert sorted(recorded(out)) == ["y", "z"]
    assert len(work.done()) == 2


def test_a_file_renamed_while_it_is_solved_is_solved_once(folder: Path, work: FastWork, tmp_path: Path) -> None:
    work.seconds = 0.5
    with following(follower(folder, tmp_path / "out", work)) as one:
        (folder / "x.gr").write_text(text_of(1))
        until(lambda: states(one).get("x.gr") == "solving")
        time.sleep(0.1)
        (folder / "x.gr").rename(folder / "y.gr")
        until(lambda: states(one) == {"y.gr": "solved"})
    assert len(work.done()) == 1


def test_a_file_rewritten_while_it_is_solved_is_solved_again(folder: Path, work: FastWork, tmp_path: Path) -> None:
    work.seconds = 0.4
    out = tmp_path / "out"
    with following(follower(folder, out, work)) as one:
        (folder / "x.gr").write_text(text_of(1))
        until(lambda: states(one).get("x.gr") == "solving")
        time.sleep(0.1)
        (folder / "x.gr").write_text(text_of(2))
        until(lambda: len(work.done()) == 2 and states(one) == {"x.gr": "solved"})
        time.sleep(0.3)
    assert [digest for _, digest in work.done()][-1] == recorded(out)["x"]
    assert len(work.done()) == 2


def test_one_that_fails_does_not_end_the_others(folder: Path, work: FastWork, tmp_path: Path) -> None:
    def solve(path: Path, out: Path, neighbour: Path | None) -> dict:
        if path.stem == "b":
            raise ZeroDivisionError("b")
        return work(path, out, neighbour)

    for name in "abc":
        (folder / f"{name}.gr").write_text(text_of(ord(name)))
    one = Follower(folder, tmp_path / "out", solve, work.recall, settings={}, processes=False, interval=0.05)
    with following(one):
        until(lambda: states(one) == {"a.gr": "solved", "b.gr": "failed", "c.gr": "solved"})
        assert "unexpected ZeroDivisionError" in one.entries()[1][1].message


def test_files_begin_from_a_neighbour(folder: Path, work: FastWork, tmp_path: Path) -> None:
    with following(follower(folder, tmp_path / "out", work)) as one:
        for name in ("T2", "T10", "T100", "T5"):
            (folder / f"{name}.gr").write_text(text_of(len(name) + ord(name[-1])))
            until(lambda: set(states(one).values()) == {"solved"} and f"{name}.gr" in states(one))  # noqa: B023
    begun = [line.split(" ")[2] for line in work.log.read_text().splitlines()]
    assert begun == ["", "T2", "T10", "T2"]


def test_one_process_at_a_time_and_the_same_settings(folder: Path, work: FastWork, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with following(follower(folder, out, work)):
        until(lambda: (out / "live.json").exists())
        with pytest.raises(ConfigError, match="another hpcpdf serve"):
            follower(folder, out, work).run()
    with pytest.raises(ConfigError, match="another element"):
        follower(folder, out, work, settings={"element": "Au"}).run()


def test_a_thousand_files_in_bursts_and_two_kills(folder: Path, tmp_path: Path) -> None:
    out, work = tmp_path / "out", FastWork(tmp_path / "log")
    rng = np.random.default_rng(4)
    command = [sys.executable, live_work.__file__, str(folder), str(out), str(work.log)]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command)

    process = start()
    try:
        for burst in range(10):
            torn, late = [], []
            for k in range(100 * burst, 100 * burst + 100):
                name, text, kind = folder / f"scan_{k:04d}.gr", text_of(k), rng.integers(10)
                if kind == 0:
                    cut = int(rng.integers(1, len(text)))
                    name.write_text(text[:cut])
                    torn.append((name, text[cut:]))
                elif kind == 1:
                    name.with_suffix(".part").write_text(text)
                    late.append((name.with_suffix(".part"), name))
                elif kind == 2:
                    name.with_name(f"tmp{k}.gr").write_text(text)
                    late.append((name.with_name(f"tmp{k}.gr"), name))
                else:
                    name.write_text(text)
            time.sleep(0.05)
            for name, rest in torn:
                with name.open("a") as handle:
                    handle.write(rest)
            for name, last in late:
                name.rename(last)
            if burst in (3, 7):
                until(lambda burst=burst: len(work.done()) > 60 * burst, 120.0)
                process.kill()
                process.wait()
                process = start()
        until(lambda: len(recorded(out)) == 1000, 120.0)
        time.sleep(0.3)
    finally:
        process.kill()
        process.wait()
    assert sorted(recorded(out)) == [f"scan_{k:04d}" for k in range(1000)]
    digests = Counter(digest for _, digest in work.done())
    # Whatever was under way when the process was killed left no answer, or no line in the log.
    assert len(digests.keys() & set(recorded(out).values())) >= 1000 - 2 * 2
    assert max(digests.values()) == 1
    assert len(list(out.glob(".*.*"))) == 0
