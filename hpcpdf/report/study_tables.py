"""Tables of a study as text for its page: a head, rows of cells, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from hpcpdf.evaluate.table import LABELS, PAPER
from hpcpdf.report.study_data import MODELS, ONE_SAMPLE, STAGES, Member, Study
from hpcpdf.report.study_figures import criterion
from hpcpdf.report.study_text import minus, power

View = dict[str, Any]

_TABLE1 = ("pearson", "epsilon2_unit", "epsilon2_max", "rw", "atoms_exact", "atoms_error", "rmsd")
_SATELLITE_LABELS = {
    "satellites": "satellites",
    "source": "error of",
    "sigma": "σ of the distances / Å",
    "n": "PDFs",
    "pearson_mean": "Pearson, mean",
    "pearson_std": "Pearson, std",
    "pearson_median": "Pearson, median",
    "rmsd_mean": "RMSD / Å, mean",
    "rmsd_median": "RMSD / Å, median",
    "atoms_exact": "atoms exact",
    "distance_rmse": "distances, rms error / Å",
}
_FACTOR_LABELS = {
    "split": "split",
    "model": "model",
    "factor": "corrected alone",
    "pearson": "Pearson, mean",
    "difference": "difference to one sample",
}


def _view(head: Sequence[tuple[str, bool]], rows: Sequence[Sequence[Any]], notes: Sequence[str] = ()) -> View:
    cells = [[cell if isinstance(cell, dict) else {"text": str(cell), "small": ""} for cell in row] for row in rows]
    return {"head": [{"text": text, "number": number} for text, number in head], "rows": cells, "notes": list(notes)}


def table1_view(split: str, table: Mapping[str, Any]) -> View:
    """Scores of all methods on a split, the published ones beside them on the ``paper`` split."""
    present = {name for row in table["rows"] for name in row["columns"]}
    names = [name for name in _TABLE1 if name in present]
    rows = []
    for row in table["rows"]:
        first = MODELS.get(row["model"], row["model"]) or "look-up"
        cells = [_score(name, row["columns"].get(name)) for name in names]
        rows.append([first, row["method"], row["samples"], *cells])
        if split == "paper" and row["method"] == ONE_SAMPLE:
            rows += [
                [first, "published", one.samples, *(_published(one.columns.get(name)) for name in names)]
                for one in PAPER
                if one.name.startswith(f"{first},")
            ]
    seeds = sorted({seed for row in table["rows"] for seed in row["seeds"]})
    notes = [f"Mean ± standard deviation over the PDFs, seed {seeds[0]}."] if len(seeds) == 1 else []
    if len(seeds) > 1:
        listed = ", ".join(map(str, seeds))
        notes.append(
            f"Mean ± standard deviation over the PDFs, both averaged over seeds; below, the means of seeds {listed}."
        )
    notes += [_test(test) for test in table.get("tests", ())]
    notes += sorted({row.source for row in PAPER}) if split == "paper" else []
    head = [("model", False), ("method", False), ("PDFs", True)]
    return _view([*head, *((LABELS.get(name, name), True) for name in names)], rows, notes)


def _score(name: str, column: Mapping[str, Any] | None) -> dict[str, str]:
    if not column or column.get("mean") is None:
        return {"text": "–", "small": ""}
    share = name == "atoms_exact"
    factor, digits = (100.0, 1) if share else (1.0, 2 if name in ("atoms_error", "epsilon2_max") else 4)
    values = [value for value in column["seeds"] if value is not None]
    seeds = ", ".join(f"{factor * value:.{min(digits, 3)}f}" for value in values) if len(values) > 1 else ""
    spread = "" if share or column.get("std") is None else f" ± {column['std']:.{min(digits, 3)}f}"
    return {"text": minus(f"{factor * column['mean']:.{digits}f}{' %' if share else spread}"), "small": minus(seeds)}


def _published(summary: Any) -> dict[str, str]:
    if summary is None:
        return {"text": "–", "small": ""}
    return {"text": f"{summary.mean:.4f} ± {summary.std:.2f}", "small": ""}


def _test(test: Mapping[str, Any]) -> str:
    first, second = (MODELS.get(test[name], test[name]) for name in ("first", "second"))
    where = f", seed {test['seed']}" if test.get("seed") is not None else ""
    p = "not defined" if test.get("p_value") is None else f"= {test['p_value']:.2g}"
    return minus(
        f"{LABELS.get(test['column'], test['column'])}{where}: {first} − {second} = {test['difference']:+.4f}, "
        f"p {p} (two-tailed paired t-test, n = {test['n']})"
    )


def plain_view(rows: Sequence[Mapping[str, str]], labels: Mapping[str, str], words: Sequence[str]) -> View:
    """A collected table as it is: the cells of the file, numbers shortened to four decimals."""
    names = list(rows[0]) if rows else list(labels)
    head = [(labels.get(name, name), name not in words) for name in names]
    return _view(head, [[_plain(row[name], name in words) for name in names] for row in rows])


def satellites_view(rows: Sequence[Mapping[str, str]]) -> View:
    """The satellite study."""
    return plain_view(rows, _SATELLITE_LABELS, ("source",))


def factors_view(rows: Sequence[Mapping[str, str]]) -> View:
    """The factors that Pearson is lost by."""
    return plain_view(rows, _FACTOR_LABELS, ("split", "model", "factor"))


def _plain(text: str, word: bool) -> str:
    if word:
        return MODELS.get(text, text)
    try:
        value = float(text)
    except ValueError:
        return text or "–"
    if np.isnan(value):
        return "–"
    if value and abs(value) < 1e-3:
        return minus(power(value))
    return minus(f"{value:.4f}".rstrip("0").rstrip(".") if value == int(value) else f"{value:.4f}")


def interpolation_view(interpolation: Mapping[str, Any]) -> View:
    """Valid intermediates of each model, all criteria together and one by one."""
    models = interpolation["models"]
    criteria = list(dict.fromkeys(name for model in models.values() for name in model.get("criteria", {})))
    head = [("model", False), ("pairs", True), ("intermediates", True), ("valid", True)]
    rows = [
        [
            MODELS.get(kind, kind),
            model["pairs"],
            model["intermediates"],
            f"{100 * model['valid']:.1f} %",
            *(_share(model.get("criteria", {}).get(name)) for name in criteria),
        ]
        for kind, model in models.items()
    ]
    return _view([*head, *((criterion(name), True) for name in criteria)], rows)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def variants_view(study: Study) -> View:
    """Members that change one open choice, beside the member that differs in nothing else."""
    rows = []
    for member in study.variants():
        same = (m for m in study.main(member.split, member.kind) if m.seed == member.seed)
        base = next(same, None)
        rows += [_variant(one, base) for one in ([base] if base else []) + [member]]
    unique = list({tuple(cell if isinstance(cell, str) else str(cell) for cell in row): row for row in rows}.values())
    head = [("model", False), ("split", False), ("choice", False), ("seed", True), ("epochs", True)]
    numbers = ("Pearson", "difference", "ε² (unit norm)", "atoms exact", "distances, rms error / Å")
    return _view([*head, *((text, True) for text in numbers)], unique)


def _variant(member: Member, base: Member | None) -> list[Any]:
    scores = member.scores.get(ONE_SAMPLE, {})
    pearson = _mean(scores, "pearson")
    before = _mean(base.scores.get(ONE_SAMPLE, {}), "pearson") if base else float("nan")
    apart = "–" if base in (None, member) else minus(f"{pearson - before:+.4f}")
    std = float(np.nanstd(scores["pearson"], ddof=1)) if len(scores.get("pearson", ())) > 1 else 0.0
    return [
        member.label,
        member.split,
        member.variant or "as described",
        member.seed,
        f"{member.facts['epochs']:.0f} (kept {member.facts['best_epoch']:.0f})",
        minus(f"{pearson:.4f} ± {std:.4f}"),
        apart,
        f"{_mean(scores, 'epsilon2_unit'):.4f}",
        f"{100 * _mean(scores, 'atoms_exact'):.1f} %",
        _distance_error(member),
    ]


def _distance_error(member: Member) -> str:
    error = member.facts["distance_rmse"]
    return "–" if np.isnan(error) else f"{error:.3f}"


def _mean(scores: Mapping[str, Any], name: str) -> float:
    values = np.asarray(scores.get(name, ()), dtype=float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def members_view(study: Study) -> View:
    """Where, when and from which commit every member was made, and how long it took."""
    head = [("member", False), ("satellites", True), ("epochs", True), ("training", True), ("scoring", True)]
    head += [("distances, rms error / Å", True), ("commit", False), ("host", False), ("finished (UTC)", False)]
    rows = []
    for member in study.members:
        marks = [member.stages[name].get("provenance", {}) for name in STAGES if name in member.stages]
        rows.append(
            [
                member.name,
                member.satellites,
                f"{member.facts['epochs']:.0f} (kept {member.facts['best_epoch']:.0f})",
                duration(member.facts["training_seconds"]),
                duration(member.facts["scoring_seconds"]),
                _distance_error(member),
                _distinct(mark.get("commit") or mark.get("hpcpdf") for mark in marks),
                _distinct(f"{m['host']}, {m['cpus']} × {m['machine']}" for m in marks if "host" in m),
                _when(marks[-1].get("time", "")) if marks else "–",
            ]
        )
    total = sum(member.facts["training_seconds"] + member.facts["scoring_seconds"] for member in study.members)
    note = f"Training and scoring of {len(rows)} members: {duration(total)} when run one after another."
    return _view(head, rows, [note] if rows else [])


def _distinct(values: Any) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value)) or "–"


def _when(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return "–"


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
