"""Which processor each rank computes on, and how many threads it takes."""

from __future__ import annotations

import logging
import os
import platform

import torch

from hpcpdf.config import TrainingSection
from hpcpdf.errors import ConfigError, LaunchError
from hpcpdf.stage import Context
from hpcpdf.training.distributed import RankContext

log = logging.getLogger(__name__)


def choose_device(section: TrainingSection, context: Context) -> torch.device:
    """Device of this rank; also sets its threads, and reports what the ranks use and how they are connected.

    Raises
    ------
    ConfigError
        If CUDA is asked for and missing.
    LaunchError
        If ranks have devices of different kinds, or share a GPU.
    """
    local_rank = context.local_rank if isinstance(context, RankContext) else 0
    device = pick_device(section.device, local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    places = context.gather((platform.node(), device.type, _gpu(device)))
    hosts = [host for host, _, _ in places]
    if section.threads is not None:
        torch.set_num_threads(section.threads)
    elif context.world > 1 and "OMP_NUM_THREADS" not in os.environ:
        # By default every rank would take all processors of its node.
        torch.set_num_threads(max(1, _processors() // hosts.count(platform.node())))
    _check(places)
    threads = f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {threads}"
    if not isinstance(context, RankContext):
        log.info("training on %s", name)
    else:
        backend = "nccl" if device.type == "cuda" else "gloo"
        nodes = len(set(hosts))
        log.info(
            "training on %d ranks (%s) of %d host%s by %s, each %s; batch %d = %.3g a rank",
            *(context.world, backend, nodes, "s" * (nodes > 1), context.by, name),
            *(section.batch, section.batch / context.world),
        )
    return device


def pick_device(wanted: str, local_rank: int = 0) -> torch.device:
    """CUDA when asked for or available; a clear error when asked for and missing."""
    if wanted == "cpu" or not torch.cuda.is_available():
        if wanted == "cuda":
            raise ConfigError("training.device = cuda, but torch sees no CUDA device; use device = 'cpu' or 'auto'")
        return torch.device("cpu")
    visible = torch.cuda.device_count()
    # A batch system may show each rank its own GPU only.
    index = 0 if visible == 1 else local_rank
    if index >= visible:
        raise LaunchError(
            f"rank {local_rank} of this node has no GPU, torch sees {visible}; start at most {visible} ranks a node"
        )
    return torch.device("cuda", index)


def _gpu(device: torch.device) -> str:
    """What tells this GPU from others of the host; empty for the CPU, or when torch does not say."""
    return str(getattr(torch.cuda.get_device_properties(device), "uuid", "")) if device.type == "cuda" else ""


def _check(places: list[tuple[str, str, str]]) -> None:
    kinds = sorted({kind for _, kind, _ in places})
    if len(kinds) > 1:
        lacking = ", ".join(sorted({host for host, kind, _ in places if kind == "cpu"}))
        raise LaunchError(
            f"some ranks have GPUs and others none ({lacking}); ask for GPUs on all nodes, or device = 'cpu'"
        )
    seen: dict[tuple[str, str], int] = {}
    for rank, (host, _, gpu) in enumerate(places):
        other = seen.setdefault((host, gpu), rank) if gpu else rank
        if other != rank:
            raise LaunchError(f"ranks {other} and {rank} share one GPU of {host}; start one rank for each GPU")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
