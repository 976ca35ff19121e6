"""A series as jobs: an array whose jobs solve stretches of files, and one that joins them to trends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hpcpdf.errors import LaunchError
from hpcpdf.launch.graph import Graph, Node
from hpcpdf.launch.jobs import Say
from hpcpdf.launch.profiles import Profile
from hpcpdf.launch.series import read_series, solve_series_files
from hpcpdf.launch.solving import SolveSettings
from hpcpdf.launch.submit import submit_beside
from hpcpdf.pdf.fq import Reading
from hpcpdf.series.plan import stretches
from hpcpdf.stage import Context


def submit_series(
    files: Sequence[Path],
    settings: SolveSettings,
    out: Path,
    tasks: int | None,
    profile: Profile,
    *,
    reading: Reading,
    overwrite: bool = False,
    show: bool = False,
    say: Say,
) -> Graph:
    """Submit a series as an array of jobs and one that joins them; returns at once.

    Every job solves whole stretches (`hpcpdf.series.plan`) into their folders. The last one goes on from there as an
    interrupted series does, looks for motifs that one stretch brought up in the others, and writes the trends.

    Parameters
    ----------
    files, settings, out, reading, overwrite
        As for `solve_series_files`.
    tasks
        Jobs of the array; None: as many as the profile lets run at a time. Never more than there are stretches.
    profile
        What a job gets (its section ``reconstruct``).
    show
        Show the scripts instead and write nothing.
    say
        Receives the lines.

    Raises
    ------
    ConfigError, DataError
        For everything that can be known before the first job starts.
    """
    paths, pdfs, unreadable = read_series(files, settings, out, reading)
    count = min(tasks or profile.array_parallelism, len(stretches(len(pdfs))))
    out = out.absolute()
    given = {
        "files": [str(path.absolute()) for path in paths],
        "settings": {name: _plain(value) for name, value in asdict(settings).items()},
        "out": str(out),
        "reading": reading.stated(),
        "overwrite": overwrite,
    }
    here = "hpcpdf.launch.series_jobs"
    once: dict[str, Any] = {"resources": "reconstruct", "nodes": 1, "tasks": 1}
    nodes = [
        Node("stretches", f"{here}:share", {"given": given}, array=count, **once),
        Node("trends", f"{here}:join", {"given": given}, after=("stretches",), **once),
    ]
    for message in unreadable.values():
        say(f"left out: {message}")
    job = f"{len(pdfs)} files, {count} jobs"
    return submit_beside(nodes, out, profile, title=out.name, job=job, show=show, say=say)


def share(context: Context, *, given: dict[str, Any], part: tuple[int, int]) -> None:
    """One job of the array."""
    _solve(context, given, part)


def join(context: Context, *, given: dict[str, Any]) -> None:
    """The last job."""
    _solve(context, given, None)


def _solve(context: Context, given: dict[str, Any], part: tuple[int, int] | None) -> None:
    if context.world > 1:
        raise LaunchError(f"a series needs one process a job, started were {context.world}")
    known = SolveSettings(**given["settings"])
    settings = replace(
        known,
        r_range=(known.r_range[0], known.r_range[1]),
        model=None if known.model is None else Path(known.model),
        instrument=None if known.instrument is None else Path(known.instrument),
    )
    solve_series_files(
        [Path(path) for path in given["files"]],
        settings,
        Path(given["out"]),
        reading=Reading(**given["reading"]),
        overwrite=given["overwrite"],
        part=part,
        processes=False,
        say=lambda line: print(line, flush=True),
    )


def _plain(value: Any) -> Any:
    """JSON data; files from wherever a job begins."""
    return str(value.absolute()) if isinstance(value, Path) else value
