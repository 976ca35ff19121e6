"""What is known of one followed file, and of all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any, Literal

from hpcpdf.errors import ConfigError
from hpcpdf.live.watch import Stamp, is_followed
from hpcpdf.series.axis import natural_key
from hpcpdf.stage import DONE, write_json

State = Literal["arriving", "waiting", "solving", "solved", "failed"]

MEMORY = "live.json"
"""Spares a restart from reading all files again; the folders of the answers are the record."""
LOCK = ".lock"
_FORMAT = "hpcpdf-live"


@dataclass(eq=False)
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
    order : tuple
        Its place among others, by the natural order of names.
    folder : str
        Name of the folder of its answer; no two names share one.
    """

    name: str
    state: State = "arriving"
    present: bool = True
    message: str = ""
    stamp: Stamp | None = None
    digest: str = ""
    header: dict[str, str] = field(default_factory=dict)
    row: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.order = (natural_key(self.name), self.name)
        path = PurePath(self.name)
        short = path.suffix == ".gr" and path.stem != MEMORY and not is_followed(path.stem)
        self.folder = path.stem if short else self.name


def recorded(out: Path) -> dict[str, str]:
    """Digests of the answers in a folder, by the names of their folders."""
    found = {marker.parent.name: digest_of(marker.parent) for marker in out.glob(f"*/{DONE}")}
    return {folder: digest for folder, digest in found.items() if digest}


def digest_of(answer: Path) -> str:
    """Of the data that an answer belongs to; "" where there is no whole answer."""
    try:
        return str(json.loads((answer / DONE).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def check_answers(out: Path) -> None:
    """Raise ConfigError if a folder holds something else than answers to a followed folder."""
    if not out.is_dir() or (out / MEMORY).exists():
        return
    foreign = sorted(path.name for path in out.iterdir() if path.name != LOCK)
    if foreign:
        raise ConfigError(f"{out}: holds other files ({foreign[0]}); choose a new or empty folder for --out")


def remove_remains(out: Path) -> None:
    """Remove what a killed process left half done."""
    for path in out.glob(".*.*"):
        if path.is_dir() and {one.name for one in path.iterdir()} <= {"new", "old"}:
            shutil.rmtree(path, ignore_errors=True)


def write_memory(out: Path, entries: Iterable[Entry], settings: Mapping[str, Any]) -> None:
    """Keep what is known of solved files; a failure may have had to do with the process, and is tried again."""
    kept = [asdict(entry) for entry in entries if entry.state == "solved"]
    write_json(out / MEMORY, {"format": _FORMAT, "settings": dict(settings), "files": kept})


def read_memory(out: Path, settings: Mapping[str, Any]) -> list[Entry]:
    """What an earlier process knew; nothing where it left nothing, or it is damaged.

    Raises
    ------
    ConfigError
        If it followed the folder with other settings: results are never mixed.
    """
    try:
        found = json.loads((out / MEMORY).read_text(encoding="utf-8"))
        if found["format"] != _FORMAT:
            return []
        before, entries = dict(found["settings"]), []
        for item in found["files"]:
            stamp = item.pop("stamp")
            entries.append(Entry(**item, stamp=None if stamp is None else Stamp(**stamp)))
    except (OSError, ValueError, KeyError, TypeError):
        return []
    now = json.loads(json.dumps(dict(settings)))
    changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    if changed:
        raise ConfigError(
            f"{out}: holds answers made with another {changed[0]} ({before.get(changed[0])!r}, now "
            f"{now.get(changed[0])!r}); choose another folder for --out or delete it"
        )
    return entries
