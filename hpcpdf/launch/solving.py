"""Measured files in, folders of ranked candidates out."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.errors import ConfigError, DataError
from hpcpdf.launch.reconstructing import check_span
from hpcpdf.launch.settings import check_writable
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.fq import Reading
from hpcpdf.pdf.range import Range, chosen_range
from hpcpdf.reconstruct.solution import Effort
from hpcpdf.report.formats import chosen_formats
from hpcpdf.report.lines import ranking, summary
from hpcpdf.report.overview import write_overview
from hpcpdf.report.solve_report import check_solution_dir, write_solution
from hpcpdf.sample.instrument import Instrument


@dataclass(frozen=True)
class SolveSettings:
    """Arguments of :func:`hpcpdf.solve`, which documents them."""

    element: str
    model: Path | None = None
    n_samples: int = 1000
    top: int = 10
    refine: bool = True
    r_range: Range = (1.5, 20.0)
    effort: Effort = "normal"
    seed: int = 0
    instrument: Path | None = None

    def arguments(self) -> dict[str, Any]:
        """For `hpcpdf.solve`, and for the record; without an instrument where there is none."""
        return {name: value for name, value in asdict(self).items() if name != "instrument" or value is not None}


def solve_files(
    files: Sequence[Path],
    settings: SolveSettings,
    out: Path,
    *,
    formats: str | Sequence[str] = (),
    script: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None],
    reading: Reading | None = None,
) -> list[Path]:
    """Solve every file; all of them are read and checked before the first is solved.

    Parameters
    ----------
    files
        Measured PDFs. One file is written to `out` itself, several to ``out/<name of the file>``.
    settings
        How to solve.
    out
        Folder for the results.
    formats, script
        What else is written; see `write_solution`.
    overwrite
        Whether results for other data, found in a folder, are replaced.
    dry_run
        Only check and say what would be done.
    say
        Receives progress and the ranking.
    reading
        How to read the files: range and window of the transform of F(Q) and S(Q), radiation.

    Returns
    -------
    list of Path
        Folders of the results, in the order of `files`.

    Raises
    ------
    ConfigError
        If arguments cannot be used as given.
    DataError
        If a file cannot be read.
    """
    low, high = settings.r_range
    if not isinstance(high, str):
        check_span((low, high), "--rmin", "--rmax")
    formats = chosen_formats(formats)
    folders = _folders(files, out)
    check_writable(out, "--out")
    reading = reading or Reading()
    pdfs = [reading.read(path) for path in files]
    spans = [chosen_range(pdf, settings.r_range) for pdf in pdfs]
    metallic_radius(settings.element)
    check_model(settings.model)
    if settings.instrument is not None:
        Instrument.load(settings.instrument)
    for pdf, folder in zip(pdfs, folders, strict=True):
        check_solution_dir(folder, pdf, overwrite=overwrite)
    if dry_run:
        for path, pdf, folder, span in zip(files, pdfs, folders, spans, strict=True):
            fitted = f", fitted up to {span[1]:g} A" if high == "auto" else ""
            say(f"{path}: {len(pdf.r)} points, r {pdf.r[0]:g} to {pdf.r[-1]:g} A{fitted} -> {folder}")
            for note in pdf.notes:
                say(f"{path}: {note}")
        return folders

    from hpcpdf.reconstruct.solve import check_composition, solve

    with warnings.catch_warnings(action="ignore"):
        for pdf, span in zip(pdfs, spans, strict=True):
            check_composition(pdf, settings.element)
            PdfFitter(pdf, span)
    Thread(target=_load_drawing, name="load drawing").start()
    record = {**settings.arguments(), **reading.stated()}
    poor: list[str] = []
    for path, pdf, folder, span in zip(files, pdfs, folders, spans, strict=True):
        start = time.perf_counter()
        solution = solve(pdf, **settings.arguments(), progress=say)
        say(f"{path}: {len(solution)} candidates in {time.perf_counter() - start:.1f} s")
        for line in (*ranking(solution, span), *summary(solution, pdf)):
            say(line)
        report = write_solution(solution, pdf, folder, record, overwrite=overwrite, formats=formats, script=script)
        say(f"-> {report}")
        if solution.verdict == "poor":
            poor.append(f"{path} (R_w {solution[0].rw:.3f})")
    if len(folders) > 1:
        say(f"-> {write_overview(out, folders)}")
    if poor:
        say(f"poor fit, draw no conclusions from its structures: {', '.join(poor)}")
    return folders


def _folders(files: Sequence[Path], out: Path) -> list[Path]:
    if len(files) == 1:
        return [out]
    twice = [name for name, count in Counter(path.stem for path in files).items() if count > 1]
    if twice:
        raise ConfigError(f"several files are called {twice[0]}; solve them into folders of their own")
    return [out / path.stem for path in files]


def _load_drawing() -> None:
    """Load what the figures need while the search, most of which needs no interpreter, is at work."""
    for name in ("hpcpdf.report.figures", "matplotlib.backends.backend_pdf"):
        import_module(name)


def check_model(model: Path | None) -> None:
    """Refuse a model that is not there before anything is read; what is in it, only its reader can tell."""
    if model is None:
        return
    path = model / "model.safetensors" if model.is_dir() else model
    if not path.is_file():
        raise DataError(f"{path}: no such model file")
