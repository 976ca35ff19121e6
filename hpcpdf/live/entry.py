"""What is known of one followed file, and of all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any, Literal

from hpcpdf.errors import ConfigError
from hpcpdf.live.watch import Stamp
from hpcpdf.stage import DONE, write_json

State = Literal["arriving", "waiting", "solving", "solved", "failed"]

MEMORY = "live.json"
"""What spares a restart from reading all files again; the folders of the answers are the record."""
_FORMAT = "hpcpdf-live"


@dataclass
class Entry:
    """One file.

    Attributes
    ----------
    name : str
        Of the file.
    state : str
        ``arriving`` until it is whole, then ``waiting`` for its turn, ``solving``, ``solved``, or ``failed``.
    present : bool
        Whether it is in the folder still.
    message : str
        Why it failed.
    stamp : Stamp or None
        Of what `digest` was taken from.
    digest : str
        Of its numbers (`hpcpdf.report.solve_report.pdf_digest`).
    header : dict
        What its header says of where it stands in a series.
    row : dict or None
        Of the trends.
    """

    name: str
    state: State = "arriving"
    present: bool = True
    message: str = ""
    stamp: Stamp | None = None
    digest: str = ""
    header: dict[str, str] = field(default_factory=dict)
    row: dict[str, Any] | None = None

    @property
    def folder(self) -> str:
        """Name of the folder of its answer."""
        path = PurePath(self.name)
        # On a drive that tells cases apart, a.gr and a.GR are two files.
        return path.stem if path.suffix == ".gr" else self.name


def recorded(out: Path) -> dict[str, str]:
    """Digests of the answers in a folder, by the names of their folders."""
    found = {}
    for marker in out.glob(f"*/{DONE}"):
        digest = digest_of(marker.parent)
        if digest:
            found[marker.parent.name] = digest
    return found


def digest_of(answer: Path) -> str:
    """Of the data that an answer belongs to; "" where there is no whole answer."""
    try:
        return str(json.loads((answer / DONE).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def write_memory(out: Path, entries: Mapping[str, Entry], settings: Mapping[str, Any]) -> None:
    """Keep what is known of solved files; a failure may have had to do with the process, and is tried again."""
    kept = [asdict(entry) for entry in entries.values() if entry.state == "solved"]
    write_json(out / MEMORY, {"format": _FORMAT, "settings": dict(settings), "files": kept})


def read_memory(out: Path, settings: Mapping[str, Any]) -> dict[str, Entry]:
    """What an earlier process knew; nothing where it left nothing, or it is damaged.

    Raises
    ------
    ConfigError
        If it followed the folder with other settings: results are never mixed.
    """
    try:
        found = json.loads((out / MEMORY).read_text(encoding="utf-8"))
        if found["format"] != _FORMAT:
            return {}
        before = dict(found["settings"])
        entries = {}
        for item in found["files"]:
            stamp = item.pop("stamp")
            entry = Entry(**item, stamp=None if stamp is None else Stamp(**stamp))
            entries[entry.name] = entry
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    now = json.loads(json.dumps(dict(settings)))
    if before != now:
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        raise ConfigError(
            f"{out}: holds answers made with another {changed[0]} ({before.get(changed[0])!r}, now "
            f"{now.get(changed[0])!r}); choose another folder for --out or delete it"
        )
    return entries
