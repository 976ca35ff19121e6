"""What a study of the reference method left behind: the scores of its members, and what was collected from them.

``<out>/members/<name>/`` holds a member's ``dataset/``, ``model/`` and ``scores/``:

- ``scores.csv``: ``method,row,n_atoms`` and the fields of `hpcpdf.evaluate.metrics.Scores`;
- ``summary.json``: ``kind``, ``split``, ``seed``, ``satellites``, ``variant`` ("" unless an open choice was changed),
  ``epochs``, ``best_epoch``, ``training_seconds``, ``scoring_seconds``, ``unit_length`` (Å), ``distance_rmse`` (Å);
- ``latent.csv``: ``split,row,n_atoms``, prior means ``z1,z2…``, posterior means ``p1,p2…``;
- ``intermediates.csv``: ``fraction,valid`` of every structure on a way, and ``ok_…`` for each criterion;
- ``examples.json``: ``examples`` and ``strips`` of structures.

``<out>/study/`` holds ``table1.json``, ``satellites.csv``, ``interpolation.json`` and ``factors.csv``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcpdf.errors import DataError
from hpcpdf.report.artefacts import History, read_history
from hpcpdf.stage import DONE

Floats = NDArray[np.float64]

MODELS = {"cvae-2020": "CVAE", "dae-2020": "DAE"}
"""Models of the reference method by configuration name, in the order shown."""

SPLITS = ("paper", "shape")
STAGES = ("dataset", "model", "scores")
SATELLITES = 11
"""Of the reference method; members with another number belong to the satellite study."""

ONE_SAMPLE = "one sample"
"""The published protocol: one draw of the latent vector, nothing fitted."""
LOOK_UP = "look-up"
"""Methods whose name begins so need no network."""
FACTORS = ("scale", "atom count", "disorder", "ordering", "latent")
"""Corrected one at a time, starting from `ONE_SAMPLE`."""

_FACTS = ("epochs", "best_epoch", "training_seconds", "scoring_seconds", "unit_length", "distance_rmse")
_SCORES = ("n_atoms", "epsilon2_unit", "epsilon2_max", "pearson", "rw", "atoms_exact", "atoms_error", "rmsd")


@dataclass(frozen=True, eq=False)
class Member:
    """One finished run of a study.

    Attributes
    ----------
    name
        Of its folder.
    kind, split, seed, satellites, variant
        What tells it from the others.
    facts
        Numbers of ``summary.json``.
    scores
        Method to column to (n,) values, NaN where there is none.
    stages
        Provenance of each finished stage.
    """

    name: str
    folder: Path
    kind: str
    split: str
    seed: int
    satellites: int
    variant: str
    facts: Mapping[str, float]
    scores: Mapping[str, Mapping[str, Floats]]
    stages: Mapping[str, Mapping[str, Any]]

    @property
    def label(self) -> str:
        """CVAE or DAE; the configuration name of any other model."""
        return MODELS.get(self.kind, self.kind)

    @cached_property
    def latent(self) -> Mapping[str, Floats]:
        """``n_atoms`` (n,), ``prior`` and ``posterior`` means (n, L)."""
        path = self.folder / "scores" / "latent.csv"
        names = _header(path)
        priors, posteriors = ([name for name in names if name[0] == p and name[1:].isdigit()] for p in "zp")
        if len(priors) < 2 or len(priors) != len(posteriors):
            raise DataError(f"{path}: columns {','.join(names)}, expected z1,z2,… and as many p1,p2,…; score again")
        columns = read_numbers(path, ["n_atoms", *priors, *posteriors])
        return {
            "n_atoms": columns["n_atoms"],
            "prior": np.column_stack([columns[name] for name in priors]),
            "posterior": np.column_stack([columns[name] for name in posteriors]),
        }

    @cached_property
    def intermediates(self) -> Mapping[str, Floats]:
        """``fraction`` of the way and ``valid`` (0 or 1), and ``ok_…`` of every criterion, each (m,).

        Empty where the test clusters have one size, so that there are no ways between them.
        """
        path = self.folder / "scores" / "intermediates.csv"
        if not path.is_file():
            return {}
        criteria = [name for name in _header(path) if name.startswith("ok_")]
        return read_numbers(path, ["fraction", "valid", *criteria])

    @cached_property
    def examples(self) -> Sequence[Mapping[str, Any]]:
        """Best, typical and worst reconstruction."""
        return self._pictures("examples")

    @cached_property
    def strips(self) -> Sequence[Mapping[str, Any]]:
        """Ways through latent space, step by step."""
        return self._pictures("strips")

    @cached_property
    def history(self) -> History:
        """Learning curve."""
        return read_history(self.folder / "model")

    def _pictures(self, key: str) -> Sequence[Mapping[str, Any]]:
        path = self.folder / "scores" / "examples.json"
        found = read_object(path).get(key)
        if not isinstance(found, list):
            raise DataError(f"{path}: holds no {key}; delete {path.parent} and score again")
        return found


@dataclass(frozen=True, eq=False)
class Study:
    """Everything that a report can show; what was not collected yet is None.

    Attributes
    ----------
    members
        Finished ones, by name.
    missing
        Name to what its run lacks, of the others.
    table1, interpolation
        As collected.
    satellites, factors
        Rows as collected, text by column.
    """

    out: Path
    members: Sequence[Member]
    missing: Mapping[str, str]
    table1: Mapping[str, Any] | None
    interpolation: Mapping[str, Any] | None
    satellites: Sequence[Mapping[str, str]] | None
    factors: Sequence[Mapping[str, str]] | None

    def main(self, split: str, kind: str | None = None) -> list[Member]:
        """Members of the published protocol on a split, in the order of models and seeds."""
        chosen = [
            m
            for m in self.members
            if m.split == split and m.satellites == SATELLITES and not m.variant and kind in (None, m.kind)
        ]
        return sorted(chosen, key=lambda m: (list(MODELS).index(m.kind) if m.kind in MODELS else 9, m.seed))

    def pairs(self, split: str) -> list[Member]:
        """One member a model, of the lowest seed that they share (else each its lowest), to be shown side by side."""
        members = {kind: self.main(split, kind) for kind in MODELS}
        present = {kind: found for kind, found in members.items() if found}
        shared = set.intersection(*({m.seed for m in found} for found in present.values())) if present else set()
        return [
            next((m for m in found if m.seed == min(shared)), found[0]) if shared else found[0]
            for found in present.values()
        ]

    def variants(self) -> list[Member]:
        """Members that change an open choice of the method."""
        return sorted((m for m in self.members if m.variant), key=lambda m: (m.variant, m.name))

    def methods(self) -> list[str]:
        """Of the members of the published protocol, in the order of their files, without factors and look-ups."""
        names = {name: None for split in SPLITS for member in self.main(split) for name in member.scores}
        return [name for name in names if name not in FACTORS and not name.startswith(LOOK_UP)]

    def look_ups(self) -> list[str]:
        """Methods without a network, in the order of the files."""
        names = {name: None for split in SPLITS for member in self.main(split) for name in member.scores}
        return [name for name in names if name.startswith(LOOK_UP)]

    def pooled(self, split: str, kind: str | None, method: str, *columns: str) -> Floats:
        """Scores of all PDFs and seeds of a method, (n, columns), without PDFs that lack one.

        Without a model: of one member a seed, for the others look up the same.
        """
        members = self.main(split, kind)
        if kind is None:
            members = list({member.seed: member for member in reversed(members)}.values())
        found = [
            np.column_stack([member.scores[method][name] for name in columns])
            for member in members
            if method in member.scores
        ]
        values = np.concatenate(found) if found else np.zeros((0, len(columns)))
        return values[~np.isnan(values).any(axis=1)]


def read_study(out: Path, expected: Iterable[str] = ()) -> Study:
    """Read a study as far as it got.

    Parameters
    ----------
    out
        Folder of the study.
    expected
        Names of the members that it should have; those without a folder are told as missing.

    Raises
    ------
    DataError
        If there is no such folder, or a finished part of it is damaged.
    """
    if not out.is_dir():
        raise DataError(f"{out}: no such folder; run the study first")
    folders = sorted(path for path in (out / "members").glob("*") if path.is_dir() and not path.name.startswith("."))
    members = [read_member(folder) for folder in folders if _finished(folder / "scores")]
    names = [*dict.fromkeys([*expected, *(folder.name for folder in folders)])]
    done = {member.name for member in members}
    missing = {name: _lacks(out / "members" / name) for name in names if name not in done}
    study = out / "study"
    return Study(
        out=out,
        members=members,
        missing=missing,
        table1=_collected(study / "table1.json", "splits"),
        interpolation=_collected(study / "interpolation.json", "models"),
        satellites=_rows(study / "satellites.csv", ["satellites", "source", "sigma", "pearson_mean", "rmsd_median"]),
        factors=_rows(study / "factors.csv", ["split", "model", "factor", "pearson", "difference"]),
    )


def read_member(folder: Path) -> Member:
    """Read the scores of one finished member."""
    path = folder / "scores" / "summary.json"
    summary = read_object(path)
    try:
        member = Member(
            name=folder.name,
            folder=folder,
            kind=str(summary["kind"]),
            split=str(summary["split"]),
            seed=int(summary["seed"]),
            satellites=int(summary["satellites"]),
            variant=str(summary.get("variant") or ""),
            facts={name: float(summary[name]) for name in _FACTS},
            scores=_scores(folder / "scores" / "scores.csv"),
            stages={name: read_object(folder / name / DONE) for name in STAGES if _finished(folder / name)},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); delete {path.parent} and score again") from None
    return member


def _scores(path: Path) -> dict[str, dict[str, Floats]]:
    rows = read_rows(path, ["method", *_SCORES])
    chosen: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        chosen.setdefault(row["method"], []).append(row)
    return {method: {name: _numbers(path, part, name) for name in _SCORES} for method, part in chosen.items()}


def _finished(folder: Path) -> bool:
    return (folder / DONE).is_file()


def _lacks(folder: Path) -> str:
    if not folder.is_dir():
        return "not started"
    if not _finished(folder / "dataset"):
        return "data set not finished"
    if not _finished(folder / "model"):
        metrics = folder / "model" / "metrics.jsonl"
        epochs = len(metrics.read_text(encoding="utf-8").splitlines()) if metrics.is_file() else 0
        return f"in training, {epochs} epochs done" if epochs else "not trained"
    return "trained, not scored"


def _collected(path: Path, key: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    found = read_object(path)
    if not isinstance(found.get(key), dict):
        raise DataError(f"{path}: holds no {key}; delete {path.parent} and collect again")
    return found


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]] | None:
    return read_rows(path, columns) if path.is_file() else None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    DataError
        If it is missing or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; delete {path.parent} to make it again") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error}); delete {path.parent} to make it again") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: damaged (no object); delete {path.parent} to make it again")
    return found


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Lines of a CSV file that has at least `columns`.

    Raises
    ------
    DataError
        If it is missing, or a column or a cell is.
    """
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            lacking = [name for name in columns if name not in (reader.fieldnames or ())]
            rows = list(reader)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; delete {path.parent} to make it again") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: damaged ({error}); delete {path.parent} to make it again") from None
    if lacking:
        raise DataError(f"{path}: no column {', '.join(lacking)}; delete {path.parent} to make it again")
    if any(None in row or None in row.values() for row in rows):
        raise DataError(f"{path}: lines of different lengths; delete {path.parent} to make it again")
    return rows


def read_numbers(path: Path, columns: Sequence[str]) -> dict[str, Floats]:
    """Numeric columns of a CSV file; an empty cell is NaN, true and false are 1 and 0."""
    rows = read_rows(path, columns)
    return {name: _numbers(path, rows, name) for name in columns}


def _numbers(path: Path, rows: Sequence[Mapping[str, str]], name: str) -> Floats:
    words = {"": "nan", "true": "1", "false": "0"}
    try:
        return np.array([float(words.get(row[name].lower(), row[name])) for row in rows], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path}: {name}: {error}; delete {path.parent} to make it again") from None


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return next(csv.reader(handle), [])
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; delete {path.parent} to make it again") from None
