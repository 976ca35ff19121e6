"""Self-contained pages, and folders that appear whole or not at all."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike

from hpcpdf.errors import ConfigError
from hpcpdf.stage import DONE


def render(template: str, **values: Any) -> str:
    """Render a template of this package; scripts and style sheets are written into the page."""
    return _environment().get_template(template).render(**values)


def embed_json(data: Any) -> Markup:
    """JSON that may stand inside a ``<script type="application/json">`` element, whatever strings it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def data_uri(path: Path) -> str:
    """A PNG file as a ``data:`` address, so that the page needs no second file."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("hpcpdf.report", "templates")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=jinja2.select_autoescape(("html",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def inline(name: str) -> Markup:
        return Markup(loader.get_source(environment, name)[0])

    def low_w(text: str) -> Markup:
        return Markup(str(escape(text)).replace("R_w", "R<sub>w</sub>"))

    environment.globals["inline"] = inline
    environment.filters["low_w"] = low_w
    return environment


def check_out_dir(out_dir: Path, digest: str, *, overwrite: bool = False) -> None:
    """Refuse a folder whose contents must not be replaced.

    Missing, empty, or an earlier result for the same data: fine. Call it before a long computation.

    Raises
    ------
    ConfigError
        If the folder holds other files, or the result for other data (unless `overwrite`).
    """
    out_dir = Path(out_dir)
    if not out_dir.exists():
        return
    if not out_dir.is_dir():
        raise ConfigError(f"{out_dir}: is a file, expected a folder to write to")
    present = {entry.name for entry in out_dir.iterdir()}
    if not present:
        return
    try:
        found = json.loads((out_dir / DONE).read_text())
        ours, same = set(found["files"]), found["digest"] == digest
    except (OSError, ValueError, KeyError, TypeError):
        ours, same = set(), False
    foreign = sorted(present - ours)
    if foreign:
        raise ConfigError(f"{out_dir}: holds other files ({foreign[0]}); choose a new or empty folder for --out")
    if not (same or overwrite):
        raise ConfigError(f"{out_dir}: holds the result for other data; choose another folder for --out or delete it")


@contextlib.contextmanager
def whole_folder(out_dir: Path) -> Iterator[Path]:
    """Give a temporary folder beside `out_dir`; on success it takes that name, else it is removed.

    Whatever `out_dir` held before is replaced: check first.
    """
    out_dir = Path(out_dir)
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out_dir.parent, prefix=f".{out_dir.name}."))
    except OSError as error:
        raise ConfigError(f"{out_dir}: cannot be written: {error.strerror}") from None
    try:
        fresh = temporary / "new"
        fresh.mkdir()
        yield fresh
        if out_dir.exists():
            out_dir.rename(temporary / "old")
        fresh.rename(out_dir)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def numbers(values: ArrayLike, digits: int = 4) -> list[float]:
    """An array as short decimal numbers for a page: `digits` significant ones."""
    return [float(f"{value:.{digits}g}") for value in np.asarray(values, dtype=float)]


def subscript(formula: str) -> str:
    """A chemical formula with its numbers set low."""
    return formula.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def share(part: float) -> str:
    """A probability in words of a few characters; never a rounded 0 or 100 %."""
    if part < 0.005:
        return "< 1 %"
    return "> 99 %" if part > 0.995 else f"{100 * part:.0f} %"


def plain(value: Any) -> Any:
    """Settings as JSON data: paths and other objects become text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.item() if hasattr(value, "item") else str(value)
