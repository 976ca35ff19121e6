"""What runs inside a job: one node's function, with ranks, signals and a marker around it.

submitit starts it and is not asked for more. Its own way with signals is not used: it leaves the function wherever it
is, on rank 0 alone, and counts every signal in the last ten minutes before the limit as a time-out, of which it allows
three.
Here a signal (SIGUSR2, which Slurm sends before the time limit and at preemption; SIGTERM) asks the function to stop;
when all ranks have, rank 0 puts the job back into the queue, and the next start goes on from what is on disk.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from hpcpdf.errors import HpcPdfError, LaunchError
from hpcpdf.launch import scheduler
from hpcpdf.launch.graph import Node, read_graph
from hpcpdf.launch.markers import Mark, code_version, new_mark, read_mark, write_mark
from hpcpdf.stage import Context

log = logging.getLogger(__name__)

MOST_TIMEOUTS = 20
"""A job that was stopped so often before its limit is not queued again: its work does not fit."""

_PATIENCE = 3.0
"""Seconds in which a signal that reached one rank has reached all of them."""


@dataclass(frozen=True)
class Task:
    """One job of a graph: what submitit stores. Everything else is read from the folder when the job starts."""

    folder: Path
    node: str
    index: int

    def __call__(self) -> None:
        """Run the node's function; called once on every rank."""
        start_logging(_rank())
        with _caught() as signals:
            _Job(self, signals).run()


@dataclass
class _Signals:
    """Signals that came, and the context that they shall stop."""

    came: list[int] = field(default_factory=list)
    context: Context | None = None

    def catch(self, number: int, frame: object) -> None:
        self.came.append(number)
        if self.context is not None:
            self.context.stop = True

    def attach(self, context: Context) -> None:
        """Pass signals on to `context`, also those that came before it was made."""
        self.context = context
        context.stop = context.stop or bool(self.came)

    def stopped(self, world: int) -> bool:
        """Whether the ranks were asked to stop; this one may hear of it last."""
        end = time.monotonic() + (_PATIENCE if world > 1 else 0.0)
        while not self._heard() and time.monotonic() < end:
            time.sleep(0.05)
        return self._heard()

    def _heard(self) -> bool:
        return bool(self.came) or (self.context is not None and self.context.stop)


