"""Processes that train together: same curve for any number, exact resume after any accident, and they fail as one."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import ddp_worker
import pytest
from curves import assert_same_bits, assert_same_curve
from ddp_worker import LAUNCHER, Case, Ranks, free_port

from hpcpdf.training.checkpoint import checkpoints, newest_checkpoint


@pytest.fixture(scope="module", autouse=True)
def server():
    """The process that ranks are forked from: it has torch loaded, and one thread."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(LAUNCHER):
                patch.delenv(name)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(Path(ddp_worker.__file__).parent))
        patch.setenv("TORCH_CPP_LOG_LEVEL", "ERROR")  # as the command sets it before torch is loaded
        fork = multiprocessing.get_context("forkserver")
        fork.set_forkserver_preload(["ddp_warm"])
        first = fork.Process(target=print)
        first.start()
        first.join()
        yield


def train(folder: Path, world: int, **case: object) -> None:
    statuses, told = Ranks(folder, world, Case(**case)).end()
    assert (statuses, told) == ([0] * world, [])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Folder of a training of `world` ranks to which nothing happened."""
    made: dict[int, Path] = {}

    def of(world: int) -> Path:
        if world not in made:
            made[world] = tmp_path_factory.mktemp("ranks") / str(world)
            train(made[world], world)
        return made[world]

    return of


@pytest.mark.parametrize("world", [2, 4])
def test_any_number_of_ranks_follows_the_same_curve(undisturbed, world):
    """37 samples in batches of 10: shares differ within a batch, and between batches."""
    assert_same_curve(undisturbed(world), undisturbed(1))


def test_a_batch_with_fewer_samples_than_ranks(tmp_path):
    """36 + 1: three of four ranks have nothing to do in the last step."""
    for world in (1, 4):
        train(tmp_path / str(world), world, batch=36, epochs=2)
    assert_same_curve(tmp_path / "4", tmp_path / "1")


def test_killed_at_steps_one_after_the_other(tmp_path, undisturbed):
    """Of 16 steps in epochs of 4; what was not saved is done again."""
    folder = tmp_path / "run"
    for step in (1, 4, 5, 7, 11, 16):
        statuses, _ = Ranks(folder, 1, Case(at=step, pause=0.0 if step < 7 else 3600.0)).end()
        assert statuses == [-signal.SIGKILL]
        assert checkpoints(folder)[0][0] == min(step, 5) - 1 if step > 1 else not checkpoints(folder)
    train(folder, 1)
    assert_same_bits(folder, undisturbed(1))


def test_killed_from_outside_at_any_moment(tmp_path):
    """Also while a checkpoint or a line is being written."""
    whole, parts, case = tmp_path / "whole", tmp_path / "parts", Case(epochs=30)
    train(whole, 1, epochs=case.epochs)
    moments = random.Random(seed := time.time_ns())
    reached = [0]
    while len(reached) < 5:
        ranks = Ranks(parts, 1, case)
        while ranks.processes[0].is_alive() and [number for number, _ in checkpoints(parts)[:1]] <= reached[-1:]:
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, 0.2))
        ranks.processes[0].kill()
        statuses, _ = ranks.end()
        assert statuses == [-signal.SIGKILL], f"too late, after {reached} (seed {seed})"
        reached.append(checkpoints(parts)[0][0])
    assert reached == sorted(set(reached))
    train(parts, 1, epochs=case.epochs)
    assert_same_bits(parts, whole)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_others_at_once_and_all_go_on_exactly(tmp_path, undisturbed, victim):
    folder = tmp_path / "run"
    ranks = Ranks(folder, 2, Case(at=6, victim=victim))
    ranks.processes[victim].join(120.0)
    killed = time.monotonic()
    statuses, told = ranks.end(60.0)
    assert time.monotonic() - killed < 20.0
    assert (statuses[victim], statuses[1 - victim]) == (-signal.SIGKILL, 1)
    (text,) = told
    assert re.fullmatch(
        rf"error: rank {1 - victim} of 2 lost another rank .* goes on from the newest checkpoint\n", text
    )
    assert checkpoints(folder)[0][0] == 5
    train(folder, 2)
    assert_same_bits(folder, undisturbed(2))


def test_a_rank_that_falls_silent_is_not_waited_for_without_end(tmp_path):
    """Its connections stay open, as when a machine vanishes."""
    case = Case(number=signal.SIGSTOP, at=6, victim=1, patience=5.0)
    ranks = Ranks(tmp_path / "run", 2, case)
    ranks.processes[0].join(60.0)
    statuses, told = ranks.end(0.0)
    assert statuses == [1, None]
    assert len(told) == 1
    assert told[0].startswith("error: rank 0 of 2 lost another rank ")


@pytest.mark.parametrize(("number", "victim"), [("USR2", 1), ("TERM", 0), ("INT", 2)])
def test_a_signal_to_one_rank_stops_all_after_the_same_step(tmp_path, undisturbed, number, victim):
    """The others learn of it one step later; then any number of ranks goes on."""
    folder = tmp_path / "run"
    case = Case(number=signal.Signals[f"SIG{number}"], at=5, victim=victim, pause=3600.0)
    statuses, told = Ranks(folder, 3, case).end()
    assert (statuses, told) == ([1, 1, 1], ["error: stopped after step 6\n"])
    _, state = newest_checkpoint(folder)
    assert (state["epoch"], state["step"], len(state["sums"])) == (1, 2, 3)
    train(folder, 2)
    assert_same_curve(folder, undisturbed(1))


@pytest.mark.parametrize("rank", [0, 2])
def test_an_error_of_one_rank_is_told_once_and_ends_all(tmp_path, rank):
    statuses, told = Ranks(tmp_path / "run", 3, Case(refuses=rank)).end(60.0)
    assert (statuses, told) == ([1, 1, 1], ["error: no data here\n"])


@pytest.fixture
def small_run(tmp_path, hpcpdf_command):
    """A configuration whose data set is made."""
    path = tmp_path / "small.toml"
    path.write_text(
        "[run]\nout = 'run'\n[clusters]\nn = 120\nmax_atoms = 12\nelements = ['Pt']\n"
        "[model]\nhidden = 16\nlatent = 3\n[training]\nbatch = 32\nmax_epochs = 2\n"
    )
    done = hpcpdf_command("generate", path)
    assert done.returncode == 0, done.stderr
    return path


def torchrun(folder: Path, world: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    tools = Path(sys.executable).parent
    command = [tools / "torchrun", "--nproc-per-node", world, "--master-port", free_port(), "--no-python"]
    command += [tools / "hpcpdf", "train", *arguments]
    return subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=300)


def test_the_command_under_torchrun(tmp_path, small_run, hpcpdf_command):
    """Wrong use is told once, and so is every line; the model is that of one process."""
    wrong = torchrun(tmp_path, 2, small_run, "--set", "training.batch=1")
    assert [line for line in wrong.stderr.splitlines() if line.startswith("hpcpdf: error")] == [
        "hpcpdf: error: training.batch = 1 leaves nothing to do for some of 2 ranks; "
        "use fewer ranks, or a batch at least as large"
    ]
    done = torchrun(tmp_path, 2, small_run)
    assert (done.returncode, done.stderr) == (0, "")
    assert "training on 2 ranks (gloo) of 1 host by torchrun, each CPU, 1 thread; batch 32 = 16 a rank" in done.stdout
    assert done.stdout.count("epoch 1/2") == done.stdout.count("[1/1] train: the conditional") == 1
    folder = tmp_path / "run" / "model"
    assert json.loads((folder / "provenance.json").read_text())["ranks"] == 2
    folder.rename(tmp_path / "two")
    assert hpcpdf_command("train", small_run).returncode == 0
    assert_same_curve(tmp_path / "two", folder)
