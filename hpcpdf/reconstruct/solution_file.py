"""A `Solution` as ``solution.json`` with its arrays in ``solution.npz`` (`docs/file-format.md`)."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import ConfigError, DataError
from hpcpdf.reconstruct.solution import Bound, Candidate, Posterior, Sample, Solution, Verdict
from hpcpdf.sample.sizes import Description, MotifSizes, Sizes
from hpcpdf.stage import atomic_path

JSON, ARRAYS = "solution.json", "solution.npz"
FORMAT = "hpcpdf-solution"
FORMAT_VERSION = 1

_NUMBERS = (
    "rw", "pearson", "scale", "zoom", "biso", "qdamp", "delta2", "nn_mean", "coordination_mean",
    "rw_before_refine", "probability", "rw_relaxed",
)  # fmt: skip
_CURVES = ("r", "g_obs", "g_calc")
_SIZE_ROWS, _SIZE_CURVES = {"motifs": MotifSizes, "descriptions": Description}, ("r", "g_calc")

Array = NDArray[Any]


def write(solution: Solution, folder: Path) -> Path:
    """Write both files, each whole or not at all; the JSON names the arrays it belongs to by their digest."""
    path = folder / JSON
    if path.exists() and _format(path) != FORMAT:
        raise ConfigError(f"{path}: is not an earlier solution; choose another folder")
    arrays = _Arrays()
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "source": solution.source,
        "element": solution.element,
        "verdict": solution.verdict,
        "notes": list(solution.notes),
        "settings": _plain(solution.settings),
        "bounds": [{name: _plain(value) for name, value in asdict(bound).items()} for bound in solution.family_bounds],
        "posterior": _posterior(solution.posterior, arrays),
        "sizes": None if solution.sizes is None else _sizes(solution.sizes, arrays),
        "candidates": [_candidate(one, arrays) for one in solution.candidates],
    }
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays.kept)
    document["arrays"] = hashlib.sha256(packed.getvalue()).hexdigest()
    try:
        with atomic_path(folder / ARRAYS) as temporary:
            temporary.write_bytes(packed.getvalue())
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from None
    return path


def read(folder: Path) -> Solution:
    """Read what `write` wrote; `hpcpdf.read_solution` documents it."""
    path = folder / JSON
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise DataError(
            f"{folder}: holds no {JSON}; expected a folder of hpcpdf solve --out or Solution.save"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged: {error}; solve again") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{path}: is not a solution of hpcpdf")
    if document.get("format_version") != FORMAT_VERSION:
        raise DataError(f"{path}: format version {document.get('format_version')}, expected {FORMAT_VERSION}")
    try:
        packed = (folder / ARRAYS).read_bytes()
    except OSError:
        raise DataError(f"{folder / ARRAYS}: is missing, and belongs to {JSON}; solve again") from None
    if hashlib.sha256(packed).hexdigest() != document.get("arrays"):
        raise DataError(f"{folder / ARRAYS}: damaged, or not of the same solution as {JSON}; solve again")
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as file:
            return _solution(document, {name: file[name] for name in file.files})
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        # The text of a KeyError is the bare key.
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path}: damaged: {what}; solve again") from None


def _format(path: Path) -> object:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found.get("format") if isinstance(found, dict) else None


class _Arrays:
    """Arrays by name; what several candidates share, such as `r`, is kept once."""

    def __init__(self) -> None:
        self.kept: dict[str, Array] = {}
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, values: ArrayLike, dtype: Literal["<f8", "<i8"] = "<f8") -> str:
        array = np.ascontiguousarray(values, dtype=dtype)
        key = (dtype, array.shape, array.tobytes())
        name = self._names.setdefault(key, f"a{len(self._names)}")
        self.kept[name] = array
        return name


def _candidate(one: Candidate, arrays: _Arrays) -> dict[str, Any]:
    return {
        "family": one.family,
        **{name: _plain(float(getattr(one, name))) for name in _NUMBERS},
        "notes": list(one.notes),
        "numbers": arrays.add(one.atoms.numbers, "<i8"),
        "positions": arrays.add(one.atoms.positions),
        **{name: arrays.add(getattr(one, name)) for name in _CURVES},
        "site_certainty": None if one.site_certainty is None else arrays.add(one.site_certainty),
        "equivalents": [_candidate(other, arrays) for other in one.equivalents],
    }


def _posterior(posterior: Posterior, arrays: _Arrays) -> dict[str, Any]:
    samples = posterior.samples
    families = list(dict.fromkeys(sample.family for sample in samples))
    return {
        "families": families,
        "family": arrays.add([families.index(sample.family) for sample in samples], "<i8"),
        "n_atoms": arrays.add([sample.n_atoms for sample in samples], "<i8"),
        "diameter": arrays.add([sample.diameter for sample in samples]),
        "coordination": arrays.add([sample.coordination for sample in samples]),
        "weight": arrays.add([sample.weight for sample in samples]),
        "facets": arrays.add([sample.facets for sample in samples]),
    }


def _sizes(sizes: Sizes, arrays: _Arrays) -> dict[str, Any]:
    values = {one.name: getattr(sizes, one.name) for one in fields(Sizes)}
    return {
        **{name: _plain(value) for name, value in values.items() if name not in (*_SIZE_ROWS, *_SIZE_CURVES)},
        **{name: [_plain(asdict(row)) for row in values[name]] for name in _SIZE_ROWS},
        **{name: arrays.add(values[name]) for name in _SIZE_CURVES},
    }


def _plain(value: Any) -> Any:
    """JSON data without a loss: numbers that JSON does not have become the text that `float` reads."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _solution(document: Mapping[str, Any], arrays: Mapping[str, Array]) -> Solution:
    verdict = document["verdict"]
    if verdict not in get_args(Verdict):
        raise ValueError(f"verdict {verdict!r}")
    return Solution(
        candidates=tuple(_read_candidate(item, arrays) for item in document["candidates"]),
        verdict=verdict,
        family_bounds=tuple(_read_bound(item) for item in document["bounds"]),
        posterior=_read_posterior(document["posterior"], arrays),
        notes=_texts(document["notes"]),
        sizes=_read_sizes(document.get("sizes"), arrays),
        source=str(document["source"]),
        element=str(document["element"]),
        settings={name: _settled(value) for name, value in document["settings"].items()},
    )


