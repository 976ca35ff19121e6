"""One model, one data set resident in memory, epochs until nothing improves; on one rank or many."""

from __future__ import annotations

import json
import logging
import math
import time
from enum import IntEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from hpcpdf.config import TrainingSection
from hpcpdf.errors import ConfigError, SolverError
from hpcpdf.model.base import ConditionalModel
from hpcpdf.stage import Context
from hpcpdf.training.batches import Batches, Data, Share
from hpcpdf.training.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from hpcpdf.training.distributed import Votes
from hpcpdf.training.metrics import Metrics
from hpcpdf.training.sums import Sums

log = logging.getLogger(__name__)

_WARM_UP = 5  # epochs over which the weight of the divergence rises
_LINE_SECONDS = 30.0


class _Wish(IntEnum):
    """What a rank asks all ranks to do after a step; the highest counts."""

    GO_ON = 0
    SAVE = 1
    STOP = 2


class Trainer:
    """Minimise the loss of `model` on `train` until `validation` no longer improves.

    The batch and all random numbers of a step are the same for any number of ranks: the loss curve depends on it by
    rounding alone. Interrupted at any step, training goes on from the newest checkpoint; with the same number of ranks
    on the CPU, to the bit.

    Parameters
    ----------
    model
        Trained in place, on the device where it is; holds the best state after `run`.
    train, validation
        Inputs and targets, one tensor each.
    section
        Optimiser and stopping rules; ``batch`` counts the samples of all ranks.
    folder
        Gets ``checkpoint-<step>.pt`` (the two newest), ``metrics.jsonl`` and ``tensorboard/``.
    seed
        Seed of order, noise and sampling.
    """

    checkpoint_seconds = 30.0
    checkpoint_share = 0.05
    """Largest share of the time that goes into checkpoints; when writing one takes long they come less often."""

    def __init__(
        self, model: ConditionalModel, train: Data, validation: Data, section: TrainingSection, folder: Path, seed: int
    ) -> None:
        self.model, self.train, self.validation = model, train, validation
        self.section, self.folder, self.seed = section, folder, seed
        self.optimizer = torch.optim.Adam(model.parameters(), lr=section.learning_rate, fused=True)
        self.epoch = 0
        self.step = 0  # within the epoch
        self.steps = 0  # in all
        self.best = math.inf
        self.best_epoch = 0
        self.best_state: dict[str, Tensor] = {}
        self.seconds = 0.0
        self._sums = Sums()
        self._context = Context()

    def run(self, context: Context) -> dict[str, Any]:
        """Train, going on from a checkpoint if there is one; returns a summary."""
        self._context = context
        self._asked = self._told = time.monotonic()
        self._pause = self.checkpoint_seconds
        self._votes = Votes(context.world)
        self._train, self._validation = (
            Batches(
                data,
                self.section.batch,
                self.model.device,
                seed=seed,
                rank=context.rank,
                world=context.world,
            )
            for data, seed in ((self.train, self.seed), (self.validation, self.seed + 1))
        )
        self._resume()
        self._forward: torch.nn.Module = self.model
        if context.world > 1:
            self._forward = DistributedDataParallel(
                self.model,
                gradient_as_bucket_view=True,
                find_unused_parameters=self.model.sparse,
            )
        self._metrics = Metrics(self.folder, self.epoch) if context.rank == 0 else None
        self._clock = time.monotonic() - self.seconds
        self._begun = self.steps, self.seconds
        try:
            while not self._finished() and self._run_epoch():
                pass
            self._votes.close()
            self._checkpoint()
        finally:
            if self._metrics is not None:
                self._metrics.close()
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
            or (limit is not None and self.seconds >= 60 * limit and self.step == 0)
        )

    def _run_epoch(self) -> bool:
        """Train what is left of an epoch; False if asked to stop before its end."""
        section = self.section
        rate = section.learning_rate
        if section.schedule == "cosine":
            rate *= 0.5 * (1.0 + math.cos(math.pi * self.epoch / section.max_epochs))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        kl_weight = section.kl_weight * min(1.0, (self.epoch + 1) / _WARM_UP)
        order = self._train.order(self.epoch)
        self.model.train()
        while self.step < self._train.count:
            share = self._train.share(self.model, self.step, order=order, epoch=self.epoch, noise=section.noise)
            self._descend(share, kl_weight)
            self.step += 1
            self.steps += 1
            if not self._go_on():
                return False
        trained = self._sums.over_ranks(self._context)
        self._check_finite("training", trained["loss"])
        checked = self._validate()
        self._check_finite("validation", checked["loss"])
        self.epoch += 1
        self.step, self._sums = 0, Sums()
        # One clock for all: the limit in minutes has to end training everywhere.
        self.seconds = self._context.gather(time.monotonic() - self._clock)[0]
        if checked["loss"] < self.best:
            self.best, self.best_epoch = checked["loss"], self.epoch
            self.best_state = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
        self._report({"epoch": self.epoch, "learning_rate": rate, "train": trained, "validation": checked})
        return True

    def _descend(self, share: Share, kl_weight: float) -> None:
        """One step on the mean loss over the batch of all ranks."""
        with self._precision():
            loss, parts = self._forward(share.data, kl_weight)
        self.optimizer.zero_grad(set_to_none=True)
        # Gradients are averaged over ranks, whose shares may differ by a sample.
        (loss * (self._context.world * share.n / share.batch)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 100.0)
        self.optimizer.step()
        self._sums.add(loss, parts, share.n / self._train.n)

    def _go_on(self) -> bool:
        """Whether to take another step; saves a checkpoint when it is time."""
        now = time.monotonic()
        wish = _Wish.STOP if self._context.stop else _Wish.GO_ON
        if self._context.rank == 0:
            if now - self._told > _LINE_SECONDS:
                self._tell_progress(now)
            if wish == _Wish.GO_ON and now - self._asked >= self._pause:
                wish, self._asked = _Wish.SAVE, now
        answer = self._votes.cast(wish, last=_Wish.STOP)
        if answer == _Wish.SAVE:
            self._checkpoint()
            self._pause = max(self.checkpoint_seconds, (time.monotonic() - now) / self.checkpoint_share)
        return answer != _Wish.STOP

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
        """Losses over the validation split, with the same draws every time."""
        self.model.eval()
        sums = Sums()
        for step in range(self._validation.count):
            share = self._validation.share(self.model, step)
            with self._precision():
                loss, parts = self.model(share.data, self.section.kl_weight)
            sums.add(loss, parts, share.n / self._validation.n)
        return sums.over_ranks(self._context)

    def _report(self, record: dict[str, Any]) -> None:
        if self._metrics is None:
            return
        record["seconds"] = round(self.seconds, 3)
        self._metrics.write(record)
        self._told = time.monotonic()
        parts = "  ".join(f"{k} {v:.3f}" for k, v in record["validation"].items() if k != "loss")
        log.info(
            "epoch %d/%d  train %.3f  validation %.3f (best %.3f)  %s  %s",
            self.epoch,
            self.section.max_epochs,
            record["train"]["loss"],
            record["validation"]["loss"],
            self.best,
            parts,
            self._pace(self.seconds),
        )

    def _tell_progress(self, now: float) -> None:
        self._told = now
        pace = self._pace(now - self._clock)
        log.info(
            "epoch %d/%d  step %d/%d  %s", self.epoch + 1, self.section.max_epochs, self.step, self._train.count, pace
        )

    def _pace(self, seconds: float) -> str:
        """Samples a second since this process began, validation included, and the time that is left at most."""
        begun, before = self._begun
        per_step = (seconds - before) / max(self.steps - begun, 1)
        left = per_step * (self._train.count * (self.section.max_epochs - self.epoch) - self.step)
        if self.section.max_minutes is not None:
            left = min(left, 60 * self.section.max_minutes - seconds)
        rate = self._train.n / self._train.count / max(per_step, 1e-9)
        return f"{rate:.0f} samples/s  at most {max(left, 0.0):.0f} s left"

    def _checkpoint(self) -> None:
        """Save the state, on rank 0; all ranks come here at the same step."""
        # Each rank's part by itself: added in another order they would round differently after a restart.
        sums = self._context.gather(self._sums.state())
        if self._metrics is None:
            return
        self._metrics.sync()
        self.seconds = time.monotonic() - self._clock
        save_checkpoint(
            self.folder,
            self.steps,
            {
                "epoch": self.epoch,
                "step": self.step,
                "steps": self.steps,
                "sums": sums,
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
        """Go on from the newest checkpoint that rank 0 can read."""
        found = newest_checkpoint(self.folder) if self._context.rank == 0 else None
        path = self._context.gather(found and found[0])[0]
        if path is None:
            return
        state = found[1] if found else load_checkpoint(path)
        if state["settings"] != self._settings():
            raise ConfigError(
                f"{self.folder}: holds a checkpoint of a training with other settings; "
                "choose another run.out or delete it"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step, self.steps = state["epoch"], state["step"], state["steps"]
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.best_state, self.seconds = state["best_state"], state["seconds"]
        self._sums = Sums.of_rank(state["sums"], self._context)
        log.info("going on after epoch %d, step %d", self.epoch, self.step)

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
