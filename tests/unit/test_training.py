"""Training goes on as if nothing had happened, stops in time, and never saves nonsense."""

from __future__ import annotations

import json
import logging
import math

import pytest
import torch
from small_model import clusters, new_model, tensors

from hpcpdf import ConfigError, SolverError
from hpcpdf.config import TrainingSection
from hpcpdf.stage import Context
from hpcpdf.training.checkpoint import load_checkpoint, save_checkpoint
from hpcpdf.training.loop import Trainer

SECTION = TrainingSection(batch=8, max_epochs=6, noise=0.02, schedule="cosine", learning_rate=3e-3)


class Stopping(Trainer):
    """A signal comes during epoch `last`."""

    last: int
    context: Context

    def _run_epoch(self):
        record = super()._run_epoch()
        if self.epoch == self.last:
            self.context.stop = True
        return record


class Scripted(Trainer):
    """Validation losses as told; remembers the weights of every epoch."""

    losses: list[float]

    def _validate(self):
        if not hasattr(self, "states"):
            self.states = []
        self.states.append({name: value.clone() for name, value in self.model.state_dict().items()})
        return {"loss": self.losses[len(self.states) - 1]}


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


def interrupted(folder, after, section=SECTION, **more):
    context = Context()
    first = trainer(folder, section, Stopping, last=after, context=context, **more)
    return first, first.run(context)


@pytest.mark.parametrize("model", ["site-cvae", "cvae-2020"])
def test_going_on_is_bit_for_bit_what_undisturbed_training_gives(tmp_path, model):
    whole = trainer(tmp_path / "whole", model=model)
    expected = whole.run(Context())
    _, half_way = interrupted(tmp_path / "parts", 2, model=model)
    assert half_way["epochs"] == 2
    assert not half_way["finished"]
    torch.manual_seed(999)
    resumed = trainer(tmp_path / "parts", model=model)
    found = resumed.run(Context())
    assert_same_state(whole.model.state_dict(), resumed.model.state_dict())
    assert records(tmp_path / "whole") == records(tmp_path / "parts")
    for name in ("epochs", "best_epoch", "best_loss", "finished"):
        assert found[name] == expected[name]


def test_metrics_of_epochs_after_the_checkpoint_are_not_doubled(tmp_path):
    """Killed between writing a line and the next checkpoint."""
    interrupted(tmp_path, 3)
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
    last = plain.best_epoch == 6
    states = plain.model.state_dict() if last else load_checkpoint(tmp_path / "plain" / "checkpoint.pt")["model"]
    assert_same_state(states, scripted.model.state_dict())


def test_schedule(tmp_path):
    trainer(tmp_path).run(Context())
    rates = [record["learning_rate"] for record in records(tmp_path)]
    assert rates == pytest.approx([3e-3 * 0.5 * (1 + math.cos(math.pi * k / 6)) for k in range(6)])


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "other"])
def test_a_torn_checkpoint_is_skipped_with_a_warning(tmp_path, caplog, damage):
    whole = trainer(tmp_path / "whole")
    whole.run(Context())
    folder = tmp_path / "torn"
    interrupted(folder, 2)
    path = folder / "checkpoint.pt"
    content = path.read_bytes()
    if damage == "other":
        torch.save({"epoch": 3}, path)
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "text": b"not a checkpoint"}[damage])
    again = trainer(folder)
    with caplog.at_level(logging.WARNING):
        again.run(Context())
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "unreadable checkpoint skipped" in warnings[0]
    assert "\n" not in warnings[0]
    assert_same_state(whole.model.state_dict(), again.model.state_dict())
    assert records(folder) == records(tmp_path / "whole")


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    interrupted(tmp_path, 2)
    with pytest.raises(ConfigError, match="other settings"):
        trainer(tmp_path, SECTION.model_copy(update={"learning_rate": 1e-3})).run(Context())


def test_random_state_comes_back(tmp_path):
    torch.manual_seed(5)
    save_checkpoint(tmp_path / "c.pt", {"epoch": 1})
    expected = torch.rand(4)
    torch.manual_seed(6)
    assert load_checkpoint(tmp_path / "c.pt")["epoch"] == 1
    assert torch.equal(torch.rand(4), expected)
    assert load_checkpoint(tmp_path / "none.pt") is None


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
