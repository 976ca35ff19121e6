"""Stages of the pipeline at a pace that leaves time to disturb them; what they compute is the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def run_stage(context, *, run: str, stage: str, pause: float, part: tuple[int, int] | None = None) -> None:
    """What a job of the pipeline does, with a pause after every shard, epoch or block, frequent checkpoints and
    small blocks.

    Parameters
    ----------
    run, stage
        As of :func:`hpcpdf.launch.slurm_run.run_stage`; of the stage ``blocks`` a part is done.
    pause
        Seconds.
    """
    from hpcpdf.dataset import generate
    from hpcpdf.launch import slurm_run
    from hpcpdf.reconstruct import batch
    from hpcpdf.reconstruct.blocks import Blocks
    from hpcpdf.training.loop import Trainer

    Trainer.checkpoint_seconds = 0.5
    batch.RANKED_BLOCK = 4
    for owner, name in ((generate, "write_shard"), (Trainer, "_report"), (Blocks, "write")):
        setattr(owner, name, _slower(getattr(owner, name), pause))
    if part is None:
        slurm_run.run_stage(context, run=run, stage=stage)
    else:
        slurm_run.reconstruct_blocks(context, run=run, part=part)


def _slower(function: Callable[..., Any], pause: float) -> Callable[..., Any]:
    def slow(*arguments: Any) -> Any:
        result = function(*arguments)
        time.sleep(pause)
        return result

    return slow


def deaf(context) -> None:
    """Work for ever and heed no signal."""
    while True:
        time.sleep(1.0)
