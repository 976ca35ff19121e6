"""Which files of a folder are there, and whole: by looking again, as network drives tell nobody of their changes."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from hpcpdf.pdf.fq import ENDINGS

_LOOKS, _LOOKS_CUT = 2, 10
"""Looks at which a file must be the same to be whole; one that does not end in a new line may still be written."""


@dataclass(frozen=True)
class Stamp:
    """What tells a file's content from an earlier one without reading it."""

    size: int
    mtime_ns: int
    inode: int


@dataclass
class _Seen:
    stamp: Stamp
    looks: int = 1
    told: bool = False


class Watcher:
    """Looks at a folder now and then.

    Parameters
    ----------
    folder
        Its own files alone; folders in it are left alone, and files whose names begin with a dot.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, _Seen] = {}

    @property
    def present(self) -> set[str]:
        """Names that the last look found."""
        return set(self._seen)

    def stamp(self, name: str) -> Stamp | None:
        """Of a file at the last look."""
        seen = self._seen.get(name)
        return None if seen is None else seen.stamp

    def look(self) -> list[str]:
        """Names of files that are whole now and were not told of since they last changed, sorted.

        A folder that cannot be read, a drive that went away, has no files until it comes back.
        """
        found: dict[str, Stamp] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if is_followed(entry.name):
                        stamp = _stamp(entry)
                        if stamp is not None:
                            found[entry.name] = stamp
        except OSError:
            found = {}
        whole = []
        for name in sorted(found):
            seen = self._seen.get(name)
            if seen is None or seen.stamp != found[name]:
                self._seen[name] = _Seen(found[name])
                continue
            if seen.told or seen.stamp.size == 0:
                continue
            seen.looks += 1
            if seen.looks >= _LOOKS_CUT or (seen.looks >= _LOOKS and self._ends(name)):
                seen.told = True
                whole.append(name)
        for name in self._seen.keys() - found.keys():
            del self._seen[name]
        return whole

    def look_again(self, name: str) -> None:
        """Tell of a file once more at the next look."""
        if name in self._seen:
            self._seen[name].told = False

    def _ends(self, name: str) -> bool:
        try:
            with (self.folder / name).open("rb") as handle:
                handle.seek(-1, os.SEEK_END)
                return handle.read(1) in (b"\n", b"\r")
        except OSError:
            return False


def is_followed(name: str) -> bool:
    """Whether a file of this name is: one that ends in .gr, .fq or .sq, in any case, and is not hidden."""
    return not name.startswith(".") and name.lower().endswith(ENDINGS)


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    try:
        status = entry.stat()
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino) if stat.S_ISREG(status.st_mode) else None
