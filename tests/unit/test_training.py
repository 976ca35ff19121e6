"""Training goes on as if nothing had happened, stops in time, and never saves nonsense."""

from __future__ import annotations

import errno
import json
import logging
import math
from pathlib import Path

import pytest
import torch
from small_model import clusters, new_model, tensors

from hpcpdf import ConfigError, SolverError
from hpcpdf.config import TrainingSection
from hpcpdf.errors import DataError
from hpcpdf.stage import Context
from hpcpdf.training import checkpoint
from hpcpdf.training.checkpoint import checkpoints, load_checkpoint, newest_checkpoint, save_checkpoint
from hpcpdf.training.loop import Trainer

SECTION = TrainingSection(batch=8, max_epochs=6, noise=0.02, schedule="cosine", learning_rate=3e-3)
STEPS = 3  # an epoch: 8, 8 and 4 clusters


class Stopping(Trainer):
    """A signal comes during the step that ends as number `last` of all."""

    last: int

    def _go_on(self):
        if self.steps == self.last:
            self._context.stop = True
        return super()._go_on()


class Scripted(Trainer):
    """Validation losses as told; remembers the weights of every epoch."""

    losses: list[float]

    def _validate(self):
        if not hasattr(self, "states"):
            self.states = []
        self.states.append({name: value.clone() for name, value in self.model.state_dict().items()})
        return {"loss": self.losses[len(self.states) - 1]}


class Saving(Stopping):
    """A checkpoint after every step."""

    checkpoint_seconds = 0.0
    checkpoint_share = math.inf


