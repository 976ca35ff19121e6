"""One model, one data set resident in memory, epochs until nothing improves."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpcpdf.config import TrainingSection
from hpcpdf.errors import ConfigError, SolverError
from hpcpdf.model.base import ConditionalModel
from hpcpdf.stage import Context
from hpcpdf.training.checkpoint import load_checkpoint, save_checkpoint

log = logging.getLogger(__name__)

Data = dict[str, Tensor]

_WARM_UP = 5  # epochs over which the weight of the divergence rises
_CHECKPOINT_SECONDS = 30.0


class Trainer:
    """Minimise the loss of `model` on `train` until `validation` no longer improves.

    Parameters
    ----------
    model
        Trained in place; holds the best state after `run`.
    train, validation
        Inputs and targets, one tensor each, resident on the model's device.
    section
        Optimiser and stopping rules.
    folder
        Gets ``checkpoint.pt`` and ``metrics.jsonl``.
    seed
        Seed of order, noise and sampling.
    """

    def __init__(
        self, model: ConditionalModel, train: Data, validation: Data, section: TrainingSection, folder: Path, seed: int
    ) -> None:
        self.model, self.train, self.validation = model, train, validation
        self.section, self.folder, self.seed = section, folder, seed
        self.optimizer = torch.optim.Adam(model.parameters(), lr=section.learning_rate, fused=True)
        self.epoch = 0
        self.best = math.inf
        self.best_epoch = 0
        self.best_state: dict[str, Tensor] = {}
        self.seconds = 0.0

    def run(self, context: Context) -> dict[str, Any]:
        """Train, going on from a checkpoint if there is one; returns a summary."""
        torch.manual_seed(self.seed)
        self._resume()
        saved = time.monotonic()
        while not self._finished() and not context.stop:
            start = time.monotonic()
            record = self._run_epoch()
            self.seconds += time.monotonic() - start
            self._report(record)
            if time.monotonic() - saved > _CHECKPOINT_SECONDS:
                self._checkpoint()
                saved = time.monotonic()
        self._checkpoint()
        if self.best_state:
            self.model.load_state_dict(self.best_state)
        return {
            "epochs": self.epoch,
            "best_epoch": self.best_epoch,
            "best_loss": self.best,
            "seconds": self.seconds,
            "finished": self._finished(),
        }

    def _finished(self) -> bool:
        limit = self.section.max_minutes
        return (
            self.epoch >= self.section.max_epochs
            or self.epoch - self.best_epoch >= self.section.patience
            or (limit is not None and self.seconds >= 60 * limit)
        )

    def _run_epoch(self) -> dict[str, Any]:
        section = self.section
        kl_weight = section.kl_weight * min(1.0, (self.epoch + 1) / _WARM_UP)
        rate = section.learning_rate
        if section.schedule == "cosine":
            rate *= 0.5 * (1.0 + math.cos(math.pi * self.epoch / section.max_epochs))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        order = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.epoch,)))
        self.model.train()
        sums: dict[str, float] = {}
        size = len(self.train["x"])
        for batch in _batches(self.train, order.permutation(size), section.batch):
            noisy = self.model.augment(batch, section.noise) if section.noise else batch
            with self._precision():
                loss, parts = self.model(noisy, kl_weight)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 100.0)
            self.optimizer.step()
            _accumulate(sums, loss, parts, len(batch["x"]) / size)
        self._check_finite("training", sums["loss"])
        checked = self._validate()
        self._check_finite("validation", checked["loss"])
        self.epoch += 1
        if checked["loss"] < self.best:
            self.best, self.best_epoch = checked["loss"], self.epoch
            self.best_state = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
        return {"epoch": self.epoch, "learning_rate": rate, "train": sums, "validation": checked}

    def _check_finite(self, name: str, loss: float) -> None:
        if not math.isfinite(loss):
            raise SolverError(
                f"{self.folder}: {name} loss is {loss} in epoch {self.epoch + 1}; lower training.learning_rate "
                f"(now {self.section.learning_rate:g})"
            )

    def _precision(self) -> torch.autocast:
        half = self.section.precision == "bfloat16"
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=half)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        self.model.eval()
        sums: dict[str, float] = {}
        size = len(self.validation["x"])
        # The same draws at every epoch, without disturbing the training's stream.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + 1)
            for batch in _batches(self.validation, np.arange(size), self.section.batch):
                with self._precision():
                    loss, parts = self.model(batch, self.section.kl_weight)
                _accumulate(sums, loss, parts, len(batch["x"]) / size)
        return sums

    def _report(self, record: dict[str, Any]) -> None:
        record["seconds"] = round(self.seconds, 3)
        with (self.folder / "metrics.jsonl").open("a") as handle:
            handle.write(json.dumps(record) + "\n")
        parts = "  ".join(f"{k} {v:.3f}" for k, v in record["validation"].items() if k != "loss")
        rate = len(self.train["x"]) * self.epoch / max(self.seconds, 1e-9)
        left = self._seconds_left()
        log.info(
            "epoch %d/%d  train %.3f  validation %.3f (best %.3f)  %s  %.0f samples/s  at most %.0f s left",
            self.epoch,
            self.section.max_epochs,
            record["train"]["loss"],
            record["validation"]["loss"],
            self.best,
            parts,
            rate,
            left,
        )

    def _seconds_left(self) -> float:
        per_epoch = self.seconds / max(self.epoch, 1)
        left = per_epoch * (self.section.max_epochs - self.epoch)
        if self.section.max_minutes is not None:
            left = min(left, 60 * self.section.max_minutes - self.seconds)
        return max(left, 0.0)

    def _checkpoint(self) -> None:
        save_checkpoint(
            self.folder / "checkpoint.pt",
            {
                "epoch": self.epoch,
                "best": self.best,
                "best_epoch": self.best_epoch,
                "best_state": self.best_state,
                "seconds": self.seconds,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "settings": self._settings(),
            },
        )

    def _resume(self) -> None:
        state = load_checkpoint(self.folder / "checkpoint.pt")
        if state is None:
            (self.folder / "metrics.jsonl").unlink(missing_ok=True)
            return
        if state.get("settings", self._settings()) != self._settings():
            raise ConfigError(
                f"{self.folder}: holds a checkpoint of a training with other settings; "
                "choose another run.out or delete it"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.best, self.best_epoch = state["epoch"], state["best"], state["best_epoch"]
        self.best_state, self.seconds = state["best_state"], state["seconds"]
        self._truncate_metrics()
        log.info("going on after epoch %d", self.epoch)

    def _settings(self) -> str:
        """Everything that decides how the training goes on."""
        sizes = [{name: list(tensor.shape) for name, tensor in data.items()} for data in (self.train, self.validation)]
        return json.dumps(
            [
                self.section.model_dump(mode="json", exclude={"device", "threads"}),
                self.model.section.model_dump(mode="json"),
                self.model.length,
                self.seed,
                sizes,
            ]
        )

    def _truncate_metrics(self) -> None:
        """Drop lines of epochs that ran after the checkpoint: they run again."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("".join(line + "\n" for line in lines[: self.epoch]))


def _batches(data: Data, order: np.ndarray, size: int) -> Iterator[Data]:
    index = torch.from_numpy(order)
    for start in range(0, len(order), size):
        rows = index[start : start + size].to(data["x"].device)
        yield {name: tensor[rows] for name, tensor in data.items()}


def _accumulate(sums: dict[str, float], loss: Tensor, parts: dict[str, float], weight: float) -> None:
    for name, value in {"loss": float(loss.detach()), **parts}.items():
        sums[name] = sums.get(name, 0.0) + weight * value
