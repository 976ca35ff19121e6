"""The PDF of a standard in, an instrument file out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpcpdf.errors import ConfigError
from hpcpdf.launch.reconstructing import check_span
from hpcpdf.launch.settings import check_writable
from hpcpdf.pdf.gr import read_gr
from hpcpdf.report.lines import plain
from hpcpdf.sample.calibrate import calibrate, crystal, table
from hpcpdf.sample.instrument import Instrument
from hpcpdf.stage import atomic_path

_FIGURES = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class CalibrateSettings:
    """Arguments of :func:`hpcpdf.calibrate`, which documents them, and a file for a figure of the fit."""

    element: str
    r_range: tuple[float, float] = (1.5, 60.0)
    figure: Path | None = None


def calibrate_file(
    file: Path,
    settings: CalibrateSettings,
    out: Path,
    *,
    overwrite: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None],
) -> Instrument | None:
    """Calibrate on a standard and write the instrument file.

    Parameters
    ----------
    file
        PDF of a bulk standard.
    settings
        Which, and how it is fitted.
    out
        TOML file for the result; one of the same standard's file is replaced.
    overwrite
        Whether one of another file is replaced, too, and a figure.
    dry_run
        Only check and say what would be done.
    say
        Receives the result as a table.

    Returns
    -------
    Instrument or None
        None after a dry run.

    Raises
    ------
    ConfigError
        If arguments cannot be used as given, or something else is in the way.
    DataError
        If the file cannot be read, or is not the PDF of the standard.
    """
    check_span(settings.r_range, "--rmin", "--rmax")
    _check_target(out, file, settings.figure, overwrite=overwrite)
    pdf = read_gr(file)
    crystal(settings.element, pdf)
    if dry_run:
        say(f"{file}: {len(pdf.r)} points, r {pdf.r[0]:g} to {pdf.r[-1]:g} A, bulk {settings.element} -> {out}")
        return None
    instrument = calibrate(pdf, settings.element, settings.r_range)
    low, high = instrument.r_range or settings.r_range
    say(f"{file}: bulk {settings.element}, {low:g} to {high:g} A, R_w {instrument.rw:.4f}")
    for line in (*table(instrument), *(f"note: {note}" for note in instrument.notes)):
        say(plain(line))
    if settings.figure is not None:
        _draw(instrument, settings.figure)
        say(f"-> {settings.figure}")
    instrument.save(out)
    say(f"-> {out}")
    return instrument


def _check_target(out: Path, file: Path, figure: Path | None, *, overwrite: bool) -> None:
    """Refuse, before any work, what cannot be written or would replace something else."""
    check_writable(out.parent, "--out")
    again = False
    if out.exists():
        try:
            earlier = Instrument.load(out)
        except ConfigError as error:
            raise ConfigError(f"--out: {error}; it is not replaced, choose another file") from None
        again = earlier.source == str(file)
        if not (again or overwrite):
            raise ConfigError(
                f"--out {out}: holds the result of {earlier.source or 'another hand'}; "
                "choose another file or give --overwrite"
            )
    if figure is None:
        return
    if figure.suffix not in _FIGURES:
        raise ConfigError(f"--figure {figure}: expected a name that ends in {', '.join(_FIGURES)}")
    check_writable(figure.parent, "--figure")
    if figure.exists() and not (again or overwrite):
        raise ConfigError(f"--figure {figure}: is there already; choose another file or give --overwrite")


def _draw(instrument: Instrument, path: Path) -> None:
    # Drawing is imported late: whoever only checks arguments does not wait for it.
    from hpcpdf.report import figures

    curve = instrument.curve
    if curve is None:
        return
    title = f"{Path(instrument.source).name}: bulk {instrument.element}"
    drawn = figures.pdf_figure(curve.r, curve.g_obs, curve.g_calc, title=title, rw=instrument.rw)
    with atomic_path(path) as temporary:
        figures.save(drawn, temporary.with_suffix(""), (path.suffix[1:],))
