"""Generation: samples to shards on any number of ranks, then the master file."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from hpcpdf.config import RunConfig
from hpcpdf.dataset.master import write_master
from hpcpdf.dataset.progress import Progress
from hpcpdf.dataset.samples import ClusterSource, cluster_source, fill_samples
from hpcpdf.dataset.schema import MASTER, Layout, layout_of, settings_of, shard_settings
from hpcpdf.dataset.shards import inspect_shard, write_shard
from hpcpdf.errors import DataError, LaunchError
from hpcpdf.stage import DONE, Context, is_finished, mark_finished, stop_on_signals


def run(config: RunConfig, context: Context) -> Path:
    """Generate the data set of a configuration into ``<run.out>/dataset``.

    Shards are fixed ranges of samples and shard i belongs to rank ``i % world``; what a shard holds depends on the
    configuration alone. Intact shards of an earlier, interrupted run are kept; missing or damaged ones are made again,
    also when the data set was finished before. Samples that repeat an earlier one's shape, element and
    nearest-neighbour distance do not appear in the master file.

    Parameters
    ----------
    config
        `run.out`, `run.seed`, `clusters`, `pdf` and `dataset` matter here.
    context
        Rank and number of ranks; all ranks call this together.

    Returns
    -------
    Path
        The data set's folder.

    Raises
    ------
    ConfigError
        If the folder holds data made with other settings, or the settings cannot be met.
    DataError
        If files cannot be written (full disk, read-only folder).
    LaunchError
        If a signal asked to stop, or another rank failed. The same command then goes on where it stopped.
    """
    folder = config.run.out / "dataset"
    with stop_on_signals(context), context.together(), _disk_errors(folder):
        _generate(config, context, folder)
    return folder


def _generate(config: RunConfig, context: Context, folder: Path) -> None:
    layout = layout_of(config)
    settings = settings_of(config)
    finished = is_finished(folder, settings)
    mine = range(context.rank, layout.n_shards, context.world)
    states = [inspect_shard(folder, index, layout, shard_settings(config)) for index in mine]
    todo = [state.index for state in states if not state.intact]
    share = sum(len(layout.shard(index)) for index in todo)
    whole = finished and (context.rank > 0 or _master_intact(folder))
    answers = context.gather((share, whole))
    missing = sum(count for count, _ in answers)
    if not missing and all(kept for _, kept in answers):
        return
    source = _checked_source(config, todo, layout)
    context.gather(None)
    if context.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DONE).unlink(missing_ok=True)
        for leftover in folder.glob(".*.h5"):
            leftover.unlink()
    context.gather(None)
    _make_shards(config, context, folder, layout, todo, source, Progress(missing, share, context))
    made = sorted(index for part in context.gather(list(mine)) for index in part)
    if context.rank == 0:
        if made != list(range(layout.n_shards)):
            raise LaunchError(f"{folder}: the ranks made other shards than expected; start them all with one launcher")
        summary = write_master(folder, config, layout)
        mark_finished(folder, settings, summary=summary, master_crc32=_crc32(folder / MASTER))


def _checked_source(config: RunConfig, todo: list[int], layout: Layout) -> ClusterSource | None:
    """Cluster source, tried once so that what cannot be drawn is refused before anything is written."""
    if not todo:
        return None
    source = cluster_source(config)
    source(layout.shard(todo[0]).start)
    return source


def _make_shards(
    config: RunConfig,
    context: Context,
    folder: Path,
    layout: Layout,
    todo: list[int],
    source: ClusterSource | None,
    progress: Progress,
) -> None:
    if source is None:
        return
    for index in todo:
        ids = layout.shard(index)
        arrays = layout.empty(len(ids))
        for _ in fill_samples(config, layout, source, ids, arrays):
            if context.stop:
                raise LaunchError(f"{folder}: stopped by a signal; run the same command again to go on")
            if context.stopping():
                return
            progress.sample()
        write_shard(folder, index, arrays, layout, shard_settings(config))
    progress.close()


def _master_intact(folder: Path) -> bool:
    try:
        noted = json.loads((folder / DONE).read_text()).get("master_crc32")
        return bool(noted == _crc32(folder / MASTER))
    except FileNotFoundError:
        return False


def _crc32(path: Path) -> int:
    return zlib.crc32(path.read_bytes())


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise DataError(
            f"{where}: cannot be written ({error.strerror or error}); free space or choose another run.out, "
            "then run the same command again to go on"
        ) from None
