"""Follows a folder: every file that arrives is solved once, whatever happens to it or to this process."""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any

from hpcpdf.errors import ConfigError, HpcPdfError
from hpcpdf.live.entry import Entry, digest_of, read_memory, recorded, write_memory
from hpcpdf.live.watch import Watcher
from hpcpdf.pdf.gr import MeasuredPdf, read_gr
from hpcpdf.report.solve_report import pdf_digest
from hpcpdf.series.axis import natural_key
from hpcpdf.series.pool import workers

log = logging.getLogger(__name__)

Solve = Callable[[Path, Path, Path | None], dict[str, Any]]
"""Solves a file (first) into a folder (second), beginning from the answer in another (third, or None); gives its row of
the trends. It must leave the folder whole or as it was, with the digest of the numbers that it read."""

Recall = Callable[[Path, Path], dict[str, Any]]
"""The row of a file (first) whose answer is in a folder (second)."""

_MEMORY_EVERY = 1.0
"""Seconds between two writings of what is known."""
_ABOUT = ("temperature", "temp", "time", "position", "pos", "pressure", "potential")


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
    solve, recall
        The work.
    settings
        What decides the answers; others than those of an earlier process are refused.
    read
        Reads a file, to tell whether it is one and whether it is known.
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
        solve: Solve,
        recall: Recall,
        *,
        settings: Mapping[str, Any],
        read: Callable[[Path], MeasuredPdf] = read_gr,
        at_once: int = 1,
        processes: bool = True,
        interval: float = 0.5,
    ) -> None:
        self.folder, self.out, self.interval = folder, out, interval
        self.version = 0
        self._solve, self._recall, self._read, self._settings = solve, recall, read, settings
        self._at_once, self._processes = at_once, processes
        self._entries: dict[str, Entry] = {}
        self._order: list[tuple[tuple[tuple[int, float, str], ...], str]] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._watcher = Watcher(folder)
        self._under_way: dict[Future[dict[str, Any]], Entry] = {}
        self._queue: list[str] = []
        self._record: dict[str, str] = {}
        self._written, self._memory_version = 0.0, 0

    def entries(self) -> tuple[int, list[Entry]]:
        """The version of what is known, and all of it, by the natural order of names."""
        with self._lock:
            return self.version, sorted(self._entries.values(), key=lambda entry: natural_key(entry.name))

    def stop(self) -> None:
        """End soon; files under way are left as they were."""
        self._stop.set()

    def run(self) -> None:
        """Follow until `stop` is called.

        Raises
        ------
        ConfigError
            If the folder of the answers cannot be written, is followed by another process, or has other settings.
        """
        with _alone(self.out):
            self._begin()
            while not self._stop.is_set():
                with (
                    contextlib.suppress(_Stop, BrokenExecutor),
                    workers(self._at_once, processes=self._processes) as pool,
                ):
                    self._follow(pool)
            self._remember(now=True)

    def _begin(self) -> None:
        # Whatever a killed process left half done.
        for path in self.out.glob(".*.*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        known = read_memory(self.out, self._settings)
        self._record = recorded(self.out)
        with self._lock:
            for entry in known.values():
                if self._record.get(entry.folder) == entry.digest:
                    entry.present = False
                    self._entries[entry.name] = entry
                    bisect.insort(self._order, (natural_key(entry.name), entry.name))
            self.version += 1
        # Settings are on record before the first answer.
        self._remember(now=True)

    def _follow(self, pool: Executor) -> None:
        while True:
            started = time.monotonic()
            whole = self._watcher.look()
            self._note_presence()
            for name in whole:
                self._arrived(name)
            while True:
                self._collect()
                self._submit(pool)
                self._remember()
                if self._stop.is_set():
                    raise _Stop
                left = self.interval - (time.monotonic() - started)
                if left <= 0.0:
                    break
                # What ends in between makes room for the next.
                self._stop.wait(min(left, 0.02 if self._under_way else left))

    def _note_presence(self) -> None:
        present = self._watcher.present
        with self._lock:
            for name in present - self._entries.keys():
                self._entries[name] = Entry(name)
                self.version += 1
            for entry in list(self._entries.values()):
                here = entry.name in present
                if here != entry.present:
                    entry.present = here
                    self.version += 1
                if not here and entry.state in ("arriving", "waiting", "failed"):
                    self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        if entry.name in self._queue:
            self._queue.remove(entry.name)
        self._entries.pop(entry.name, None)
        self.version += 1

    def _arrived(self, name: str) -> None:
        """A file is whole: known, moved from another name, or to be solved."""
        entry, stamp = self._entries[name], self._watcher.stamp(name)
        if entry.state == "solving":
            # Whatever it is now, it is looked at again when the answer to what it was is there.
            self._watcher.look_again(name)
            return
        if entry.stamp is not None and entry.stamp == stamp and entry.state in ("solved", "failed"):
            return
        try:
            pdf = self._read(self.folder / name)
        except HpcPdfError as error:
            self._failed(entry, str(error))
            self._set(entry, stamp=stamp)
            return
        digest = pdf_digest(pdf)
        if any(other.digest == digest and not other.present for other in self._under_way.values()):
            # It was renamed while it was solved.
            self._watcher.look_again(name)
            return
        self._set(entry, stamp=stamp, digest=digest, header=_about(pdf), message="")
        if self._record.get(entry.folder) == digest or self._take_over(entry):
            if entry.state != "solved" or entry.row is None:
                self._recalled(entry)
            return
        self._set(entry, state="waiting", row=None)
        if name not in self._queue:
            self._queue.append(name)

    def _take_over(self, entry: Entry) -> bool:
        """Whether the answer is there under a name that the file had before."""
        for folder, digest in self._record.items():
            if digest != entry.digest:
                continue
            old = next((other for other in self._entries.values() if other.folder == folder), None)
            if old is not None and old.present:
                continue
            target = self.out / entry.folder
            if target.exists():
                shutil.rmtree(target)
            (self.out / folder).rename(target)
            del self._record[folder]
            self._record[entry.folder] = digest
            with self._lock:
                if old is not None:
                    self._entries.pop(old.name)
                    self._unorder(old.name)
            return True
        return False

    def _recalled(self, entry: Entry) -> None:
        try:
            row = self._recall(self.folder / entry.name, self.out / entry.folder)
        except HpcPdfError as error:
            # A damaged answer is made again.
            log.info("%s: %s", entry.name, error)
            self._record.pop(entry.folder, None)
            self._set(entry, state="waiting", row=None)
            self._queue.append(entry.name)
            return
        self._solved(entry, row)

    def _submit(self, pool: Executor) -> None:
        while self._queue and len(self._under_way) < self._at_once:
            entry = self._entries[self._queue.pop(0)]
            self._set(entry, state="solving")
            begin = self._neighbour(entry)
            future = pool.submit(self._solve, self.folder / entry.name, self.out / entry.folder, begin)
            self._under_way[future] = entry

    def _neighbour(self, entry: Entry) -> Path | None:
        """Folder of the answer to the file before it, or else after it, in the order of names."""
        place = bisect.bisect_left(self._order, (natural_key(entry.name), entry.name))
        for other in (place - 1, place):
            if 0 <= other < len(self._order) and self._order[other][1] != entry.name:
                return self.out / self._entries[self._order[other][1]].folder
        return None

    def _collect(self) -> None:
        broken: BrokenExecutor | None = None
        for future in [future for future in self._under_way if future.done()]:
            entry = self._under_way.pop(future)
            try:
                row = future.result()
            except BrokenExecutor as error:
                broken = error
                self._failed(entry, "the process that solved it ended; too little memory?")
            except (HpcPdfError, OSError) as error:
                self._failed(entry, str(error))
            except Exception as error:  # one file must not end the others; its name and cause are shown
                log.exception("%s", entry.name)
                self._failed(entry, f"unexpected {type(error).__name__}: {error} (a defect of hpcpdf)")
            else:
                self._solved(entry, row)
        if broken is not None:
            raise broken

    def _failed(self, entry: Entry, message: str) -> None:
        # The page says once which folder it is about.
        self._set(entry, state="failed", message=message.replace(f"{self.folder}{os.sep}", ""), row=None)

    def _solved(self, entry: Entry, row: dict[str, Any]) -> None:
        self._record[entry.folder] = digest = digest_of(self.out / entry.folder)
        with self._lock:
            key = (natural_key(entry.name), entry.name)
            if not self._is_ordered(entry.name):
                bisect.insort(self._order, key)
        # Where it read other numbers than those that had arrived, the file has changed and will be told of again.
        self._set(entry, state="solved", row=row, digest=digest, message="")

    def _is_ordered(self, name: str) -> bool:
        place = bisect.bisect_left(self._order, (natural_key(name), name))
        return place < len(self._order) and self._order[place][1] == name

    def _unorder(self, name: str) -> None:
        if self._is_ordered(name):
            del self._order[bisect.bisect_left(self._order, (natural_key(name), name))]

    def _set(self, entry: Entry, **values: Any) -> None:
        with self._lock:
            for key, value in values.items():
                setattr(entry, key, value)
            self.version += 1

    def _remember(self, *, now: bool = False) -> None:
        if self._memory_version == self.version and not now:
            return
        if now or time.monotonic() - self._written > _MEMORY_EVERY:
            self._written, self._memory_version = time.monotonic(), self.version
            write_memory(self.out, self._entries, self._settings)


def _about(pdf: MeasuredPdf) -> dict[str, str]:
    return {key: pdf.metadata[key] for key in _ABOUT if key in pdf.metadata}


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Holds a folder; the lock goes with the process, however that ends."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = (out / ".lock").open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}; choose another folder by --out") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"{out}: another hpcpdf serve is at work there; stop it, or choose another --out"
            ) from None
        yield
