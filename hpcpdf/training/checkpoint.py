"""Checkpoints: everything that is needed to go on as if nothing had happened."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from hpcpdf.stage import atomic_path

log = logging.getLogger(__name__)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write the training state and the random generator's atomically."""
    with atomic_path(path) as temporary:
        torch.save({**state, "rng": torch.get_rng_state()}, temporary)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a training state and set the random generator; None if there is none that can be read."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        torch.set_rng_state(state["rng"])
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        # Only the kind of error: torch's texts are long and advise what does not help here.
        log.warning("%s: unreadable checkpoint skipped (%s); training starts again", path, type(error).__name__)
        return None
    return state
