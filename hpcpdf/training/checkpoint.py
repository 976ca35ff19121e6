"""Checkpoints: everything that is needed to go on as if nothing had happened."""

from __future__ import annotations

import io
import logging
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from hpcpdf.errors import DataError
from hpcpdf.stage import atomic_path

log = logging.getLogger(__name__)

_KEPT = 2
_NAME = re.compile(r"checkpoint-(\d+)\.pt")


def save_checkpoint(folder: Path, number: int, state: dict[str, Any]) -> Path:
    """Write a training state atomically as ``checkpoint-<number>.pt`` and remove all but the newest two.

    Raises
    ------
    DataError
        If the disk does not take it; the earlier ones stay.
    """
    path = folder / f"checkpoint-{number:09d}.pt"
    # By way of memory: torch turns a full disk into an error of its own that does not name it.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())
        for _, old in checkpoints(folder)[_KEPT:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path}: checkpoint of {len(buffer.getbuffer()) / 1e6:.1f} MB cannot be written ({error.strerror}); "
            "make room, then the same command goes on from the checkpoint before"
        ) from None
    return path


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Numbers and paths of the checkpoints in a folder, newest first."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("checkpoint-*.pt"))
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole, and its state on the CPU; None if there is none.

    Torn ones are set aside as ``.torn`` with a warning.
    """
    for _, path in checkpoints(folder):
        try:
            return path, load_checkpoint(path)
        except DataError as error:
            log.warning("%s", error)
            path.replace(path.with_suffix(".torn"))
    return None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training state, on the CPU.

    Raises
    ------
    DataError
        If it is torn, altered or not a checkpoint.
    """
    try:
        # torch does not look at the checksums that it writes.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(damaged)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if "settings" not in state:
            raise KeyError("settings")
    except (
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
    ) as error:
        # Only the kind of error: torch's texts are long and advise what does not help here.
        raise DataError(f"{path}: unreadable checkpoint skipped ({type(error).__name__})") from None
    return state
