"""A study: several trainings side by side, each a run of its own, then their tables and one report."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hpcpdf.config import RunConfig
from hpcpdf.errors import HpcPdfError, LaunchError
from hpcpdf.evaluate.members import SCORES, Member, members
from hpcpdf.launch.pipeline import Stage, named, run_pipeline
from hpcpdf.launch.settings import check_finished, check_writable, save_config
from hpcpdf.stage import Context, stop_on_signals

Say = Callable[[str], None]

LOG = "log.txt"
"""What a member said, inside its folder."""

MEMBER_STAGES: tuple[Stage, ...] = (
    *named(("generate", "train")),
    Stage("score", "hpcpdf.evaluate.protocol", SCORES, "the published protocol", ("generate", "train")),
)
STUDY_STAGES: tuple[Stage, ...] = (
    Stage("collect", "hpcpdf.evaluate.study", "study", "tables of all members"),
    Stage("report", "hpcpdf.report.study_report", "report", "report.html"),
)

_NOTE_SECONDS = 30.0
_POLL_SECONDS = 0.2


def check_study(config: RunConfig) -> list[Member]:
    """The members, after everything that can be refused has been.

    Raises
    ------
    ConfigError
        If the study is not possible, or its folder holds results with other settings.
    """
    check_writable(config.run.out, "run.out =")
    found = members(config)
    for member in found:
        check_finished(member.config, [stage.folder for stage in MEMBER_STAGES])
    return found


def plan_study(config: RunConfig) -> list[str]:
    """What a study would do, one line a member."""
    lines = [
        f"{member.name:<44}" + ("finished already" if member.finished else "generate, train, score")
        for member in check_study(config)
    ]
    return [*lines, f"{len(lines)} members, {config.study.workers} at a time, then tables and report"]


def run_study(config: RunConfig, context: Context, *, say: Say = print) -> Path:
    """Train and score every member that is not finished, then write tables and report.

    Parameters
    ----------
    config
        With `study.models`; saved as ``<run.out>/config.json`` before the first member starts.
    context
        A single process: the members get processes of their own.
    say
        Receives the progress lines.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    LaunchError
        If a signal asked to stop, or members failed; the same command goes on with what is missing.
    """
    todo = [member for member in check_study(config) if not member.finished]
    save_config(config)
    if todo:
        with stop_on_signals(context):
            failed = _train(todo, config.study.workers, context, say)
        if failed:
            first = failed[0]
            raise LaunchError(
                f"{len(failed)} of {len(todo)} members failed, the first {first.name}: {_last_line(first)} (see "
                f"{first.folder / LOG}); hpcpdf report shows what is there"
            )
    return report_study(config, context, say=say)


def report_study(config: RunConfig, context: Context, *, say: Say = print) -> Path:
    """Tables and report of the members that are finished; what is missing is told in the report.

    Raises
    ------
    DataError
        If none is.
    """
    wanted = members(config)
    done = sum(member.finished for member in wanted)
    collect, report = STUDY_STAGES
    collect.run(config, context)
    path = report.run(config, context)
    say(f"{done} of {len(wanted)} members -> {path}")
    return path


def _train(todo: Sequence[Member], workers: int, context: Context, say: Say) -> list[Member]:
    """Run members in processes of their own, at most `workers` at a time; returns those that failed."""
    say(f"{len(todo)} members to train, {workers} at a time")
    waiting = list(todo)
    failed: list[Member] = []
    running: dict[Member, multiprocessing.process.BaseProcess] = {}
    fresh = multiprocessing.get_context("spawn")
    noted = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < workers and not context.stop:
                member = waiting.pop(0)
                running[member] = fresh.Process(target=run_member_process, args=(member,), name=member.name)
                running[member].start()
            for member, process in list(running.items()):
                if process.is_alive():
                    continue
                del running[member]
                if not member.finished:
                    failed.append(member)
                done = len(todo) - len(waiting) - len(running)
                say(f"[{done}/{len(todo)}] {member.name}: {_outcome(member)}")
            if context.stop:
                break
            if time.monotonic() - noted > _NOTE_SECONDS and running:
                noted = time.monotonic()
                say("; ".join(f"{member.name} {_epoch(member)}" for member in running))
            time.sleep(_POLL_SECONDS)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()
    if context.stop:
        raise LaunchError("stopped by a signal; the same command goes on where the members stopped")
    return failed


def run_member(member: Member, context: Context, *, say: Say = print) -> None:
    """The stages of one member in this process; finished ones are kept."""
    run_pipeline(member.config, context, MEMBER_STAGES, say=say)


def run_member_process(member: Member) -> None:
    """Entry of a member's own process: `run_member` with everything it says in its log file."""
    import logging

    member.folder.mkdir(parents=True, exist_ok=True)
    with (member.folder / LOG).open("a", buffering=1, encoding="utf-8") as log:
        sys.stdout = sys.stderr = log
        logger = logging.getLogger("hpcpdf")
        logger.handlers = [logging.StreamHandler(log)]
        logger.setLevel(logging.INFO)
        try:
            run_member(member, Context(), say=lambda line: print(line, flush=True))
        except HpcPdfError as error:
            print(f"error: {error}", flush=True)
            raise SystemExit(1) from None


def _outcome(member: Member) -> str:
    return f"done, {_epoch(member)}" if member.finished else f"failed: {_last_line(member)}"


def _epoch(member: Member) -> str:
    """How far its training is."""
    path = member.folder / "model" / "metrics.jsonl"
    try:
        count = len(path.read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        count = 0
    return f"epoch {count}/{member.config.training.max_epochs}"


def _last_line(member: Member) -> str:
    try:
        lines = (member.folder / LOG).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    return lines[-1].removeprefix("error: ") if lines else "no message"