def trainer(folder, section=SECTION, kind=Trainer, model="site-cvae", **attributes):
    folder.mkdir(exist_ok=True)
    network = new_model(model, hidden=8, latent=2)
    items = clusters(28, max_atoms=15)
    made = kind(network, tensors(network, items[:20]), tensors(network, items[20:]), section, folder, seed=4)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def records(folder):
    """metrics.jsonl without the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line.pop("seconds") >= 0.0 for line in lines]
    return lines


def assert_same_state(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def interrupted(folder, after, section=SECTION, kind=Stopping, **more):
    first = trainer(folder, section, kind, last=after, **more)
    return first, first.run(Context())


@pytest.mark.parametrize(
    ("model", "after"), [("site-cvae", 1), ("site-cvae", 5), ("site-cvae", 6), ("cvae-2020", 2), ("dae-2020", 10)]
)
def test_going_on_is_bit_for_bit_what_undisturbed_training_gives(tmp_path, model, after):
    whole = trainer(tmp_path / "whole", model=model)
    expected = whole.run(Context())
    _, part = interrupted(tmp_path / "parts", after, model=model)
    # A stop after the last step of an epoch comes before its validation.
    assert part["epochs"] == (after - 1) // STEPS
    assert not part["finished"]
    torch.manual_seed(999)
    resumed = trainer(tmp_path / "parts", model=model)
    found = resumed.run(Context())
    assert_same_state(whole.model.state_dict(), resumed.model.state_dict())
    assert records(tmp_path / "whole") == records(tmp_path / "parts")
    for name in ("epochs", "best_epoch", "best_loss", "finished"):
        assert found[name] == expected[name]


def test_training_draws_nothing_from_the_global_generator(tmp_path):
    """What happens to be drawn elsewhere does not change it, and it changes nothing elsewhere."""
    one, other = trainer(tmp_path / "one"), trainer(tmp_path / "other")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one.run(Context())
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    other.run(Context())
    assert_same_state(one.model.state_dict(), other.model.state_dict())


def test_metrics_of_epochs_after_the_checkpoint_are_not_doubled(tmp_path):
    """Killed between writing a line and the next checkpoint."""
    interrupted(tmp_path, 3 * STEPS + 1)
    with (tmp_path / "metrics.jsonl").open("a") as handle:
        handle.write('{"epoch": 4, "lost": true}\n{"epo')
    trainer(tmp_path).run(Context())
    assert [record["epoch"] for record in records(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert not any("lost" in record for record in records(tmp_path))


def test_finished_training_is_not_repeated(tmp_path):
    trainer(tmp_path).run(Context())
    before = (tmp_path / "metrics.jsonl").read_text()
    assert trainer(tmp_path).run(Context())["finished"]
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_early_stopping_keeps_the_best_weights(tmp_path):
    section = SECTION.model_copy(update={"patience": 3, "max_epochs": 50})
    scripted = trainer(tmp_path, section, Scripted, losses=[9.0, 7.0, 5.0, 6.0, 5.0, 5.5, 1.0])
    summary = scripted.run(Context())
    assert summary["epochs"] == 6
    assert summary["best_epoch"] == 3
    assert summary["best_loss"] == 5.0
    assert_same_state(scripted.model.state_dict(), scripted.states[2])


def test_validation_does_not_disturb_training(tmp_path):
    """The weights do not depend on whether anything was validated, and its draws are the same every time."""
    plain = trainer(tmp_path / "plain")
    plain.run(Context())
    checks = [plain._validate() for _ in range(2)]
    assert checks[0] == checks[1]
    scripted = trainer(tmp_path / "scripted", kind=Scripted, losses=[9.0, 8.0, 7.0, 6.0, 5.0, 4.0])
    scripted.run(Context())
    _, state = newest_checkpoint(tmp_path / "plain")
    assert_same_state(state["model"], scripted.model.state_dict())


def test_schedule(tmp_path):
    trainer(tmp_path).run(Context())
    rates = [record["learning_rate"] for record in records(tmp_path)]
    assert rates == pytest.approx([3e-3 * 0.5 * (1 + math.cos(math.pi * k / 6)) for k in range(6)])


def test_the_newest_two_checkpoints_are_kept_and_none_half_written(tmp_path):
    interrupted(tmp_path, 7, kind=Saving)
    assert [number for number, _ in checkpoints(tmp_path)] == [7, 6]
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["checkpoint-000000006.pt", "checkpoint-000000007.pt"]
    assert not list(tmp_path.glob(".checkpoint*"))


def test_checkpoints_that_are_slow_to_write_come_seldom(tmp_path):
    _, summary = interrupted(tmp_path, 17, kind=type("Slow", (Saving,), {"checkpoint_share": 1e-9}))
    assert not summary["finished"]
    assert [number for number, _ in checkpoints(tmp_path)] == [17, 1]


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "other", "altered"])
@pytest.mark.parametrize("torn", [1, 2])
def test_torn_checkpoints_are_skipped_with_a_warning(tmp_path, caplog, damage, torn):
    """The one before is taken; without one training starts again. The result is the same."""
    whole = trainer(tmp_path / "whole")
    whole.run(Context())
    folder = tmp_path / "torn"
    interrupted(folder, 5, kind=Saving)
    for _, path in checkpoints(folder)[:torn]:
        content = path.read_bytes()
        if damage == "other":
            torch.save({"epoch": 3}, path)
        else:
            middle = len(content) // 2
            altered = content[:middle] + bytes(byte ^ 1 for byte in content[middle : middle + 100])
            broken = {"empty": b"", "cut": content[:middle], "text": b"not a checkpoint"}
            path.write_bytes(broken.get(damage, altered + content[middle + 100 :]))
    again = trainer(folder)
    with caplog.at_level(logging.INFO):
        again.run(Context())
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == torn
    assert all("unreadable checkpoint skipped" in warning and "\n" not in warning for warning in warnings)
    assert ("going on after epoch 1, step 1" in caplog.text) == (torn == 1)
    assert_same_state(whole.model.state_dict(), again.model.state_dict())
    assert records(folder) == records(tmp_path / "whole")


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    interrupted(tmp_path, 2)
    with pytest.raises(ConfigError, match="other settings"):
        trainer(tmp_path, SECTION.model_copy(update={"learning_rate": 1e-3})).run(Context())


def test_a_full_disk_is_named_and_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, {"settings": ""})

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"checkpoint-000000002.pt: .* cannot be written \(No space left on device\)"):
        save_checkpoint(tmp_path, 2, {"settings": ""})
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000001.pt"]
    assert load_checkpoint(tmp_path / "checkpoint-000000001.pt") == {"settings": ""}


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    wild = SECTION.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(SolverError, match=r"loss is (nan|inf) in epoch \d; lower training.learning_rate"):
        trainer(tmp_path, wild).run(Context())


def test_a_validation_loss_that_is_not_finite_ends_the_training(tmp_path):
    broken = trainer(tmp_path, kind=Scripted, losses=[3.0, math.nan])
    with pytest.raises(SolverError, match="validation loss is nan in epoch 2"):
        broken.run(Context())


def test_a_limit_in_minutes(tmp_path):
    section = SECTION.model_copy(update={"max_minutes": 1e-9})
    summary = trainer(tmp_path, section).run(Context())
    assert summary["epochs"] == 1
    assert summary["finished"]


def test_progress_within_a_long_epoch(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("hpcpdf.training.loop._LINE_SECONDS", -1.0)
    with caplog.at_level(logging.INFO):
        interrupted(tmp_path, 2)
    assert "epoch 1/6  step 2/3  " in caplog.text
    assert "samples/s  at most" in caplog.text
