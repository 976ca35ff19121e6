"""Ranks that train together: how they meet, agree, and fail as one."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from hpcpdf.errors import ConfigError, LaunchError
from hpcpdf.stage import Context
from hpcpdf.training.ranks import Place

log = logging.getLogger(__name__)

_PATIENCE = timedelta(minutes=5)
"""How long a rank may be behind the others (loading, writing) before it counts as lost."""
_FAREWELL_SECONDS = 2.0
_stores: Any = dist  # whose type hints leave out what a build without process groups lacks


def meet(where: Place) -> RankContext:
    """Connect this rank with the others; their contexts are left by `RankContext.together`.

    Raises
    ------
    LaunchError
        If they do not meet.
    """
    # Gloo carries what lies on the CPU even when gradients lie on GPUs: decisions then wait for no GPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        opens = where.rank == 0 and where.attempt is None
        store = _stores.TCPStore(where.host, where.port, where.world, opens, timeout=_PATIENCE)
        store = _stores.PrefixStore(f"hpcpdf/{where.attempt or 0}", store)
        dist.init_process_group(backend, store=store, rank=where.rank, world_size=where.world, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise LaunchError(
            f"rank {where.rank} of {where.world} started by {where.by} does not meet the others at "
            f"{where.host}:{where.port} ({reason}); check that all ranks run and reach that host, "
            "or set MASTER_ADDR and MASTER_PORT (a free one)"
        ) from None
    return RankContext(rank=where.rank, world=where.world, local_rank=where.local_rank, by=where.by, store=store)


@dataclass
class RankContext(Context):
    """A rank of a torch process group.

    Attributes
    ----------
    local_rank
        Which of the ranks of this node.
    by
        Name of the launcher.
    store
        torch's key-value store, kept by rank 0 or by torchrun.
    """

    local_rank: int = 0
    by: str = ""
    store: Any = None

    def gather(self, value: Any) -> list[Any]:
        """Values of all ranks, in rank order.

        Raises
        ------
        LostRank
            If one does not answer.
        """
        values: list[Any] = [None] * self.world
        with _answers():
            dist.all_gather_object(values, value)
        return values

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Enter and leave with all ranks; the process group ends with it.

        The rank that fails first raises its error; those that fail alike or because of it leave silently with the same
        exit status. So one process says what happened: rank 0 when it is a `ConfigError`, wrong on all ranks alike.

        Raises
        ------
        LaunchError
            If another rank was lost.
        """
        try:
            yield
            self.gather(None)
        except BaseException as error:
            log.debug("rank %d failed", self.rank, exc_info=True)
            tells = self._tells(error)
            # Closed connections are what the others notice.
            self._leave(failed=True)
            if self.rank == 0:
                self._await_others()
            if not tells:
                raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None
            failure = self._as_told(error)
            if failure is error:
                raise
            raise failure from None
        self._await_all()
        self._leave(failed=False)

    def _as_told(self, error: BaseException) -> BaseException:
        """The error as the user is to see it."""
        if isinstance(error, ConfigError) and self.rank:
            return LaunchError(f"rank {self.rank} of {self.world}: {error}")
        if not _is_connection(error):
            return error
        reason = " ".join(str(error).split())[-120:]
        return LaunchError(
            f"rank {self.rank} of {self.world} lost another rank (... {reason}); see what that rank or the batch "
            "system said about it; the same command goes on from the newest checkpoint"
        )

    def _tells(self, error: BaseException) -> bool:
        """Whether this rank says what happened; every rank does when the store is gone."""
        try:
            self.store.set_timeout(timedelta(seconds=_FAREWELL_SECONDS))
            first = self.store.add("failures", 1) == 1
            if isinstance(error, ConfigError):
                if self.rank == 0:
                    self.store.set("usage", "rank 0 tells")
                else:
                    self.store.wait(["usage"])
                first = self.rank == 0
            if self.rank:
                self.store.add("left", 1)
        except RuntimeError:
            return True
        return bool(first)

    def _await_all(self) -> None:
        """Wait until every rank is through with its last exchange: torch ends one whose connections close under it."""
        with contextlib.suppress(RuntimeError):
            self.store.add("through", 1)
            self._await("through", self.world)
            if self.rank:
                self.store.add("left", 1)
        if self.rank == 0:
            self._await_others()

    def _await_others(self) -> None:
        """Keep the store, which lives here, until the others need it no more."""
        with contextlib.suppress(RuntimeError):
            self._await("left", self.world - 1)

    def _await(self, name: str, count: int) -> None:
        end = time.monotonic() + _FAREWELL_SECONDS
        while time.monotonic() < end and self.store.add(name, 0) < count:
            time.sleep(0.02)

    def _leave(self, *, failed: bool) -> None:
        # After a failure NCCL may wait for the lost rank here; the end of the process closes its connections as well.
        if not (failed and torch.cuda.is_available()):
            dist.destroy_process_group()


class LostRank(LaunchError):
    """Another rank does not answer."""


@contextlib.contextmanager
def _answers() -> Iterator[None]:
    """Whatever torch says while ranks wait for each other means that one is lost."""
    try:
        yield
    except RuntimeError as error:
        raise LostRank(str(error)) from None


def _is_connection(error: BaseException) -> bool:
    """Whether an error, also one out of the averaging of gradients, comes from a lost rank."""
    if isinstance(error, LostRank | dist.DistError):
        return True
    words = ("gloo", "NCCL", "Connection", "pair closure", "imed out", "timeout", "Broken pipe")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


class Votes:
    """What all ranks do after a step, agreed upon without waiting: an answer comes one step after its question.

    Alone, answers come at once.
    """

    def __init__(self, world: int) -> None:
        self._world = world
        self._pending: tuple[Any, torch.Tensor] | None = None

    def cast(self, wish: int, *, last: int) -> int:
        """Ask for `wish` and get the highest wish of all ranks at the step before; none is asked after `last`."""
        if self._world == 1:
            return wish
        answer = self.close()
        if answer < last:
            ballot = torch.tensor([wish], dtype=torch.int32)
            with _answers():
                self._pending = dist.all_reduce(ballot, op=dist.ReduceOp.MAX, async_op=True), ballot
        return answer

    def close(self) -> int:
        """Wait for the answer under way, if there is one; else 0."""
        if self._pending is None:
            return 0
        work, ballot = self._pending
        self._pending = None
        with _answers():
            work.wait()
        return int(ballot)
