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
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import live_work
import numpy as np
import pytest
from live_work import FastWork, follower, text_of

from hpcpdf.errors import ConfigError
from hpcpdf.live.entry import Entry, recorded
from hpcpdf.live.follow import Follower
from hpcpdf.live.watch import Watcher
from hpcpdf.report.solve_report import pdf_digest


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


def settle(one: Follower, number: int) -> None:
    """Until a file that came later is solved, so that everything before it has been looked at."""
    name = f"~last{number}.gr"
    (one.folder / name).write_text(text_of(number))
    until(lambda: states(one).get(name) == "solved")


def test_all_kinds_of_files_are_followed_each_with_a_folder_of_its_own(
    folder: Path, work: FastWork, tmp_path: Path
) -> None:
    q = np.arange(0.5, 20.0, 0.02)
    curve = np.sin(2.8 * q) * np.exp(-0.01 * q**2)
    for name, values in (("a.fq", curve), ("a.sq", 1.0 + curve / q), ("a.fq.gr", None), ("a.gr", None), ("a.GR", None)):
        rows = "".join(f"{x:.6f} {y:.8f}\n" for x, y in zip(q, values, strict=True)) if values is not None else ""
        (folder / name).write_text(rows or text_of(1))
    with following(follower(folder, tmp_path / "out", work)) as one:
        until(lambda: len(states(one)) == 5 and set(states(one).values()) == {"solved"})
    assert sorted(recorded(tmp_path / "out")) == ["a", "a.GR", "a.fq", "a.fq.gr", "a.sq"]
    assert Entry("live.json.gr").folder == "live.json.gr"


def test_a_file_written_in_pieces_is_solved_when_it_is_whole(folder: Path, work: FastWork, tmp_path: Path) -> None:
    text = text_of(1)
    # Ten looks at half a line are 10 s.
    with following(follower(folder, tmp_path / "out", work, interval=1.0)) as one:
        (folder / "a.gr").write_text(text[:155])
        until(lambda: states(one) == {"a.gr": "arriving"})
        with (folder / "a.gr").open("a") as handle:
            handle.write(text[155:])
        until(lambda: states(one) == {"a.gr": "solved"})
    assert [digest for _, digest in work.done()] == [pdf_digest(work.read(folder / "a.gr"))]


def test_rewritten_removed_and_unreadable(folder: Path, work: FastWork, tmp_path: Path) -> None:
    with following(follower(folder, tmp_path / "out", work)) as one:
        (folder / "a.gr").write_text(text_of(1))
        (folder / "bad.gr").write_text("not a pdf\n")
        until(lambda: states(one) == {"a.gr": "solved", "bad.gr": "failed"})
        message = one.entries()[1][1].message
        assert message.startswith("bad.gr: ")
        # Touched, it is the same; rewritten, it is another.
        os.utime(folder / "a.gr", (1e9, 1e9))
        settle(one, 100)
        assert len(work.done()) == 2
        (folder / "a.gr").write_text(text_of(2))
        (folder / "bad.gr").write_text(text_of(3))
        until(lambda: len(work.done()) == 4 and set(states(one).values()) == {"solved"})
        (folder / "bad.gr").unlink()
        until(lambda: not all(entry.present for entry in one.entries()[1]))
        # Back again, it is known.
        (folder / "bad.gr").write_text(text_of(3))
        until(lambda: all(entry.present for entry in one.entries()[1]))
        settle(one, 101)
    assert len(work.done()) == 5
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
    work.go.clear()
    with following(follower(folder, tmp_path / "out", work)) as one:
        (folder / "x.gr").write_text(text_of(1))
        assert work.held.wait(10.0)
        (folder / "x.gr").rename(folder / "y.gr")
        until(lambda: states(one) == {"x.gr": "solving", "y.gr": "arriving"})
        work.go.set()
        until(lambda: states(one) == {"y.gr": "solved"})
    assert len(work.done()) == 1


def test_a_file_rewritten_while_it_is_solved_is_solved_again(folder: Path, work: FastWork, tmp_path: Path) -> None:
    work.go.clear()
    out = tmp_path / "out"
    with following(follower(folder, out, work)) as one:
        (folder / "x.gr").write_text(text_of(1))
        assert work.held.wait(10.0)
        (folder / "x.gr").write_text(text_of(2))
        work.go.set()
        until(lambda: len(work.done()) == 2 and states(one) == {"x.gr": "solved"})
        settle(one, 100)
    assert work.done()[1][1] == recorded(out)["x"] == pdf_digest(work.read(folder / "x.gr"))
    assert len(work.done()) == 3


