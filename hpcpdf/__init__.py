"""Nanoparticle structures from x-ray pair distribution functions."""

from importlib import import_module
from typing import Any

from hpcpdf.errors import ConfigError, DataError, HpcPdfError, LaunchError, SolverError

__version__ = "0.1.0"

# Loaded on first use, so that `import hpcpdf` and `hpcpdf --help` stay fast.
_LAZY = {
    "PdfParams": "hpcpdf.pdf.params",
    "simulate_pdf": "hpcpdf.pdf.simulate",
    "read_gr": "hpcpdf.pdf.gr",
    "read_fq": "hpcpdf.pdf.fq",
    "read_pdf": "hpcpdf.pdf.fq",
    "fit_pdf": "hpcpdf.pdf.fit",
    "lbfgsb": "hpcpdf.solver.lbfgsb",
    "trilaterate": "hpcpdf.solver.trilaterate",
    "sample_sizes": "hpcpdf.sample.measured",
    "calibrate": "hpcpdf.sample.calibrate",
    "Instrument": "hpcpdf.sample.instrument",
    "solve": "hpcpdf.reconstruct.solve",
    "Candidate": "hpcpdf.reconstruct.solution",
    "Solution": "hpcpdf.reconstruct.solution",
    "read_solution": "hpcpdf.reconstruct.solution",
    "Series": "hpcpdf.series.result",
    "solve_series": "hpcpdf.series.solving",
}

__all__ = [
    "Candidate",
    "ConfigError",
    "DataError",
    "HpcPdfError",
    "Instrument",
    "LaunchError",
    "PdfParams",
    "Series",
    "Solution",
    "SolverError",
    "calibrate",
    "fit_pdf",
    "lbfgsb",
    "read_fq",
    "read_gr",
    "read_pdf",
    "read_solution",
    "sample_sizes",
    "simulate_pdf",
    "solve",
    "solve_series",
    "trilaterate",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'hpcpdf' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
