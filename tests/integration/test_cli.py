"""The command line from outside: help, exit codes, configuration verbs, interruption."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from launchers import mpiexec

import hpcpdf


def _verbs(listing: str) -> list[str]:
    return re.findall(r"^  ([a-z]+)  ", listing.partition("Commands:")[2], re.MULTILINE)


def _spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_help_is_fast(hpcpdf_command):
    # Processor time: what the answer takes on a machine that has nothing else to do.
    spent = []
    for _ in range(5):
        start = _spent()
        done = hpcpdf_command("--help")
        spent.append(_spent() - start)
        assert done.returncode == 0
        assert not done.stderr
    assert min(spent) < 0.3


def test_help_path_imports(tmp_path):
    program = "import sys, hpcpdf.cli.main; print([m for m in ('numpy', 'torch', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"


def test_every_verb_has_help_with_an_example(hpcpdf_command):
    verbs = _verbs(hpcpdf_command("--help").stdout)
    assert {"run", "generate", "train", "evaluate", "report", "doctor", "config"} <= set(verbs)
    for verb in verbs:
        done = hpcpdf_command(verb, "--help")
        assert done.returncode == 0
        if verb in ("config", "jobs"):
            for part in _verbs(done.stdout):
                assert f"Example: hpcpdf {verb} {part}" in hpcpdf_command(verb, part, "--help").stdout
        else:
            assert f"hpcpdf {verb}" in done.stdout.partition("Example: ")[2]


def test_verbs_that_write_offer_a_dry_run(hpcpdf_command):
    verbs = {(verb,) for verb in _verbs(hpcpdf_command("--help").stdout)} - {
        ("bench",),
        ("doctor",),
        ("config",),
        ("jobs",),
    }
    for verb in verbs | {("jobs", "cancel"), ("jobs", "retry")}:
        assert "--dry-run" in hpcpdf_command(*verb, "--help").stdout, verb


def test_version(hpcpdf_command):
    assert hpcpdf_command("--version").stdout == f"hpcpdf {hpcpdf.__version__}\n"
    assert hpcpdf.__version__ == metadata.version("hpcpdf")


@pytest.mark.parametrize("arguments", [["walk"], ["run"], ["config", "check"], ["run", "a.toml", "--sett", "b"]])
def test_usage_errors_are_one_line_and_code_2(hpcpdf_command, arguments):
    done = hpcpdf_command(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("hpcpdf: error: ")
    assert done.stderr.count("\n") == 1
    assert "--help" in done.stderr


def test_config_show_reads_back_to_the_same(hpcpdf_command, tmp_path):
    changed = hpcpdf_command("config", "show", "--set", "run.seed=7", "--set", "pdf.biso=[0.1,1.0]")
    (tmp_path / "my.toml").write_text(changed.stdout)
    assert tomllib.loads(changed.stdout)["run"]["seed"] == 7
    assert hpcpdf_command("config", "show", "my.toml").stdout == changed.stdout
    assert hpcpdf_command("config", "check", "my.toml").stdout == "my.toml: correct\n"


def test_config_schema_is_json_with_all_sections(hpcpdf_command):
    schema = json.loads(hpcpdf_command("config", "schema").stdout)
    assert {"run", "clusters", "pdf", "training"} <= set(schema["properties"])


def test_dry_run_names_the_stages_and_writes_nothing(hpcpdf_command, tmp_path):
    (tmp_path / "my.toml").write_text("")
    done = hpcpdf_command("run", "my.toml", "--set", "run.out=result", "--dry-run")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "generate",
        "train",
        "reconstruct",
        "evaluate",
        "report",
    ]
    assert os.listdir(tmp_path) == ["my.toml"]


def test_doctor_reports_and_saves(hpcpdf_command, tmp_path):
    done = hpcpdf_command("doctor", "--json", "checks.json")
    checks = json.loads((tmp_path / "checks.json").read_text())
    subjects = {check["subject"] for check in checks}
    assert {"hpcpdf", "compiled core", "torch", "MPI", "HDF5", "Slurm", "GPU", "diffpy.srreal"} <= subjects
    broken = [check for check in checks if check["status"] == "broken"]
    assert done.returncode == (1 if broken else 0)
    assert all(check["fix"] for check in broken)


def test_output_closed_by_its_reader_is_no_error(tmp_path):
    command = f"{Path(sys.executable).with_name('hpcpdf')} config schema | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "{\n"
    assert not done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_in_one_line(tmp_path, number, code):
    program = (
        "import sys, time; import hpcpdf.launch.doctor as d; from hpcpdf.cli.main import main\n"
        "def wait(profile):\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "d.examine = wait; sys.exit(main(['doctor']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert errors.startswith("hpcpdf: ")
    assert errors.count("\n") == 1


@pytest.mark.mpi
def test_a_wrong_call_is_said_by_one_rank_only(tmp_path):
    command = [mpiexec(), "-n", "2", Path(sys.executable).with_name("hpcpdf"), "generate", "absent.toml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("hpcpdf: error: absent.toml: no such configuration file") == 1
