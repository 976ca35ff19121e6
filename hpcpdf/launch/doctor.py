"""Checks of a machine and an installation, each with what to do about it."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import hpcpdf
from hpcpdf.errors import HpcPdfError
from hpcpdf.launch.doctor_slurm import check_profile, check_slurm
from hpcpdf.launch.findings import Check, call, last_line
from hpcpdf.launch.profiles import load_profile
from hpcpdf.stage import write_json

_ALONE = "never start two runs with the same run.out at once"


def examine(profile: str | None = None) -> list[Check]:
    """Run every check. A check that fails in an unforeseen way is itself a finding, not the end.

    Parameters
    ----------
    profile
        A profile whose jobs and ranks are tried on the cluster; takes a place there for some seconds.

    Raises
    ------
    ConfigError
        If there is no such profile, or it is wrong.
    """
    checks: list[Callable[[], Iterator[Check]]] = list(_CHECKS)
    if profile is not None:
        checks.append(partial(check_profile, load_profile(profile)))
    return [finding for check in checks for finding in _guarded(check)]


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
    findings: list[Check] = []
    try:
        findings.extend(check())
    except (HpcPdfError, ImportError, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        findings.append(Check(_subject(check), "broken", found, "reinstall this part"))
    return findings


def _subject(check: Callable[[], Iterator[Check]]) -> str:
    function = check.func if isinstance(check, partial) else check
    return function.__name__.removeprefix("_").removeprefix("check_")


def _check_package() -> Iterator[Check]:
    version = f"{hpcpdf.__version__}, Python {sys.version.split()[0]}, {Path(hpcpdf.__file__).parent}"
    yield Check("hpcpdf", "ok", version)
    try:
        core: Any = import_module("hpcpdf._core")
    except ImportError as error:
        fix = "install with `pip install .` and start Python outside the checkout"
        yield Check("compiled core", "broken", str(error), fix)
        return
    used, offered, wanted = core.instruction_level(), instruction_level(), os.environ.get("HPCPDF_INSTRUCTIONS")
    level = f"PDF loops use {used}, the rest {core.compiled_instruction_level()}; processor offers {offered}"
    if wanted is not None and wanted != used:
        fix = f"set it to one of avx512, avx2, baseline that the processor offers ({offered} and below), or unset it"
        yield Check("compiled core", "note", f"{level}; HPCPDF_INSTRUCTIONS={wanted} has no effect", fix)
    elif wanted is not None and used != offered:
        yield Check("compiled core", "note", f"{level}; held there by HPCPDF_INSTRUCTIONS", "unset it for full speed")
    else:
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
    cpus, threads = available_cpus(), os.environ.get("OMP_NUM_THREADS", "")
    found = f"{cpus} of {os.cpu_count()} usable, OMP_NUM_THREADS {threads or 'not set'}"
    task = os.environ.get("SLURM_CPUS_PER_TASK", "")
    asked = int(task) if task.isdigit() else None
    quota = _quota()
    if threads.isdigit() and int(threads) > cpus:
        yield Check("processors", "broken", found, f"set OMP_NUM_THREADS to at most {cpus}")
    elif asked is not None and asked > cpus:
        fix = "give srun --cpus-per-task too: since Slurm 22.05 it does not take over that of sbatch"
        yield Check("processors", "broken", f"{found}; the job asked for {asked} a task", fix)
    elif asked is not None and not threads and asked < cpus:
        fix = "export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK"
        yield Check("processors", "broken", f"{found}; the job has {asked} a task and would start {cpus} threads", fix)
    elif quota is not None and quota < cpus and not (threads.isdigit() and int(threads) <= quota):
        fix = f"export OMP_NUM_THREADS={max(1, int(quota))}"
        yield Check("processors", "note", f"{found}; this container gets the time of {quota:g}", fix)
    else:
        yield Check("processors", "ok", found)


def _quota() -> float | None:
    """Processors whose time a container may use; None: all."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) / int(period)


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


