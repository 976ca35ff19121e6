"""The collecting stage of a study: the scores of its members in tables, with the tests between models.

Leaves ``<run.out>/study`` with ``table1.json``, ``factors.csv``, ``satellites.csv`` and ``interpolation.json``. Members
that are not finished are left out; the stage then is not finished either and runs again.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcpdf.config import RunConfig
from hpcpdf.errors import DataError
from hpcpdf.evaluate.case import write_rows
from hpcpdf.evaluate.intermediates import CRITERIA
from hpcpdf.evaluate.members import MEMBERS, SCORES, members
from hpcpdf.evaluate.metrics import Scores
from hpcpdf.evaluate.paired import PairedDifference, compare_validity
from hpcpdf.evaluate.protocol import BEST, FACTORS, LOOK_UP, ONE, ZOOM
from hpcpdf.evaluate.table import paired_test
from hpcpdf.stage import Context, is_finished, mark_finished, relevant, write_json

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Columns = Mapping[str, Array]

_COLUMNS = tuple(item.name for item in fields(Scores))
_OF_MODELS = (ONE, ONE + ZOOM, BEST, BEST + ZOOM)
_OF_DATA = (LOOK_UP, LOOK_UP + ZOOM)
_SECTIONS = ("clusters", "pdf", "dataset", "model", "training", "study")


@dataclass(frozen=True)
class Scored:
    """The scores of one member.

    Attributes
    ----------
    folder
        Its ``scores``.
    summary
        What `hpcpdf.evaluate.protocol` says of it.
    """

    folder: Path
    summary: Mapping[str, Any]

    @property
    def plain(self) -> bool:
        """Whether it changes no open choice of the method."""
        return not self.summary["variant"]

    @cached_property
    def methods(self) -> dict[str, Columns]:
        """Method → column → (n,) values, NaN where there is none."""
        found: dict[str, list[dict[str, str]]] = {}
        for row in _rows(self.folder / "scores.csv"):
            found.setdefault(row["method"], []).append(row)
        return {method: {name: _numbers(rows, name) for name in _COLUMNS} for method, rows in found.items()}


def run(config: RunConfig, context: Context) -> Path:
    """Collect the finished members of a study; leaves ``<run.out>/study``."""
    folder = config.run.out / "study"
    settings = relevant(config, *_SECTIONS)
    if is_finished(folder, settings):
        log.info("%s: already collected", folder)
        return folder
    wanted = members(config)
    scored = [_scored(member.folder / SCORES) for member in wanted if member.finished]
    if not scored:
        raise DataError(f"{config.run.out / MEMBERS}: no member is finished; hpcpdf run goes on with them")
    main = [one for one in scored if one.plain and one.summary["satellites"] == config.model.satellites]
    splits = [split for split in config.study.splits if any(one.summary["split"] == split for one in main)]
    write_json(folder / "table1.json", {"splits": {split: _table(_of(main, split), split) for split in splits}})
    write_rows(folder / "factors.csv", ["split", "model", "factor", "pearson", "difference"], _factors(main, splits))
    _write_satellites(folder / "satellites.csv", scored, config)
    write_json(folder / "interpolation.json", _interpolation(_of(main, splits[0]) if splits else [], config))
    if len(scored) == len(wanted):
        mark_finished(folder, settings, members=len(scored))
    return folder


def _scored(folder: Path) -> Scored:
    path = folder / "summary.json"
    try:
        return Scored(folder, json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError):
        raise DataError(f"{path}: missing or damaged; delete {folder} and run the study again") from None


def _of(members: Sequence[Scored], split: str, kind: str | None = None) -> list[Scored]:
    chosen = [m for m in members if m.summary["split"] == split and kind in (None, m.summary["kind"])]
    return sorted(chosen, key=lambda m: int(m.summary["seed"]))


def _table(members: Sequence[Scored], split: str) -> dict[str, Any]:
    kinds = list(dict.fromkeys(m.summary["kind"] for m in members))
    rows = [_row(kind, method, _of(members, split, kind)) for kind in kinds for method in _OF_MODELS]
    # The look-up knows no model: one member a seed is enough.
    by_seed = list({m.summary["seed"]: m for m in reversed(members)}.values())
    rows += [_row("", method, sorted(by_seed, key=lambda m: int(m.summary["seed"]))) for method in _OF_DATA]
    tests = []
    for first in _of(members, split, kinds[0]):
        for kind in kinds[1:]:
            second = next((m for m in _of(members, split, kind) if m.summary["seed"] == first.summary["seed"]), None)
            if second is not None:
                names = first.summary["kind"], second.summary["kind"]
                found = paired_test("pearson", names[0], first.methods[ONE], names[1], second.methods[ONE])
                tests += [] if found is None else [{**asdict(found), "seed": first.summary["seed"]}]
    return {"rows": rows, "tests": tests}


def _row(kind: str, method: str, members: Sequence[Scored]) -> dict[str, Any]:
    """Mean over the PDFs of each seed, their mean, and the mean of the standard deviations over PDFs."""
    columns = {}
    for name in _COLUMNS:
        values = [m.methods[method][name] for m in members]
        values = [column[~np.isnan(column)] for column in values]
        means = [float(column.mean()) if column.size else None for column in values]
        known = [mean for mean in means if mean is not None]
        deviations = [float(column.std(ddof=1)) for column in values if column.size > 1]
        columns[name] = {
            "seeds": means,
            "mean": float(np.mean(known)) if known else None,
            "std": float(np.mean(deviations)) if deviations else None,
        }
    seeds = [m.summary["seed"] for m in members]
    samples = len(members[0].methods[method]["pearson"])
    return {"model": kind, "method": method, "seeds": seeds, "samples": samples, "columns": columns}


def _factors(members: Sequence[Scored], splits: Sequence[str]) -> list[list[Any]]:
    rows = []
    for split in splits:
        for kind in dict.fromkeys(m.summary["kind"] for m in members):
            chosen = _of(members, split, kind)
            if not chosen:
                continue
            means = {
                method: float(np.mean([m.methods[method]["pearson"].mean() for m in chosen]))
                for method in (ONE, *FACTORS)
            }
            rows += [[split, kind, name, means[name], means[name] - means[ONE]] for name in FACTORS]
    return rows


def _write_satellites(path: Path, scored: Sequence[Scored], config: RunConfig) -> None:
    """Network and solver against the number of satellites: the first model, split and seed."""
    study = config.study
    wanted = (study.splits[0], study.models[0], study.seeds[0])
    chosen = [m for m in scored if m.plain and (m.summary["split"], m.summary["kind"], m.summary["seed"]) == wanted]
    rows: list[list[Any]] = []
    for member in sorted(chosen, key=lambda m: int(m.summary["satellites"])):
        columns = member.methods[ONE]
        rmsd = columns["rmsd"][~np.isnan(columns["rmsd"])]
        rows.append(
            [
                member.summary["satellites"],
                "network",
                float("nan"),
                float(columns["pearson"].mean()),
                float(columns["pearson"].std(ddof=1)),
                float(np.median(rmsd)) if rmsd.size else float("nan"),
            ]
        )
        for row in _rows(member.folder / "satellites.csv"):
            values = [float(row[name] or "nan") for name in ("sigma", "pearson_mean", "pearson_std", "rmsd_median")]
            rows.append([member.summary["satellites"], row["source"], *values])
    write_rows(path, ["satellites", "source", "sigma", "pearson_mean", "pearson_std", "rmsd_median"], rows)


def _interpolation(members: Sequence[Scored], config: RunConfig) -> dict[str, Any]:
    """Shares of valid structures between the ends, and the tests between the models over the same pairs."""
    found = {kind: _of(members, config.study.splits[0], kind) for kind in config.study.models}
    # A test split of one size has no ways.
    found = {kind: [m for m in chosen if m.summary.get("ways", 1)] for kind, chosen in found.items()}
    found = {kind: chosen for kind, chosen in found.items() if chosen}
    flags = {kind: _flags(chosen, "valid") for kind, chosen in found.items()}
    models = {}
    for kind, chosen in found.items():
        valid, fractions = flags[kind]
        inner = (fractions > 0.0) & (fractions < 1.0)
        models[kind] = {
            "pairs": len(valid),
            "intermediates": int(valid[:, inner].size),
            "valid": float(valid[:, inner].mean()),
            "valid_ends": float(valid[:, ~inner].mean()),
            "criteria": {name: float(_flags(chosen, f"ok_{name}")[0][:, inner].mean()) for name in CRITERIA},
        }
    tests = []
    kinds = list(found)
    if len(kinds) > 1 and [m.summary["seed"] for m in found[kinds[0]]] == [m.summary["seed"] for m in found[kinds[1]]]:
        (first, fractions), (second, _) = flags[kinds[0]], flags[kinds[1]]
        outcome = compare_validity(first, second, fractions, seed=config.study.seeds[0])
        named = {
            "valid between the ends": outcome.between,
            "valid ends": outcome.ends,
            "valid between valid ends": outcome.between_given_valid_ends,
        }
        tests = [_test(what, kinds, item) for what, item in named.items() if item.n >= 2]
    return {"models": models, "tests": tests}


def _test(what: str, kinds: Sequence[str], item: PairedDifference) -> dict[str, Any]:
    return {"what": what, "first": kinds[0], "second": kinds[1], **asdict(item)}


def _flags(members: Sequence[Scored], column: str) -> tuple[NDArray[np.bool_], Array]:
    """A column of ``intermediates.csv`` as (pairs, steps), one member after the other, and the fractions."""
    parts = []
    fractions = np.zeros(0)
    for member in members:
        rows = _rows(member.folder / "intermediates.csv")
        fractions = np.unique(_numbers(rows, "fraction"))
        parts.append(_numbers(rows, column).reshape(-1, len(fractions)) > 0.0)
    return np.concatenate(parts), fractions


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return list(csv.DictReader(handle))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; delete {path.parent} and run the study again") from None


def _numbers(rows: Sequence[Mapping[str, str]], name: str) -> Array:
    return np.array([float(row[name] or "nan") for row in rows])