def _read_candidate(item: Mapping[str, Any], arrays: Mapping[str, Array]) -> Candidate:
    atoms = Atoms(arrays[item["numbers"]], positions=arrays[item["positions"]])
    values: dict[str, Any] = {name: float(item[name]) for name in _NUMBERS}
    values |= {name: arrays[item[name]] for name in _CURVES}
    certainty = None if item["site_certainty"] is None else arrays[item["site_certainty"]]
    if len({values[name].shape for name in _CURVES}) != 1 or (certainty is not None and len(certainty) != len(atoms)):
        raise ValueError("arrays of different lengths")
    return Candidate(
        atoms=atoms,
        **values,
        family=str(item["family"]),
        notes=_texts(item["notes"]),
        equivalents=tuple(_read_candidate(other, arrays) for other in item["equivalents"]),
        site_certainty=certainty,
    )


def _read_sizes(item: Mapping[str, Any] | None, arrays: Mapping[str, Array]) -> Sizes | None:
    """None also of solutions from before there were sizes."""
    if item is None:
        return None
    kinds: dict[str, Callable[[Any], Any]]
    kinds = {"sentence": str, "preferred": bool, "family": str, "label": str, "parameters": int}
    values: dict[str, Any] = {
        one.name: kinds.get(one.name, float)(item[one.name])
        for one in fields(Sizes)
        if one.name not in (*_SIZE_ROWS, *_SIZE_CURVES)
    }
    for name, kind in _SIZE_ROWS.items():
        values[name] = tuple(
            kind(**{one.name: kinds.get(one.name, float)(row[one.name]) for one in fields(kind)}) for row in item[name]
        )
    values |= {name: arrays[item[name]] for name in _SIZE_CURVES}
    return Sizes(**values)


def _read_bound(item: Mapping[str, Any]) -> Bound:
    kinds: dict[str, Callable[[Any], Any]] = {"family": str, "columns": int, "excluded": bool}
    return Bound(**{one.name: kinds.get(one.name, float)(item[one.name]) for one in fields(Bound)})


def _read_posterior(item: Mapping[str, Any], arrays: Mapping[str, Array]) -> Posterior:
    column = partial(_column, item, arrays)
    families = [str(name) for name in item["families"]]
    rows = zip(
        column("n_atoms"), column("diameter"), column("coordination"), column("family"), column("weight"),
        column("facets"), strict=True,
    )  # fmt: skip
    return Posterior(
        tuple(
            Sample(n, diameter, coordination, families[family], weight, (facets[0], facets[1]))
            for n, diameter, coordination, family, weight, facets in rows
        )
    )


def _column(item: Mapping[str, Any], arrays: Mapping[str, Array], name: str) -> list[Any]:
    values: list[Any] = arrays[item[name]].tolist()
    return values


def _texts(items: list[Any]) -> tuple[str, ...]:
    return tuple(str(item) for item in items)


def _settled(value: Any) -> Any:
    """Settings as they were given: JSON has no tuples, and settings have no lists."""
    return tuple(_settled(item) for item in value) if isinstance(value, list) else value
