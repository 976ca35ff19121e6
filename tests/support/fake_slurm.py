"""Stand-ins for Slurm's commands: they note how they are called and answer what a test wrote down."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

_COMMAND = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
folder = Path(__file__).resolve().parent
name, arguments = Path(__file__).name, sys.argv[1:]
with (folder / "calls.jsonl").open("a") as calls:
    slurm = {{key: value for key, value in os.environ.items() if key.startswith(("SLURM", "PMI", "RANK"))}}
    calls.write(json.dumps([name, arguments, slurm]) + "\\n")
answers = json.loads((folder / "answers.json").read_text()).get(name, [])
taken = sum(1 for line in (folder / "calls.jsonl").read_text().splitlines() if json.loads(line)[0] == name)
status, out = answers[min(taken, len(answers)) - 1] if answers else (0, "")
if name == "sbatch" and status == 0 and "--test-only" not in arguments:
    (folder / f"script-{{taken}}.sh").write_text(Path(arguments[-1]).read_text())
    out = f"Submitted batch job {{100 + taken}}"
print(out, end="", file=sys.stdout if status == 0 else sys.stderr)
sys.exit(status)
"""


class FakeSlurm:
    """Commands in a folder that is first on the PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        # submitit takes a machine without srun for one without Slurm.
        for name in ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol"):
            path = folder / name
            path.write_text(_COMMAND)
            path.chmod(0o755)
        (folder / "answers.json").write_text("{}")
        (folder / "calls.jsonl").write_text("")
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def answer(self, command: str, *answers: tuple[int, str]) -> None:
        """Exit status and output of a command's next calls; the last one stays."""
        path = self.folder / "answers.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), command: answers}))
        kept = [line for line in self._lines() if json.loads(line)[0] != command]
        (self.folder / "calls.jsonl").write_text("".join(f"{line}\n" for line in kept))

    def calls(self, command: str) -> list[list[str]]:
        """Arguments of the calls of a command."""
        return [json.loads(line)[1] for line in self._lines() if json.loads(line)[0] == command]

    def environments(self, command: str) -> list[dict[str, str]]:
        """Launchers' variables that a command saw."""
        return [json.loads(line)[2] for line in self._lines() if json.loads(line)[0] == command]

    def script(self, number: int) -> str:
        """Text of a submitted script, counted from 1."""
        return (self.folder / f"script-{number}.sh").read_text()

    def _lines(self) -> list[str]:
        return (self.folder / "calls.jsonl").read_text().splitlines()


def nap(context, *, seconds: float = 0.0, fail: str = "", note: str = "", part: tuple[int, int] | None = None) -> None:
    """What jobs of tests do: wait until `seconds` are over or a signal comes; fail while the file `fail` is there."""
    if note:
        with Path(note).open("a") as file:
            file.write(json.dumps({"part": part, "rank": context.rank, "world": context.world}) + "\n")
    if fail and Path(fail).exists():
        from hpcpdf.errors import DataError

        raise DataError(f"{fail}: in the way; remove it")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if context.stopping():
            from hpcpdf.errors import LaunchError

            raise LaunchError("nap: stopped by a signal")
        time.sleep(0.02)


def crash(context, *, how: str) -> None:
    """End badly."""
    if how == "defect":
        raise KeyError("key")
    os._exit(3)
