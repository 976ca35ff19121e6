"""Many PDFs into one file of structures: here, on many ranks, or by an array of Slurm jobs and one that merges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcpdf.errors import ConfigError, LaunchError
from hpcpdf.launch.settings import check_writable

if TYPE_CHECKING:
    from hpcpdf.launch.graph import Graph
    from hpcpdf.launch.profiles import Profile
    from hpcpdf.reconstruct.batch import Job
    from hpcpdf.stage import Context

Say = Callable[[str], None]


@dataclass(frozen=True)
class ReconstructSettings:
    """What is reconstructed into what, as plain data that a job can be given.

    Attributes
    ----------
    pdfs, out
        Input and output.
    model
        Trained model; None takes the one that ships with the package.
    element, qmin, qmax
        Symbol and limits of the transform (1/Å), for files that do not say them.
    n_samples, r_range, seed
        As in a configuration's `reconstruct` section and `run.seed`; one sample is the fast way.
    n_threads
        Threads of each process; None: as many as it has processors.
    """

    pdfs: str
    out: str
    model: str | None = None
    element: str | None = None
    qmin: float | None = None
    qmax: float | None = None
    n_samples: int = 100
    r_range: tuple[float, float] = (1.5, 20.0)
    seed: int = 0
    n_threads: int | None = None

    def check(self) -> None:
        """Refuse what can be refused without reading anything.

        Raises
        ------
        ConfigError
            Naming the option.
        """
        check_span(self.r_range, "--rmin", "--rmax")
        if self.qmin is not None or self.qmax is not None:
            check_span((self.qmin, self.qmax), "--qmin", "--qmax")
        out = Path(self.out)
        check_writable(out.parent, "--out")
        if out.is_dir():
            raise ConfigError(f"--out {out}: is a folder, expected a file to write")

    def job(self) -> Job:
        """Open the input and load the model.

        Raises
        ------
        ConfigError
            If arguments cannot be used as given.
        DataError
            If a file cannot be read.
        """
        from hpcpdf.config import ReconstructSection
        from hpcpdf.model.store import load_model
        from hpcpdf.reconstruct.batch import file_job

        return file_job(
            Path(self.pdfs),
            Path(self.out),
            load_model(self.model),
            ReconstructSection(n_samples=self.n_samples, r_range=self.r_range),
            element=self.element,
            qmin=self.qmin,
            qmax=self.qmax,
            seed=self.seed,
            n_threads=self.n_threads,
        )


def reconstruct_pdfs(settings: ReconstructSettings, *, dry_run: bool = False, say: Say) -> None:
    """Reconstruct on as many ranks as were started.

    Parameters
    ----------
    settings
        Which, and how.
    dry_run
        Only check and say what would be done.
    say
        Receives what rank 0 has to say.
    """
    from hpcpdf.dataset.mpi import context_from_mpi
    from hpcpdf.reconstruct.batch import reconstruct
    from hpcpdf.stage import stop_on_signals

    context = context_from_mpi()
    with context.together():
        settings.check()
        job = settings.job()
        if context.rank == 0:
            say(f"{_line(settings, job)}, {context.world} ranks -> {settings.out}")
        if dry_run:
            return
        with stop_on_signals(context):
            summary = reconstruct(job, Path(settings.out), context)
        if context.rank == 0:
            say(f"-> {settings.out} in {summary['seconds']:.1f} s")


def submit_reconstruction(
    settings: ReconstructSettings, tasks: int | None, profile: Profile, *, show: bool = False, say: Say
) -> Graph:
    """Submit an array of jobs that reconstruct and one that checks and merges; returns at once.

    Parameters
    ----------
    settings
        Which, and how.
    tasks
        Jobs of the array; None: as many as the profile lets run at a time. Never more than there are blocks.
    profile
        What a job gets (its section ``reconstruct``).
    show
        Show the scripts instead and write nothing.
    say
        Receives the lines.

    Raises
    ------
    ConfigError
        For everything that can be known before the first job starts.
    """
    from hpcpdf.launch.graph import Node
    from hpcpdf.launch.submit import submit_beside
    from hpcpdf.reconstruct.batch import blocks_of

    settings.check()
    out = Path(settings.out).absolute()
    given = {**asdict(settings), "pdfs": str(Path(settings.pdfs).absolute()), "out": str(out)}
    if settings.model is not None:
        given["model"] = str(Path(settings.model).absolute())
    job = settings.job()
    count = min(tasks or profile.array_parallelism, len(blocks_of(job, out)))
    here = "hpcpdf.launch.reconstructing"
    nodes = [
        Node("blocks", f"{here}:share", {"settings": given}, array=count, resources="reconstruct"),
        Node(
            "merge", f"{here}:merge", {"settings": given}, after=("blocks",), resources="reconstruct", nodes=1, tasks=1
        ),
    ]
    line = f"{_line(settings, job)}, {count} jobs"
    return submit_beside(nodes, out, profile, title=out.stem, job=line, show=show, say=say)


def share(context: Context, *, settings: dict[str, Any], part: tuple[int, int]) -> None:
    """One job of the array: the blocks of its ranks."""
    from hpcpdf.reconstruct.batch import reconstruct_share
    from hpcpdf.stage import stop_on_signals

    known = _from_job(settings)
    index, count = part
    worker = index * context.world + context.rank
    with stop_on_signals(context):
        reconstruct_share(known.job(), Path(known.out), context, worker, count * context.world)


def merge(context: Context, *, settings: dict[str, Any]) -> None:
    """The last job: joins the blocks after making sure that every PDF is there once."""
    from hpcpdf.reconstruct.batch import merge_shares

    if context.world > 1:
        raise LaunchError(f"merging needs one process, started were {context.world}")
    known = _from_job(settings)
    merge_shares(known.job(), Path(known.out))


def _from_job(settings: dict[str, Any]) -> ReconstructSettings:
    """Settings that were stored as JSON."""
    return ReconstructSettings(**{**settings, "r_range": tuple(settings["r_range"])})


def _line(settings: ReconstructSettings, job: Job) -> str:
    way = "the likeliest structure" if job.fast else f"{settings.n_samples} samples"
    return f"{settings.pdfs}: {len(job)} PDFs, {way} each"


def check_span(limits: tuple[float | None, float | None], low_name: str, high_name: str) -> None:
    """Refuse limits of which one is missing, or that are not in order.

    Raises
    ------
    ConfigError
        Naming the options.
    """
    low, high = limits
    if low is None or high is None:
        raise ConfigError(f"{low_name} and {high_name}: give both or none")
    if not low < high:
        raise ConfigError(f"{low_name} {low:g} {high_name} {high:g}: expected the first below the second")
