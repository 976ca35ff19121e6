"""What a training leaves to look at: one JSON line an epoch, and the same numbers for TensorBoard."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from hpcpdf.stage import atomic_path


class Metrics:
    """Writes ``metrics.jsonl`` and ``tensorboard/`` in `folder`, keeping the first `epochs` records of an earlier part.

    TensorBoard's file is made again from the records, so that an epoch that ran twice is there once.
    """

    def __init__(self, folder: Path, epochs: int) -> None:
        path = folder / "metrics.jsonl"
        kept = path.read_text().splitlines()[:epochs] if path.exists() else []
        with atomic_path(path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept))
        self._lines = path.open("a")
        board = folder / "tensorboard"
        board.mkdir(exist_ok=True)
        for old in board.glob("events.out.tfevents.*"):
            old.unlink()
        self._events = EventsWriter(str(board / "events"))
        # A board that shows the deleted file forgets what it read there.
        self._events.write_event(Event(wall_time=time.time(), step=0, session_log=SessionLog(status=SessionLog.START)))
        records = [json.loads(line) for line in kept]
        origin = time.time() - (records[-1]["seconds"] if records else 0.0)
        for record in records:
            self._write_events(record, origin + record["seconds"])
        self._events.flush()

    def write(self, record: dict[str, Any]) -> None:
        """Add an epoch: ``epoch``, ``learning_rate``, ``seconds``, and the parts of ``train`` and ``validation``."""
        self._lines.write(json.dumps(record) + "\n")
        self._lines.flush()
        self._write_events(record, time.time())
        self._events.flush()

    def sync(self) -> None:
        """Have on disk what was written: a checkpoint that counts these records follows."""
        os.fsync(self._lines.fileno())

    def close(self) -> None:
        self._lines.close()
        self._events.close()

    def _write_events(self, record: dict[str, Any], when: float) -> None:
        for name, value in _scalars(record):
            self._events.write_event(Event(wall_time=when, step=record["epoch"], summary=scalar(name, value)))


def _scalars(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    yield "learning_rate", record["learning_rate"]
    for split in ("train", "validation"):
        for part, value in record[split].items():
            yield f"{part}/{split}", value
