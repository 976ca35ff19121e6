"""Which rank this process is, from what torchrun, srun or submitit (whose tasks are srun's) tell in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from hpcpdf.dataset.mpi import launched
from hpcpdf.errors import LaunchError
from hpcpdf.stage import Context

_FIRST_PORT, _PORTS = 12000, 18000  # below what systems hand out by themselves (32768 and up)


@dataclass(frozen=True)
class Place:
    """One of `world` processes that train together.

    Attributes
    ----------
    rank, world
        Which process, of how many.
    local_rank
        Which of those on this node.
    host, port
        Where the ranks meet.
    by
        Name of the launcher, for messages.
    attempt
        Which start of these ranks, counted by torchrun, which keeps the meeting place between them; None when rank 0
        has to open it.
    """

    rank: int
    world: int
    local_rank: int
    host: str
    port: int
    by: str
    attempt: int | None = None


def context_from_launcher() -> Context:
    """Context of this process: its rank under torchrun, srun or submitit, else a single rank.

    Raises
    ------
    LaunchError
        If processes started together cannot find each other, or do not meet.
    """
    where = place()
    if where is None:
        return Context()
    # Else torch warns on every rank that batches may use all parameters; read when torch is loaded.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # torch comes in here only: a command that trains nothing starts fast.
    from hpcpdf.training.distributed import meet

    return meet(where)


def place(environment: Mapping[str, str] | None = None) -> Place | None:
    """Where this process stands; None when it trains alone.

    Raises
    ------
    LaunchError
        If several processes were started in a way that they cannot find each other.
    """
    env = os.environ if environment is None else environment
    launch = launched(env)
    if "RANK" in env and "WORLD_SIZE" in env:
        return _of_torchrun(env, started=1 if launch is None else launch.size)
    if launch is None or launch.size == 1:
        return None
    if launch.by == "mpiexec":
        raise LaunchError(
            f"mpiexec started {launch.size} processes, which torch cannot connect; "
            f"train with torchrun --nproc-per-node {launch.size} --no-python hpcpdf train CONFIG, or with srun"
        )
    if "SLURM_STEP_NUM_TASKS" not in env:
        raise LaunchError(
            f"this job has {launch.size} tasks but training runs as one process; "
            f"start it as srun -n {launch.size} hpcpdf train CONFIG, or ask for --ntasks=1"
        )
    return _of_srun(env, launch.size)


def _of_torchrun(env: Mapping[str, str], started: int) -> Place | None:
    world, rank = _number(env, "WORLD_SIZE"), _number(env, "RANK")
    if world == 1 and started > 1:
        raise LaunchError(
            f"srun started {started} tasks but WORLD_SIZE = 1 makes each train alone; unset RANK and WORLD_SIZE, "
            "or give torchrun --nnodes and --rdzv-endpoint"
        )
    if not 0 <= rank < world:
        raise LaunchError(
            f"RANK = {rank} does not lie in 0 ... WORLD_SIZE - 1 = {world - 1}; start with torchrun or srun"
        )
    if world == 1:
        return None
    if "MASTER_ADDR" not in env:
        raise LaunchError(f"WORLD_SIZE = {world} is set but MASTER_ADDR is not; start with torchrun or srun")
    kept = env.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return Place(
        rank,
        world,
        _number(env, "LOCAL_RANK", 0),
        env["MASTER_ADDR"],
        _number(env, "MASTER_PORT"),
        by="torchrun" if "TORCHELASTIC_RUN_ID" in env else "RANK and WORLD_SIZE",
        attempt=_number(env, "TORCHELASTIC_RESTART_COUNT", 0) if kept else None,
    )


def _of_srun(env: Mapping[str, str], world: int) -> Place:
    host = env.get("MASTER_ADDR") or first_host(env.get("SLURM_STEP_NODELIST") or env["SLURM_JOB_NODELIST"])
    port = _number(env, "MASTER_PORT", 0) or _port(env)
    return Place(_number(env, "SLURM_PROCID"), world, _number(env, "SLURM_LOCALID", 0), host, port, by="srun")


def _port(env: Mapping[str, str]) -> int:
    """A port that jobs, their steps and their restarts seldom share."""
    job, step, again = (_number(env, f"SLURM_{name}", 0) for name in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
    return _FIRST_PORT + (job * 37 + step * 5 + again) % _PORTS


def first_host(nodes: str) -> str:
    """First name of a Slurm node list such as ``n[01-03,7],login``."""
    name, depth = "", 0
    taking = True
    for letter in nodes.strip():
        if letter == "," and depth == 0:
            break
        if letter in "[]":
            depth += 1 if letter == "[" else -1
            taking = True
        elif depth and letter in "-,":
            taking = False
        elif taking:
            name += letter
    return name


def _number(env: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = env.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise LaunchError(f"{name} = {text!r} in the environment is not a number; start with torchrun or srun")
    return int(text)
