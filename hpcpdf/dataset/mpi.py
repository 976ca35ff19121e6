"""Ranks: the context of a stage under ``mpiexec`` or ``srun``, and how ranks fail together.

mpi4py is imported here only, and only when a launcher started this process.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcpdf.errors import ConfigError, HpcPdfError, LaunchError
from hpcpdf.stage import Context

_log = logging.getLogger(__name__)

_FAILURE, _USAGE = 1, 2
"""Exit statuses of the command line: failed, and used wrongly."""

_FAILED = 41
"""Message tag that tells the other ranks to stop early."""

_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")


@dataclass(frozen=True)
class Launch:
    """What the environment says about the processes started together.

    Attributes
    ----------
    size
        Number of processes.
    by
        Name of the launcher, for messages.
    """

    size: int
    by: str


def launched(environment: Mapping[str, str] | None = None) -> Launch | None:
    """How this process was launched; None when it stands alone.

    A shell inside a Slurm allocation (``salloc``) stands alone; tasks of ``srun`` and the batch script do not.
    """
    env = os.environ if environment is None else environment
    for name in _SIZES:
        if env.get(name, "").isdecimal():
            by_srun = "SLURM_PROCID" in env and "HYDI_CONTROL_FD" not in env
            return Launch(int(env[name]), "srun" if by_srun else "mpiexec")
    tasks = env.get("SLURM_STEP_NUM_TASKS") or env.get("SLURM_NTASKS", "")
    if "SLURM_PROCID" in env and tasks.isdecimal() and int(tasks) > 1:
        return Launch(int(tasks), "srun")
    return None


def context_from_mpi() -> Context:
    """Context of this process: its MPI rank under a launcher, else a single rank.

    Raises
    ------
    LaunchError
        If the processes started together do not see each other (another MPI's ``mpiexec``, ``srun`` without its MPI
        plugin), or mpi4py is missing.
    """
    launch = launched()
    if launch is None or launch.size == 1:
        return Context()
    _name_mpich_wheel()
    try:
        comm = importlib.import_module("mpi4py.MPI").COMM_WORLD
    except (ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise LaunchError(
            f"{launch.by} started {launch.size} ranks but MPI cannot be loaded ({reason}); "
            "pip install 'hpcpdf[mpi]', or start a single process"
        ) from None
    if comm.Get_size() != launch.size:
        fix = (
            f"start it with srun --mpi=pmi2 -n {launch.size}, or ask for --ntasks=1"
            if launch.by == "srun"
            else "use the mpiexec that belongs to mpi4py's MPI (python -m pip install mpich; see hpcpdf doctor)"
        )
        raise LaunchError(f"{launch.by} started {launch.size} processes but MPI sees {comm.Get_size()}; {fix}")
    return MpiContext(rank=comm.Get_rank(), world=comm.Get_size(), comm=comm)


def _name_mpich_wheel() -> None:
    """Tell mpi4py where the mpich wheel is: by itself it does not look outside this environment's own prefix."""
    if "MPI4PY_LIBMPI" in os.environ:
        return
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        wheel = importlib.metadata.distribution("mpich")
        for file in wheel.files or ():
            if file.name.startswith("libmpi.so."):
                os.environ["MPI4PY_LIBMPI"] = str(Path(str(wheel.locate_file(file))).resolve())


@dataclass
class MpiContext(Context):
    """A rank of an MPI job.

    Every wait for the other ranks is a `gather`, which also carries failures: a rank that fails inside `together`
    tells the others at once and then takes part in whatever `gather` comes next, so no rank is left waiting.
    """

    comm: Any = None

    def stopping(self) -> bool:
        """Whether a signal came to this rank, or another rank failed."""
        return self.stop or bool(self.comm.iprobe(tag=_FAILED))

    def gather(self, value: Any) -> list[Any]:
        """Values of all ranks, in rank order.

        Raises
        ------
        PeerError
            If another rank failed instead of coming here.
        """
        return self._exchange(None, value)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Enter and leave with all ranks. After a failure rank 0 raises it, naming the rank; others leave silently.

        So exactly one process prints the error, all exit with the same status (`mpiexec` mixes different ones), and
        MPI still ends in order on all of them.
        """
        try:
            try:
                yield
                self._exchange(None, None)
            except PeerError:
                raise
            except BaseException as error:
                _log.debug("rank %d failed", self.rank, exc_info=True)
                peers = (peer for peer in range(self.world) if peer != self.rank)
                alarms = [self.comm.isend(None, dest=peer, tag=_FAILED) for peer in peers]
                try:
                    self._exchange(error, None)
                finally:
                    for alarm in alarms:
                        alarm.wait()
        except PeerError as failure:
            if self.rank:
                raise SystemExit(failure.status) from None
            if failure.own is not None:
                raise failure.own from None
            raise (ConfigError if failure.status == _USAGE else LaunchError)(str(failure)) from None

    def _exchange(self, failure: BaseException | None, value: Any) -> list[Any]:
        status = _FAILURE if failure is not None else 0
        if isinstance(failure, ConfigError) or (isinstance(failure, SystemExit) and failure.code == _USAGE):
            status = _USAGE
        text = "" if failure is None else _describe(failure)
        answers: list[tuple[int, str, Any]] = self.comm.allgather((status, text, value))
        failed = [rank for rank, answer in enumerate(answers) if answer[0]]
        if not failed:
            return [answer[2] for answer in answers]
        for rank in failed:
            if rank != self.rank:
                self.comm.recv(source=rank, tag=_FAILED)
        first = failed[0]
        raise PeerError(f"rank {first} of {self.world}: {answers[first][1]}", answers[first][0], failure)


class PeerError(HpcPdfError):
    """Some rank failed; `status` is the exit status for all, `own` this rank's error when it was one of them."""

    def __init__(self, message: str, status: int, own: BaseException | None) -> None:
        super().__init__(message)
        self.status = status
        self.own = own


def _describe(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, HpcPdfError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
