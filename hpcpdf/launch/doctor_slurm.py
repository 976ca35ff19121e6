"""Checks of the batch system: whether it answers, and whether a profile's jobs and ranks would start."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from hpcpdf.launch.findings import Check, call, last_line
from hpcpdf.launch.graph import Graph, Node
from hpcpdf.launch.profiles import Profile
from hpcpdf.launch.submit import LARGEST_ARRAY, refused, scripts

_STAGES = ("generate", "train", "reconstruct", "evaluate", "report")

_WAIT = 20
"""Seconds in which Slurm must find place for two ranks; on a full cluster this part is left out."""

_MEETING = (
    "from hpcpdf.dataset.mpi import context_from_mpi; from hpcpdf._core import instruction_level; "
    "context = context_from_mpi(); print('world', context.world, instruction_level())"
)


def check_slurm() -> Iterator[Check]:
    """Whether there is a batch system, its controller answers, and what it offers."""
    if shutil.which("sinfo") is None:
        yield Check("Slurm", "note", "not on this machine; stages run here")
        return
    done = call("scontrol", "ping")
    if "configuration source" in done.stderr:
        fix = "on a cluster: set SLURM_CONF to its slurm.conf; elsewhere: nothing to do"
        yield Check("Slurm", "note", "programs without a configuration; stages run here", fix)
        return
    if done.returncode != 0 or "is UP" not in done.stdout:
        fix = "ask the administrators; if SLURM_CONF is stale, unset it"
        down = [line for line in done.stdout.splitlines() if "is DOWN" in line]
        yield Check("Slurm", "broken", down[0] if down else last_line(done), fix)
        return
    settings = _settings()
    yield Check("Slurm", "ok", f"{settings.get('SLURM_VERSION', 'unknown version')}, controller answers")
    yield from _partitions()
    yield from _accounting(settings)
    largest = int(settings.get("MaxArraySize", "1001")) - 1
    if largest < LARGEST_ARRAY:
        fix = f"ask for MaxArraySize = {LARGEST_ARRAY + 1}, or keep arrays smaller"
        yield Check("job arrays", "note", f"at most {largest} jobs; hpcpdf sends up to {LARGEST_ARRAY} in one", fix)


def _settings() -> dict[str, str]:
    lines = call("scontrol", "show", "config").stdout.splitlines()
    pairs = (line.partition("=") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _partitions() -> Iterator[Check]:
    done = call("sinfo", "--noheader", "--format=%R|%a|%F")
    up, nodes = [], 0
    for line in done.stdout.splitlines():
        name, state, counts = line.split("|")
        allocated, idle, _, total = (int(count) for count in counts.split("/"))
        if state == "up" and allocated + idle:
            up.append(f"{name} ({allocated + idle} of {total} nodes)")
        nodes += allocated + idle
    if done.returncode != 0:
        yield Check("partitions", "broken", last_line(done), "ask the administrators")
    elif not up:
        yield Check("partitions", "broken", "none is up with a node that works", "see sinfo -R; ask the administrators")
    else:
        yield Check("partitions", "ok", ", ".join(up))


def _accounting(settings: Mapping[str, str]) -> Iterator[Check]:
    kind = settings.get("AccountingStorageType", "")
    if not kind.endswith("slurmdbd"):
        yield Check("accounting", "note", "none: sacct knows nothing, hpcpdf jobs reads its own markers")
        return
    done = call("sacctmgr", "--noheader", "--parsable2", "list", "cluster", "format=cluster")
    if done.returncode != 0:
        fix = "ask the administrators for slurmdbd; hpcpdf jobs goes on with its own markers"
        yield Check("accounting", "broken", last_line(done), fix)
    else:
        yield Check("accounting", "ok", f"slurmdbd answers for {', '.join(done.stdout.split())}")


def check_profile(profile: Profile) -> Iterator[Check]:
    """Whether Slurm accepts the jobs of a profile, and two ranks started with it meet."""
    name = profile.name
    if shutil.which("sbatch") is None:
        yield Check("profile", "broken", f"{name}: Slurm is not on this machine", "try it on the cluster's login node")
        return
    nodes = tuple(Node(stage, "hpcpdf.launch.slurm_run:run_stage", resources=stage) for stage in _STAGES)
    with tempfile.TemporaryDirectory() as folder:
        objections = refused(scripts(Graph(Path(folder), nodes, "doctor", profile.name), profile))
    for stage, said in objections.items():
        yield Check("profile", "broken", f"{name}, {stage}: {said}", "correct the profile: partition, account, amounts")
    if not objections:
        yield Check("profile", "ok", f"{name}: Slurm accepts the jobs of all stages")
    offered = _plugins()
    if profile.mpi not in offered:
        fix = f'set mpi = "{_best(offered)}" in the profile' if _best(offered) else "ask for a Slurm built with PMI"
        found = f"srun knows no plugin {profile.mpi}; it has {', '.join(offered) or 'none'}"
        yield Check("MPI in Slurm", "broken", found, fix)
    elif not objections:
        yield from _meeting(profile, offered)


def _plugins() -> list[str]:
    """Names that ``srun --mpi=`` takes."""
    done = call("srun", "--mpi=list")
    # Some versions write to stderr; special builds of a plugin stand in a line of their own.
    lines = (done.stdout + done.stderr).splitlines()
    names = [line.strip() for line in lines if line.strip() and " " not in line.strip()]
    return names + [word for line in lines if "versions available:" in line for word in line.split(":")[1].split()]


def _best(offered: list[str], *, but: str = "") -> str:
    return next((name for name in ("pmi2", "pmix") if name in offered and name != but), "")


def _meeting(profile: Profile, offered: list[str]) -> Iterator[Check]:
    found, said = _start(profile, profile.mpi)
    if found is None:
        fix = "try again later; until then MPI under Slurm is not known to work"
        yield Check("MPI in Slurm", "note", f"no place for two ranks within {_WAIT} s", fix)
    elif found:
        yield Check("MPI in Slurm", "ok", f"two ranks met through {profile.mpi}; PDF loops there use {said}")
    else:
        other = _best(offered, but=profile.mpi)
        works = bool(other) and _start(profile, other)[0]
        fix = (
            f'set mpi = "{other}" in the profile'
            if works
            else "start Python by hand in a job: are its modules missing?"
        )
        yield Check("MPI in Slurm", "broken", f"{profile.mpi}: {said}", fix)


def _start(profile: Profile, plugin: str) -> tuple[bool | None, str]:
    """Start two ranks: whether they met (None: no place for them), and the instruction level or what went wrong."""
    asked = profile.submit_parameters("generate", nodes=1, tasks=2, cpus=1)
    flags = [
        f"--{key.replace('_', '-')}={asked[key]}"
        for key in ("partition", "account", "qos", "constraint", "mem_per_cpu")
        if key in asked
    ]
    body = "\n".join([*asked["setup"], f"exec {shlex.join([sys.executable, '-c', _MEETING])}"])
    size = [f"--immediate={_WAIT}", "--time=2", "--nodes=1", "--ntasks=2", "--job-name=hpcpdf-doctor"]
    done = call("srun", *size, *flags, f"--mpi={plugin}", "--kill-on-bad-exit=1", "bash", "-c", body)
    if "Unable to allocate resources" in done.stderr:
        return None, ""
    if done.returncode == 0 and "world 2" in done.stdout:
        return True, done.stdout.split("world 2", 1)[1].split()[0]
    told = [line for line in done.stderr.splitlines() if "Error" in line]
    return False, told[-1].rpartition("Error: ")[2] if told else last_line(done)
