"""Numbers for TensorBoard are those of metrics.jsonl, each once."""

from __future__ import annotations

import json
import struct

from tensorboardX.proto.event_pb2 import Event

from hpcpdf.training.metrics import Metrics


def record(epoch, value=1.0):
    return {
        "epoch": epoch,
        "learning_rate": 0.1,
        "train": {"loss": value + epoch, "kl": 0.5},
        "validation": {"loss": value - epoch},
        "seconds": float(epoch),
    }


def events(folder):
    """(tag, step, value) of all scalars below a folder."""
    found = []
    for path in (folder / "tensorboard").iterdir():
        content = path.read_bytes()
        at = 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            at += 16 + length
    return found


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_records_are_there_at_once(tmp_path):
    metrics = Metrics(tmp_path, 0)
    metrics.write(record(1))
    assert lines(tmp_path) == [record(1)]
    assert sorted(events(tmp_path)) == [
        ("kl/train", 1, 0.5),
        ("learning_rate", 1, 0.10000000149011612),
        ("loss/train", 1, 2.0),
        ("loss/validation", 1, 0.0),
    ]
    metrics.close()


def test_epochs_that_run_again_are_there_once(tmp_path):
    first = Metrics(tmp_path, 0)
    for epoch in (1, 2, 3):
        first.write(record(epoch, value=9.0))
    first.sync()  # and then the process is lost
    second = Metrics(tmp_path, 2)
    for epoch in (3, 4):
        second.write(record(epoch))
    second.close()
    first.close()
    assert lines(tmp_path) == [record(1, 9.0), record(2, 9.0), record(3), record(4)]
    losses = [(step, value) for tag, step, value in events(tmp_path) if tag == "loss/train"]
    assert losses == [(1, 10.0), (2, 11.0), (3, 4.0), (4, 5.0)]


def test_a_line_cut_short_is_not_kept(tmp_path):
    first = Metrics(tmp_path, 0)
    first.write(record(1))
    first.close()
    with (tmp_path / "metrics.jsonl").open("a") as handle:
        handle.write('{"epoch": 2, "lear')
    Metrics(tmp_path, 1).close()
    assert lines(tmp_path) == [record(1)]
