"""Checks of a machine and an installation, each with what to do about it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal

import hpcpdf
from hpcpdf.errors import HpcPdfError
from hpcpdf.stage import write_json

Status = Literal["ok", "note", "broken"]

_TIMEOUT = 60.0
"""Seconds an external program may take before it counts as hanging."""


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes
    ----------
    subject
        What was looked at.
    status
        ``ok``; ``note``: an optional part is absent; ``broken``: something that should work does not.
    found
        What was found.
    fix
        What to do; empty when there is nothing to do.
    """

    subject: str
    status: Status
    found: str
    fix: str = ""

    def line(self) -> str:
        """The finding as one line of a listing."""
        return f"{self.status:<7}{self.subject:<14}{self.found}" + (f"  -> {self.fix}" if self.fix else "")


def examine() -> list[Check]:
    """Run every check. A check that fails in an unforeseen way is itself a finding, not the end."""
    return [finding for check in _CHECKS for finding in _guarded(check)]


def write(checks: list[Check], path: Path) -> None:
    """Write the findings as JSON."""
    write_json(path, [asdict(check) for check in checks])


def instruction_level() -> str:
    """Widest vector instructions that this processor and its operating system offer."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "unknown"
    flags = set(re.findall(r"\S+", next((line for line in text.splitlines() if line.startswith("flags")), "")))
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        return "avx512"
    return "avx2" if {"avx2", "fma"} <= flags else "baseline"


def available_cpus() -> int:
    """Processors that this process may use, which a batch job can limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _guarded(check: Callable[[], Iterator[Check]]) -> list[Check]:
    try:
        return list(check())
    except (ImportError, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        subject = check.__name__.removeprefix("_check_")
        return [Check(subject, "broken", f"{type(error).__name__}: {error}".splitlines()[0], "reinstall this part")]


def _check_package() -> Iterator[Check]:
    version = f"{hpcpdf.__version__}, Python {sys.version.split()[0]}, {Path(hpcpdf.__file__).parent}"
    yield Check("hpcpdf", "ok", version)
    try:
        core: Any = import_module("hpcpdf._core")
    except ImportError as error:
        fix = "install with `pip install .` and start Python outside the checkout"
        yield Check("compiled core", "broken", str(error), fix)
        return
    level = f"PDF loops use {core.instruction_level()}, the rest {core.compiled_instruction_level()}"
    level += f"; processor offers {instruction_level()}"
    yield Check("compiled core", "ok", level)


def _check_versions() -> Iterator[Check]:
    for requirement in metadata.requires("hpcpdf") or []:
        if "extra ==" in requirement:
            continue
        matched = re.match(r"([A-Za-z0-9_.-]+)\s*(?:>=\s*([0-9.]+))?", requirement)
        if matched is None:
            continue
        name, least = matched.groups()
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, "broken", "not installed", f'pip install "{requirement}"')
            continue
        if least is not None and _numbers(found) < _numbers(least):
            yield Check(name, "broken", found, f'pip install -U "{requirement}"')
        else:
            yield Check(name, "ok", found)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _check_processors() -> Iterator[Check]:
    cpus, threads = available_cpus(), os.environ.get("OMP_NUM_THREADS")
    found = f"{cpus} of {os.cpu_count()} usable, OMP_NUM_THREADS {threads or 'not set'}"
    if threads is not None and threads.isdigit() and int(threads) > cpus:
        yield Check("processors", "broken", found, f"set OMP_NUM_THREADS to at most {cpus}")
    else:
        yield Check("processors", "ok", found)


def _check_gpu() -> Iterator[Check]:
    torch: Any = import_module("torch")
    if torch.cuda.is_available():
        names = sorted({torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())})
        yield Check("GPU", "ok", f"{torch.cuda.device_count()} x {', '.join(names)}, CUDA {torch.version.cuda}")
    elif shutil.which("nvidia-smi"):
        fix = "install a CUDA build of torch that suits the driver"
        yield Check("GPU", "broken", f"a driver is here but torch {torch.__version__} does not use it", fix)
    else:
        yield Check("GPU", "note", "none; training uses the processors")