def test_a_lost_worker_costs_its_file_another_try_and_no_more(folder: Path, tmp_path: Path) -> None:
    class Dies(FastWork):
        def solve(self, path: Path, out: Path, neighbour: Path | None) -> dict:
            if path.stem != "c":
                with (tmp_path / path.stem).open("a") as tries:
                    tries.write("x")
                # What the pool says of a file whose process was killed.
                if path.stem == "a" or (tmp_path / path.stem).read_text() == "x":
                    raise BrokenProcessPool("gone")
            return super().solve(path, out, neighbour)

    for name in "abc":
        (folder / f"{name}.gr").write_text(text_of(ord(name)))
    with following(follower(folder, tmp_path / "out", Dies(tmp_path / "log"))) as one:
        until(lambda: states(one) == {"a.gr": "failed", "b.gr": "solved", "c.gr": "solved"})
        assert "ended twice" in one.entries()[1][0].message
    assert (tmp_path / "a").read_text() == "xx"


def test_one_that_fails_does_not_end_the_others(folder: Path, tmp_path: Path) -> None:
    class Divides(FastWork):
        def solve(self, path: Path, out: Path, neighbour: Path | None) -> dict:
            return {"rw": 1 / 0} if path.stem == "b" else super().solve(path, out, neighbour)

    for name in "abc":
        (folder / f"{name}.gr").write_text(text_of(ord(name)))
    with following(follower(folder, tmp_path / "out", Divides(tmp_path / "log"))) as one:
        until(lambda: states(one) == {"a.gr": "solved", "b.gr": "failed", "c.gr": "solved"})
        assert "unexpected ZeroDivisionError" in one.entries()[1][1].message


def test_files_begin_from_a_neighbour(folder: Path, work: FastWork, tmp_path: Path) -> None:
    with following(follower(folder, tmp_path / "out", work)) as one:
        for name in ("T2", "T10", "T100", "T5"):
            (folder / f"{name}.gr").write_text(text_of(len(name) + ord(name[-1])))
            until(lambda new=f"{name}.gr": set(states(one).values()) == {"solved"} and new in states(one))
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


def test_a_folder_that_holds_something_else_is_left_alone(folder: Path, work: FastWork, tmp_path: Path) -> None:
    (tmp_path / "out" / ".git.old").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"holds other files \(\.git\.old\)"):
        follower(folder, tmp_path / "out", work).run()
    assert (tmp_path / "out" / ".git.old").is_dir()


def test_without_its_memory_answers_are_known_by_their_folders(folder: Path, work: FastWork, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in "ab":
        (folder / f"{name}.gr").write_text(text_of(ord(name)))
    with following(follower(folder, out, work)) as one:
        until(lambda: set(states(one).values()) == {"solved"} and len(states(one)) == 2)
    (out / "live.json").write_text("{")
    # What a killed process leaves of an answer, and an answer that is none.
    (out / ".b.x7" / "new").mkdir(parents=True)
    (out / "b" / "provenance.json").write_text("{")
    with following(follower(folder, out, work)) as one:
        until(lambda: set(states(one).values()) == {"solved"} and len(states(one)) == 2)
    assert [name for name, _ in work.done()] == ["a.gr", "b.gr", "b.gr"]
    assert not (out / ".b.x7").exists()


@pytest.mark.slow
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
                    # Not behind a line: nobody could tell that one from a whole file.
                    cut = int(rng.choice([k for k in range(1, len(text)) if text[k - 1] != "\n"]))
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
            # Some are looked at as they are.
            time.sleep(float(rng.uniform(0.0, 0.1)))
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
        until(lambda: len(list(out.glob("scan_*"))) == 1000, 120.0)
    finally:
        process.kill()
        process.wait()
    assert sorted(recorded(out)) == [f"scan_{k:04d}" for k in range(1000)]
    whole = {path.stem: pdf_digest(work.read(path)) for path in folder.glob("*.gr")}
    assert recorded(out) == whole
    solved = Counter(digest for _, digest in work.done() if digest in set(whole.values()))
    assert max(solved.values()) == 1
    # What was under way, two at a time, when the process was killed may have left its answer but no line in the log.
    assert len(solved) >= 1000 - 2 * 2
