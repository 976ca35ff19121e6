"""What every stage shares: the context it runs in and the folder it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import hpcpdf
from hpcpdf.config import RunConfig
from hpcpdf.errors import ConfigError, DataError

DONE = "provenance.json"
"""Written last: its presence marks a finished artefact folder."""


@dataclass
class Context:
    """Where a stage runs: its rank among `world`, and whether it was asked to stop."""

    rank: int = 0
    world: int = 1
    stop: bool = field(default=False, repr=False)

    def stopping(self) -> bool:
        """Whether to end soon: a signal came, or another rank failed. Cheap: ask between samples."""
        return self.stop

    def gather(self, value: Any) -> list[Any]:
        """Wait for all ranks and give every one the `value` of each, in rank order."""
        return [value]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Run a body that all ranks enter: when one raises, all leave it with one error and none waits for ever."""
        yield


@contextlib.contextmanager
def stop_on_signals(context: Context) -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGUSR2 into `context.stop` while the body runs.

    A second SIGINT or SIGTERM acts as usual; SIGUSR2, which batch systems may send more than once, only asks again.
    Outside the main thread, where Python delivers no signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in caught}

    def restore(number: int) -> None:
        handler = before[signal.Signals(number)]
        signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def ask(number: int, frame: object) -> None:
        context.stop = True
        if number != signal.SIGUSR2:
            restore(number)

    for number in caught:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number in caught:
            restore(number)


def sample_rng(seed: int, sample_id: int, *more: int) -> np.random.Generator:
    """Random stream of one sample; the same for any number of ranks."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(sample_id, *more)))


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success flush it to disk and rename it into place.

    The temporary file is removed when the body raises, so nothing half written is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, data: Any) -> None:
    """Write JSON atomically; numpy scalars and paths are accepted."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def provenance() -> dict[str, Any]:
    """Version, commit, host, command and time of this process."""
    return {
        "hpcpdf": hpcpdf.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "host": platform.node(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "command": sys.argv,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _commit() -> str | None:
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def relevant(config: RunConfig, *sections: str) -> dict[str, Any]:
    """The part of a configuration that decides an artefact, as plain JSON data (`run.out` left out)."""
    data = config.model_dump(mode="json")
    part = {name: data[name] for name in sections}
    part["run"] = {"seed": config.run.seed}
    return part


def is_finished(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether `folder` holds a finished artefact made with the same settings.

    Raises
    ------
    ConfigError
        If it holds one made with other settings: results are never mixed or silently replaced.
    """
    marker = folder / DONE
    if not marker.exists():
        return False
    try:
        found = json.loads(marker.read_text())["settings"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise DataError(f"{marker}: damaged; delete {folder} to make it again") from None
    if found != json.loads(json.dumps(settings, default=_plain)):
        changed = sorted(k for k in {*found, *settings} if found.get(k) != settings.get(k))
        raise ConfigError(
            f"{folder}: was made with other settings in [{'], ['.join(changed)}]; choose another run.out or delete it"
        )
    return True


def mark_finished(folder: Path, settings: dict[str, Any], **more: Any) -> None:
    """Write the artefact's provenance; call it last."""
    write_json(folder / DONE, {"settings": settings, "provenance": provenance(), **more})