def _check_mpi() -> Iterator[Check]:
    fix = 'pip install "hpcpdf[mpi]", or mpi4py built against the MPI of this machine'
    try:
        version = metadata.version("mpi4py")
    except metadata.PackageNotFoundError:
        yield Check("MPI", "note", "mpi4py is not installed; data sets are generated by one process", fix)
        return
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        yield Check("MPI", "broken", f"mpi4py {version} without mpiexec", fix)
        return
    program = (
        "from hpcpdf.dataset.mpi import context_from_mpi; world = context_from_mpi().world; "
        "from mpi4py.MPI import Get_library_version; print('world', world, Get_library_version())"
    )
    done = _call(mpiexec, "-n", "2", sys.executable, "-c", program)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        yield Check("MPI", "broken", f"{mpiexec} -n 2 failed: {lines[-1] if lines else 'no message'}", fix)
    elif "world 2" not in done.stdout:
        yield Check("MPI", "broken", f"{mpiexec} -n 2 started two lone processes", fix)
    else:
        library = done.stdout.split("world 2", 1)[1].splitlines()[0]
        yield Check("MPI", "ok", f"mpi4py {version}, 2 ranks met, {' '.join(library.split())}")


def _check_hdf5() -> Iterator[Check]:
    h5py: Any = import_module("h5py")
    with tempfile.TemporaryDirectory() as folder, h5py.File(Path(folder) / "check.h5", "w") as file:
        file["r"] = [0.0, 0.1]
    kind = "parallel" if h5py.get_config().mpi else "serial (all that hpcpdf needs: one shard per rank)"
    yield Check("HDF5", "ok", f"{h5py.version.hdf5_version}, {kind}")


def _check_slurm() -> Iterator[Check]:
    if shutil.which("sinfo") is None:
        yield Check("Slurm", "note", "not on this machine; stages run here")
        return
    done = _call("sinfo", "--noheader", "--format=%P %a %D")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        fix = "ask the administrators, or unset SLURM_CONF if it is stale"
        yield Check("Slurm", "broken", lines[-1] if lines else "sinfo failed", fix)
    else:
        partitions = ", ".join(line.split()[0] for line in done.stdout.splitlines() if line.strip())
        yield Check("Slurm", "ok", f"partitions {partitions or 'none'}")


def _check_diffpy() -> Iterator[Check]:
    try:
        version = metadata.version("diffpy.srreal")
    except metadata.PackageNotFoundError:
        fix = "conda install -c conda-forge diffpy.srreal"
        yield Check("diffpy.srreal", "note", 'not installed; only backend="diffpy" needs it', fix)
        return
    import_module("diffpy.srreal.pdfcalculator")
    yield Check("diffpy.srreal", "ok", version)


def _check_model() -> Iterator[Check]:
    store: Any = import_module("hpcpdf.model.store")
    try:
        model = store.load_model()
    except HpcPdfError as error:
        yield Check("model", "broken", str(error), "reinstall hpcpdf, or give --model to the verbs that use one")
        return
    size = store.DEFAULT.stat().st_size / 1e6
    yield Check("model", "ok", f"{model.kind}, {store.parameter_count(model):,} parameters, {size:.1f} MB")


def _check_storage() -> Iterator[Check]:
    for subject, folder in (("this folder", Path.cwd()), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / 1e9
        if not os.access(folder, os.W_OK):
            yield Check(subject, "note", f"{folder} is read only", "choose run.out or --out elsewhere")
        elif free < 1.0:
            yield Check(subject, "broken", f"{folder}: {free:.1f} GB free", "make room, or work on another disk")
        else:
            yield Check(subject, "ok", f"{folder}: {free:.0f} GB free")


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    # A launcher's variables would make mpiexec believe that it is itself a rank.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PMI_", "PMIX_", "OMPI_", "HYDRA_", "SLURM_"))}
    if "SLURM_CONF" in os.environ:
        clean["SLURM_CONF"] = os.environ["SLURM_CONF"]
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, env=clean)


_CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    _check_package,
    _check_versions,
    _check_processors,
    _check_gpu,
    _check_mpi,
    _check_hdf5,
    _check_slurm,
    _check_diffpy,
    _check_model,
    _check_storage,
)
