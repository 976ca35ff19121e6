"""Two trainings compared by what they left in their folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hpcpdf.training.checkpoint import newest_checkpoint


def records(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line.pop("seconds") > 0.0 for line in lines]
    return lines


def numbers(record: dict) -> dict[str, float]:
    return {f"{split} {part}": value for split in ("train", "validation") for part, value in record[split].items()}


def assert_same_curve(one: Path, other: Path, rel: float = 2e-4) -> None:
    assert len(records(one)) == len(records(other)) > 0
    for first, second in zip(records(one), records(other), strict=True):
        assert numbers(first) == pytest.approx(numbers(second), rel=rel, abs=1e-4)


def assert_same_bits(one: Path, other: Path) -> None:
    assert records(one) == records(other)
    (_, first), (_, second) = newest_checkpoint(one), newest_checkpoint(other)
    for part in ("model", "best_state"):
        assert all(torch.equal(value, second[part][name]) for name, value in first[part].items())
    for index, state in first["optimizer"]["state"].items():
        assert all(torch.equal(value, second["optimizer"]["state"][index][name]) for name, value in state.items())