def _check_training_ranks() -> Iterator[Check]:
    dist: Any = import_module("torch.distributed")
    torch: Any = import_module("torch")
    if not dist.is_available() or not dist.is_gloo_available():
        fix = "install a build of torch with torch.distributed and gloo"
        yield Check("ranks of torch", "broken", "cannot meet: training runs in one process", fix)
        return
    try:
        socket.getaddrinfo(socket.gethostname(), None)
    except OSError as error:
        fix = "add it to /etc/hosts, or set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to the cluster's network"
        yield Check("ranks of torch", "broken", f"own name {socket.gethostname()} has no address ({error})", fix)
        return
    if not torch.cuda.is_available():
        yield Check("ranks of torch", "ok", "gloo")
    elif not dist.is_nccl_available():
        fix = "install a CUDA build of torch with NCCL; until then GPUs exchange through main memory"
        yield Check("ranks of torch", "broken", "gloo, but no NCCL", fix)
    else:
        yield Check("ranks of torch", "ok", f"gloo, NCCL {'.'.join(map(str, torch.cuda.nccl.version()))}")


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
    done = call(mpiexec, "-n", "2", sys.executable, "-c", program)
    if done.returncode != 0:
        yield Check("MPI", "broken", f"{mpiexec} -n 2 failed: {last_line(done)}", fix)
    elif "world 2" not in done.stdout:
        yield Check("MPI", "broken", f"{mpiexec} -n 2 started two lone processes", fix)
    else:
        library = done.stdout.split("world 2", 1)[1].splitlines()[0]
        yield Check("MPI", "ok", f"mpi4py {version}, 2 ranks met, {' '.join(library.split())}")


def _check_hdf5() -> Iterator[Check]:
    h5py: Any = import_module("h5py")
    kind = "parallel" if h5py.get_config().mpi else "serial (all that hpcpdf needs: one shard per rank)"
    yield Check("HDF5", "ok", f"{h5py.version.hdf5_version}, {kind}")
    for subject, folder in _folders():
        if os.access(folder, os.W_OK):
            yield _locks(f"locks {subject}", folder)


def _locks(subject: str, folder: Path) -> Check:
    """Whether HDF5 files can be written in a folder, and whether its locks keep a second writer out."""
    h5py: Any = import_module("h5py")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".hpcpdf.") as inside:
        path = Path(inside) / "check.h5"
        try:
            with h5py.File(path, "w") as file:
                file["r"] = [0.0, 0.1]
        except OSError as error:
            fix = "have it mounted with locks (Lustre: -o flock), or export HDF5_USE_FILE_LOCKING=BEST_EFFORT"
            return Check(subject, "broken", f"{folder}: {error}", fix)
        with path.open("rb") as one, path.open("rb") as other:
            try:
                fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Check(subject, "ok", f"{folder}: HDF5 writes, a second writer is kept out")
            except OSError as error:
                return Check(subject, "note", f"{folder}: no locks ({error.strerror}); HDF5 writes without", _ALONE)
        return Check(subject, "note", f"{folder}: locks are granted twice", _ALONE)


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
    for subject, folder in _folders():
        free = shutil.disk_usage(folder).free / 1e9
        if not os.access(folder, os.W_OK):
            yield Check(subject, "note", f"{folder} is read only", "choose run.out or --out elsewhere")
        elif free < 1.0:
            yield Check(subject, "broken", f"{folder}: {free:.1f} GB free", "make room, or work on another disk")
        else:
            yield Check(subject, "ok", f"{folder}: {free:.0f} GB free")


def _folders() -> tuple[tuple[str, Path], ...]:
    return ("this folder", Path.cwd()), ("temporary", Path(tempfile.gettempdir()))


_CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    _check_package,
    _check_versions,
    _check_processors,
    _check_gpu,
    _check_training_ranks,
    _check_mpi,
    _check_hdf5,
    check_slurm,
    _check_diffpy,
    _check_model,
    _check_storage,
)