@contextmanager
def _caught() -> Iterator[_Signals]:
    signals = _Signals()
    before = {number: signal.signal(number, signals.catch) for number in (signal.SIGUSR2, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Job:
    """The steps of a job on one rank."""

    def __init__(self, task: Task, signals: _Signals) -> None:
        self.task = task
        self.signals = signals
        self.rank = _rank()
        self.world = int(os.environ.get("SLURM_NTASKS", "1"))
        self.id = _job_id()
        self.restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))

    def run(self) -> None:
        """Run the function, or leave with the exit status that tells Slurm what happened."""
        graph = read_graph(self.task.folder)
        node = graph[self.task.node]
        mark = self._begin(graph.code)
        try:
            self._call(node)
        except BaseException as error:
            self._leave(mark, error)
        if self.rank == 0:
            self._write(mark.now("done"))

    def _begin(self, submitted: Any) -> Mark:
        earlier = read_mark(self.task.folder, self.task.node, self.task.index)
        timeouts = earlier.timeouts if earlier is not None and earlier.job == self.id else 0
        if self.rank:
            return new_mark(self.id, self.restart, timeouts=timeouts, rank=self.rank)
        code = code_version()
        mark = new_mark(self.id, self.restart, timeouts=timeouts, code=code)
        self._write(mark)
        again = f", start {self.restart + 1}" if self.restart else ""
        log.info("%s: job %s on %s, %d ranks%s", self.task.node, self.id, mark.host, self.world, again)
        if code != submitted:
            changed = ", ".join(
                f"{key} {submitted.get(key)} -> {code[key]}" for key in code if code[key] != submitted.get(key)
            )
            log.warning("hpcpdf changed while the job was queued (%s); it runs with what is installed now", changed)
        return mark

    def _call(self, node: Node) -> None:
        context = _context(node, self.world)
        self.signals.attach(context)
        more = {} if node.array is None else {"part": (self.task.index, node.array)}
        with context.together():
            if context.stop:
                raise LaunchError(f"{node.name}: stopped by a signal before it began")
            node.target()(context, **node.arguments, **more)

    def _leave(self, mark: Mark, error: BaseException) -> NoReturn:
        if self.signals.stopped(self.world):
            if self.rank == 0:
                self._stop(mark, error)
            # Rank 0 is still busy with the queue: a bad exit status here would end it.
            raise SystemExit(0) from None
        if isinstance(error, SystemExit) and self.world > 1 and self._reported(mark):
            # A bad exit status here could end the rank that reports before it has.
            raise SystemExit(0) from None
        text = " ".join(str(error).split()) or "no message"
        expected = isinstance(error, HpcPdfError | SystemExit)
        self._fail(mark, text if expected else f"{type(error).__name__}: {text}")
        if expected:
            raise SystemExit(1) from None
        raise error

    def _stop(self, mark: Mark, error: BaseException) -> NoReturn:
        """Put this job back into the queue, unless Slurm is ending it: it was cancelled, or is requeued already."""
        try:
            record = scheduler.describe(self.id)
            if record.get("JobState") != "RUNNING":
                self._write(mark.now("stopped"))
                log.info("stopped by a signal (%s)", error)
                raise SystemExit(1) from None
            timeouts = mark.timeouts + (record.get("PreemptTime", "None") == "None")
            if timeouts > MOST_TIMEOUTS:
                raise LaunchError(f"stopped {timeouts} times short of its time limit; give it more minutes")
            self._write(mark.now("stopped", timeouts=timeouts))
            log.info("stopped by a signal (%s); the job queues again", error)
            sys.stdout.flush()
            scheduler.requeue(self.id)
        except LaunchError as refused:
            self._fail(mark, f"stopped by a signal and not queued again ({refused}); jobs retry goes on from there")
        raise SystemExit(1) from None

    def _reported(self, mark: Mark) -> bool:
        """Whether another rank says what happened: those that fail because of it leave by SystemExit."""
        end = time.monotonic() + _PATIENCE
        while not self._has_failed(mark) and time.monotonic() < end:
            time.sleep(0.1)
        return self._has_failed(mark)

    def _has_failed(self, mark: Mark) -> bool:
        now = read_mark(self.task.folder, self.task.node, self.task.index)
        return now is not None and (now.state, now.job, now.restart) == ("failed", mark.job, mark.restart)

    def _fail(self, mark: Mark, text: str) -> None:
        log.error("%s", text)
        if not self._has_failed(mark):
            self._write(mark.now("failed", error=text))

    def _write(self, mark: Mark) -> None:
        write_mark(self.task.folder, self.task.node, self.task.index, mark)


def _context(node: Node, world: int) -> Context:
    """Context of this rank, after checking that the ranks found each other.

    Raises
    ------
    LaunchError
        If the job has other ranks than Slurm started.
    """
    if node.ranks == "torch":
        from hpcpdf.training.ranks import context_from_launcher

        context = context_from_launcher()
    else:
        from hpcpdf.dataset.mpi import context_from_mpi

        context = context_from_mpi()
    if context.world != world:
        raise LaunchError(
            f"Slurm started {world} ranks but {context.world} see each other; "
            "set the MPI plugin of the profile to one that srun --mpi=list names, such as pmi2"
        )
    return context


def _rank() -> int:
    return int(os.environ.get("SLURM_PROCID", "0"))


def _job_id() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return os.environ["SLURM_JOB_ID"] if array is None else f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"


def start_logging(rank: int) -> None:
    """Lines with time and, beyond rank 0, the rank; those ranks tell warnings only."""
    handler = logging.StreamHandler(sys.stdout)
    where = f" [{rank}]" if rank else ""
    handler.setFormatter(
        logging.Formatter(f"%(asctime)s{where} %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    )
    package = logging.getLogger("hpcpdf")
    package.handlers = [handler]
    package.setLevel(logging.WARNING if rank else logging.INFO)
    package.propagate = False
