"""Follows a folder: every file that arrives is solved once, whatever happens to it or to this process."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any, Protocol

from hpcpdf.errors import ConfigError, HpcPdfError
from hpcpdf.live.entry import (
    LOCK,
    Entry,
    check_answers,
    digest_of,
    read_memory,
    recorded,
    remove_remains,
    write_memory,
)
from hpcpdf.live.watch import Watcher
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.report.solve_report import pdf_digest
from hpcpdf.series.pool import workers

log = logging.getLogger(__name__)

_MEMORY_EVERY = 1.0
"""Seconds at least between two writings of what is known, and ..."""
_MEMORY_SHARE = 0.05
"""... of the time at most that is spent on them."""
_ABOUT = ("temperature", "temp", "time", "position", "pos", "pressure", "potential")


class Solver(Protocol):
    """What is done with a file (`hpcpdf.live.work.Work`); may be sent to another process."""

    def read(self, path: Path) -> MeasuredPdf:
        """Read a file."""
        ...

    def solve(self, path: Path, out: Path, neighbour: Path | None) -> dict[str, Any]:
        """Solve a file into a folder, begun from the answer in another, and give its row of the trends.

        Leaves the folder whole, with the digest of the numbers that it read, or as it was.
        """
        ...

    def recall(self, path: Path, out: Path) -> dict[str, Any]:
        """The row of a file whose answer is there."""
        ...


class _Stop(Exception):
    """Leaves the workers at once."""


class Follower:
    """Watches a folder and solves its files.

    Parameters
    ----------
    folder
        Of the measured files.
    out
        Of the answers, one folder each: with the digest of the data in it, the record of what is done.
    work
        Reads and solves a file.
    settings
        What decides the answers; others than those of an earlier process are refused.
    at_once
        Files solved at a time.
    processes
        Whether in processes of their own.
    interval
        Seconds between two looks.
    """

    def __init__(
        self,
        folder: Path,
        out: Path,
        work: Solver,
        *,
        settings: Mapping[str, Any],
        at_once: int = 1,
        processes: bool = True,
        interval: float = 0.5,
    ) -> None:
        self.folder, self.out, self.interval = folder, out, interval
        self.version = 0
        self._work, self._settings = work, settings
        self._at_once, self._processes = at_once, processes
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._watcher = Watcher(folder)
        self._entries: dict[str, Entry] = {}
        self._record: dict[str, str] = {}
        self._arrivals: list[str] = []
        self._queue: list[Entry] = []
        self._under_way: dict[Future[dict[str, Any]], Entry] = {}
        self._crashed: set[str] = set()
        self._write_next, self._written = 0.0, -1

    def entries(self) -> tuple[int, list[Entry]]:
        """The version of what is known, and all of it, by the natural order of names."""
        with self._lock:
            return self.version, sorted(self._entries.values(), key=lambda entry: entry.order)

    def stop(self) -> None:
        """End soon; files under way are left as they were."""
        self._stop.set()

    def run(self) -> None:
        """Follow until `stop` is called.

        Raises
        ------
        ConfigError
            If the folder of the answers cannot be written, holds something else, is followed by another process, or
            has other settings.
        """
        with _alone(self.out):
            self._begin()
            while not self._stop.is_set():
                # Workers that were lost, to a lack of memory say, are started again.
                with (
                    contextlib.suppress(_Stop, BrokenExecutor),
                    workers(self._at_once, processes=self._processes) as pool,
                ):
                    self._follow(pool)
            self._remember(now=True)

    def _begin(self) -> None:
        remove_remains(self.out)
        known = read_memory(self.out, self._settings)
        self._record = recorded(self.out)
        with self._lock:
            for entry in known:
                if self._record.get(entry.folder) == entry.digest:
                    entry.present = False
                    self._entries[entry.name] = entry
            self.version += 1
        # Settings are on record before the first answer.
        write_memory(self.out, self._entries.values(), self._settings)

    def _follow(self, pool: Executor) -> None:
        while True:
            end = time.monotonic() + self.interval
            self._arrivals += self._watcher.look()
            self._note_presence()
            while self._arrivals:
                self._arrived(self._arrivals.pop(0))
                self._tend(pool)
            self._tend(pool)
            while (left := end - time.monotonic()) > 0.0:
                # What ends in between makes room for the next.
                self._stop.wait(min(left, 0.02 if self._under_way else left))
                self._tend(pool)

    def _tend(self, pool: Executor) -> None:
        if self._stop.is_set():
            raise _Stop
        self._collect()
        while self._queue and len(self._under_way) < self._at_once:
            entry = self._queue.pop(0)
            self._set(entry, state="solving")
            source, target = self.folder / entry.name, self.out / entry.folder
            self._under_way[pool.submit(self._work.solve, source, target, self._neighbour(entry))] = entry
        self._remember()

    def _note_presence(self) -> None:
        present = self._watcher.present
        for name in present - self._entries.keys():
            with self._lock:
                self._entries[name] = Entry(name)
                self.version += 1
        for entry in list(self._entries.values()):
            here = entry.name in present
            if here != entry.present:
                self._set(entry, present=here)
            if not here and entry.state in ("arriving", "waiting", "failed"):
                if entry in self._queue:
                    self._queue.remove(entry)
                self._forget(entry)

    def _arrived(self, name: str) -> None:
        """A file is whole: known, moved from another name, or to be solved."""
        entry, stamp = self._entries.get(name), self._watcher.stamp(name)
        if entry is None:
            # It went while workers were started again.
            return
        if entry.state == "solving":
            # Whatever it is now, it is looked at again when the answer to what it was is there.
            self._watcher.look_again(name)
            return
        if entry.stamp is not None and entry.stamp == stamp and entry.state in ("solved", "failed"):
            return
        try:
            pdf = self._work.read(self.folder / name)
        except (HpcPdfError, OSError) as error:
            self._set(entry, stamp=stamp)
            self._failed(entry, str(error))
            return
        digest = pdf_digest(pdf)
        if any(other.digest == digest and not other.present for other in self._under_way.values()):
            # It was renamed while it was solved.
            self._watcher.look_again(name)
            return
        about = {key: pdf.metadata[key] for key in _ABOUT if key in pdf.metadata}
        self._set(entry, stamp=stamp, digest=digest, header=about, message="")
        if self._record.get(entry.folder) != digest and not self._take_over(entry):
            self._wait(entry)
        elif entry.state != "solved" or entry.row is None:
            self._recall(entry)

    def _take_over(self, entry: Entry) -> bool:
        """Whether the answer is there under a name that the file had before."""
        for folder in [folder for folder, digest in self._record.items() if digest == entry.digest]:
            old = next((other for other in self._entries.values() if other.folder == folder), None)
            if old is not None and old.present:
                continue
            source, target = self.out / folder, self.out / entry.folder
            try:
                if self._record.pop(entry.folder, None) is not None:
                    shutil.rmtree(target)
                source.rename(target)
            except OSError:
                # Solving it again is never wrong.
                return False
            self._record[entry.folder] = self._record.pop(folder)
            if old is not None:
                self._forget(old)
            return True
        return False

    def _recall(self, entry: Entry) -> None:
        try:
            row = self._work.recall(self.folder / entry.name, self.out / entry.folder)
        except (HpcPdfError, OSError) as error:
            # A damaged answer is made again.
            log.info("%s: %s", entry.name, error)
            self._record.pop(entry.folder, None)
            self._wait(entry)
        else:
            self._set(entry, state="solved", row=row)

    def _wait(self, entry: Entry) -> None:
        self._set(entry, state="waiting", row=None)
        if entry not in self._queue:
            self._queue.append(entry)

    def _neighbour(self, entry: Entry) -> Path | None:
        """Folder of the answer to the file before it, or else after it, in the order of names."""
        others = [other for other in self._entries.values() if other.state == "solved" and other is not entry]
        before = max((one for one in others if one.order < entry.order), key=lambda one: one.order, default=None)
        after = min((one for one in others if one.order > entry.order), key=lambda one: one.order, default=None)
        found = before or after
        return None if found is None else self.out / found.folder

    def _collect(self) -> None:
        broken: BrokenExecutor | None = None
        for future in [future for future in self._under_way if future.done()]:
            entry = self._under_way.pop(future)
            try:
                row = future.result()
            except BrokenExecutor as error:
                broken = error
                # Those that were beside it are innocent; what ends its process twice is not tried again.
                if entry.name in self._crashed:
                    self._failed(entry, "the process that solved it ended twice; too little memory?")
                else:
                    self._crashed.add(entry.name)
                    self._wait(entry)
            except (HpcPdfError, OSError) as error:
                self._failed(entry, str(error))
            except Exception as error:  # one file must not end the others; its name and cause are shown
                log.exception("%s", entry.name)
                self._failed(entry, f"unexpected {type(error).__name__}: {error} (a defect of hpcpdf)")
            else:
                self._crashed.discard(entry.name)
                # Where it read other numbers than had arrived, the file has changed and will be told of again.
                self._record[entry.folder] = digest = digest_of(self.out / entry.folder)
                self._set(entry, state="solved", row=row, digest=digest, message="")
        if broken is not None:
            raise broken

    def _failed(self, entry: Entry, message: str) -> None:
        # The page says once which folder it is about.
        self._set(entry, state="failed", message=message.replace(f"{self.folder}{os.sep}", ""), row=None)

    def _set(self, entry: Entry, **values: Any) -> None:
        with self._lock:
            for key, value in values.items():
                setattr(entry, key, value)
            self.version += 1

    def _forget(self, entry: Entry) -> None:
        with self._lock:
            del self._entries[entry.name]
            self.version += 1

    def _remember(self, *, now: bool = False) -> None:
        start = time.monotonic()
        if self._written == self.version or (start < self._write_next and not now):
            return
        self._written = self.version
        # A full disk costs the next start some reading; answers that cannot be written are told with their files.
        with contextlib.suppress(OSError):
            write_memory(self.out, self._entries.values(), self._settings)
        done = time.monotonic()
        self._write_next = done + max(_MEMORY_EVERY, (done - start) / _MEMORY_SHARE)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Holds a folder; the lock goes with the process, however that ends."""
    try:
        check_answers(out)
        out.mkdir(parents=True, exist_ok=True)
        handle = (out / LOCK).open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}; choose another folder by --out") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{out}: another hpcpdf serve is at work there; stop it, or choose another --out"
            ) from None
        except OSError as error:
            raise ConfigError(f"{out}: cannot be locked: {error.strerror}; choose a local folder by --out") from None
        yield
