"""Measured files of one folder in, their trends out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.errors import ConfigError, DataError
from hpcpdf.launch.reconstructing import check_span
from hpcpdf.launch.settings import check_writable
from hpcpdf.launch.solving import SolveSettings, check_model
from hpcpdf.pdf.fq import ENDINGS, Reading
from hpcpdf.pdf.gr import MeasuredPdf


def solve_series_files(
    files: Sequence[Path],
    settings: SolveSettings,
    out: Path,
    *,
    reading: Reading | None = None,
    overwrite: bool = False,
    part: tuple[int, int] | None = None,
    processes: bool = True,
    dry_run: bool = False,
    say: Callable[[str], None],
) -> Path | None:
    """Solve files as a series; those that cannot be read or solved are told and left out.

    Parameters
    ----------
    files
        Measured PDFs, or folders of them.
    settings
        How to solve.
    out
        Folder for the trends, and for a folder of each file.
    reading
        How to read files that do not say it all themselves.
    overwrite
        Whether results for other data, found in a folder, are replaced.
    part
        Solve the stretches of one of several jobs alone, without trends: its place, and how many there are.
    processes
        Whether files at a time have processes of their own.
    dry_run
        Only check and say what would be done.
    say
        Receives progress.

    Returns
    -------
    Path or None
        The page of the trends; None after a dry run, or of a part.

    Raises
    ------
    ConfigError
        If arguments cannot be used as given.
    DataError
        If no file can be read, or none can be solved.
    """
    paths, pdfs, unreadable = read_series(files, settings, out, reading or Reading())
    for message in unreadable.values():
        say(f"left out: {message}")
    if dry_run:
        from hpcpdf.series.axis import series_axis

        order, axis = series_axis([pdf.source for pdf in pdfs], [pdf.metadata for pdf in pdfs])
        for k, value in zip(order, axis.values, strict=True):
            say(f"{axis.quantity} {value:g}{f' {axis.unit}' if axis.unit else ''}: {pdfs[k].source}")
        return None

    from hpcpdf.series.solving import solve_series

    start = time.perf_counter()
    series = solve_series(
        pdfs, **settings.arguments(), folder=out, overwrite=overwrite, processes=processes, part=part, progress=say
    )
    if part is not None:
        return None
    series = series.without(unreadable)
    page = series.save(out)
    seconds = time.perf_counter() - start
    say(f"{len(series)} of {len(paths)} files solved in {seconds:.1f} s, {seconds / len(paths):.2f} s a file")
    say(f"-> {page}")
    return page


def read_series(
    files: Sequence[Path], settings: SolveSettings, out: Path, reading: Reading
) -> tuple[list[Path], list[MeasuredPdf], dict[str, str]]:
    """Check what a series is asked with: its files, those that can be read, and why the others cannot."""
    low, high = settings.r_range
    if not isinstance(high, str):
        check_span((low, high), "--rmin", "--rmax")
    check_writable(out, "--out")
    metallic_radius(settings.element)
    check_model(settings.model)
    paths = _files(files)
    pdfs, unreadable = _read(paths, reading)
    if not pdfs:
        raise DataError(f"none of {len(paths)} files can be read; {next(iter(unreadable.values()))}")
    return paths, pdfs, unreadable


def _files(files: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in files:
        inside = sorted(one for one in path.iterdir() if one.suffix.lower() in ENDINGS) if path.is_dir() else [path]
        if not inside:
            raise ConfigError(
                f"{path}: holds no file that ends in {' or '.join(ENDINGS)}; name the files of the series"
            )
        found += inside
    twice = [path for k, path in enumerate(found) if path in found[:k]]
    if twice:
        raise ConfigError(f"{twice[0]}: is given twice")
    return found


def _read(paths: Sequence[Path], reading: Reading) -> tuple[list[MeasuredPdf], dict[str, str]]:
    pdfs, unreadable = [], {}
    for path in paths:
        try:
            pdfs.append(reading.read(path))
        except DataError as error:
            unreadable[path.stem] = str(error)
    return pdfs, unreadable
