"""Ranks of a small training that can meet with an accident, as processes forked from one that has torch loaded."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

import submitit
from small_model import clusters, new_model, tensors

from hpcpdf.config import TrainingSection
from hpcpdf.errors import DataError, HpcPdfError, LaunchError
from hpcpdf.stage import Context, stop_on_signals
from hpcpdf.training import distributed
from hpcpdf.training.loop import Trainer
from hpcpdf.training.ranks import context_from_launcher

N_TRAIN, N_VALIDATION = 37, 9
LAUNCHER = ("SLURM_", "PMI_", "RANK", "WORLD_SIZE", "MASTER_", "TORCHELASTIC_")
"""Beginnings of variables by which ranks are found: tests may themselves run under such a launcher."""


@cache
def items():
    return clusters(N_TRAIN + N_VALIDATION, max_atoms=14)


@dataclass(frozen=True)
class Case:
    """A training, and what befalls it: signal `number` to rank `victim` in the step that ends as number `at` of all."""

    model: str = "site-cvae"
    epochs: int = 4
    batch: int = 10
    pause: float = 0.0
    """Seconds between checkpoints; 0 saves after every step."""
    number: signal.Signals = signal.SIGKILL
    at: int = 0
    victim: int = 0
    refuses: int = -1
    """Rank that finds no data."""
    patience: float = 300.0
    """Seconds after which a silent rank counts as lost."""


class Unlucky(Trainer):
    case: Case

    def _descend(self, share, kl_weight):
        super()._descend(share, kl_weight)
        if self.steps + 1 == self.case.at and self._context.rank == self.case.victim:
            os.kill(os.getpid(), self.case.number)


def train(folder: Path, case: Case, context: Context) -> None:
    if context.rank == case.refuses:
        raise DataError("no data here")
    folder.mkdir(parents=True, exist_ok=True)
    model = new_model(case.model, hidden=16, latent=3)
    data = tensors(model, items()[:N_TRAIN]), tensors(model, items()[N_TRAIN:])
    section = TrainingSection(batch=case.batch, max_epochs=case.epochs, noise=0.02, learning_rate=3e-3)
    trainer = Unlucky(model, *data, section, folder, seed=5)
    trainer.case, trainer.checkpoint_seconds = case, case.pause
    if case.pause == 0.0:
        trainer.checkpoint_share = math.inf
    with stop_on_signals(context):
        summary = trainer.run(context)
    if not summary["finished"]:
        raise LaunchError(f"stopped after step {trainer.steps}")


def forked_main(folder: Path, case: Case, environment: Mapping[str, str], errors: Path) -> None:
    """What one forked rank does, with its error output in a file."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.environ.update(environment)
    rank_main(folder, case)


def rank_main(folder: Path, case: Case) -> None:
    """What one rank does."""
    logging.basicConfig(format="%(levelname)s %(message)s")
    distributed._PATIENCE = timedelta(seconds=case.patience)
    try:
        context = context_from_launcher()
        with context.together():
            train(folder, case, context)
    except HpcPdfError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def submitted(folder: Path) -> str:
    """What submitit runs in every task, which has to find it by the name of an installed or listed module."""
    submitit.helpers.TorchDistributedEnvironment().export()
    rank_main(folder, Case())
    return submitit.JobEnvironment().hostname


class Ranks:
    """`world` processes started as torchrun would."""

    def __init__(self, folder: Path, world: int, case: Case) -> None:
        port = free_port()
        fork = multiprocessing.get_context("forkserver")
        self._errors = [folder.parent / f"{folder.name}.{rank}.err" for rank in range(world)]
        self.processes = []
        for rank, errors in enumerate(self._errors):
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
            environment = {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"}
            given = (folder, case, environment if world > 1 else {}, errors)
            self.processes.append(fork.Process(target=forked_main, args=given))
            self.processes[-1].start()

    def end(self, seconds: float = 120.0) -> tuple[list[int | None], list[str]]:
        """Exit status of each, None if it had to be killed after `seconds`, and error outputs that are not empty."""
        limit = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, limit - time.monotonic()))
        statuses = [process.exitcode for process in self.processes]
        for process in self.processes:
            process.kill()
            process.join()
            process.close()
        return statuses, [text for path in self._errors if path.exists() and (text := path.read_text())]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
