"""The report of a study of the reference method: its tables and figures, and what is still missing."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.data.colors import jmol_colors

from hpcpdf.config import RunConfig
from hpcpdf.evaluate.members import members
from hpcpdf.reconstruct.shape import geometry
from hpcpdf.report import figures, page, study_tables
from hpcpdf.report.artefacts import read_marker
from hpcpdf.report.study_data import LOOK_UP, MODELS, ONE_SAMPLE, SATELLITES, SPLITS, STAGES, Member, Study, read_study
from hpcpdf.report.study_drawings import drawings
from hpcpdf.report.study_figures import PUBLISHED, present_splits
from hpcpdf.report.study_structures import ROLES, common_strips
from hpcpdf.report.study_text import seed_means
from hpcpdf.stage import DONE, Context, mark_finished, provenance


def run(config: RunConfig, context: Context) -> Path:
    """Write ``<run.out>/report`` from the members and tables of a study, as far as they got.

    Parameters
    ----------
    config
        Configuration of the study.
    context
        Only rank 0 writes.

    Returns
    -------
    Path
        ``<run.out>/report/report.html``, which opens without a network.
    """
    if context.rank != 0:
        return config.run.out / "report" / "report.html"
    return write_study(config.run.out, expected=[member.name for member in members(config)])


def write_study(out: Path, *, expected: Iterable[str] = (), command: str | None = None) -> Path:
    """Write the report of the study in `out`; one made from the same results is kept.

    Parameters
    ----------
    out
        Folder of the study, with ``members/`` and ``study/``.
    expected
        Names of the members that it should have.
    command
        What goes on with a study that is not complete; default: the command of this process.

    Returns
    -------
    Path
        ``out/report/report.html``.

    Raises
    ------
    DataError
        If there is no study, or a finished part of it is damaged.
    """
    folder = out / "report"
    report = folder / "report.html"
    study = read_study(out, expected)
    digest = _digest(study)
    if (folder / DONE).is_file() and read_marker(folder, "report").get("digest") == digest:
        return report
    with page.whole_folder(folder) as fresh:
        drawn: dict[str, dict[str, Any]] = {}
        for one in drawings(study):
            # Laid out once, not again for every format.
            one.figure.draw_without_rendering()
            one.figure.set_layout_engine("none")
            png, *_ = figures.save(one.figure, fresh / one.name)
            drawn[one.name] = {
                "name": one.name,
                "title": one.title,
                "caption": one.caption,
                "findings": one.findings,
                "uri": page.data_uri(png),
            }
        html = _page(study, drawn, command or _command(out))
        (fresh / report.name).write_text(html, encoding="utf-8")
        mark_finished(fresh, {"members": [member.name for member in study.members]}, digest=digest)
    return report


def _digest(study: Study) -> str:
    """Of everything that the report is made from: one more result makes another report."""
    found = hashlib.sha256(json.dumps(dict(study.missing)).encode())
    paths = [path for path in (study.out / "study").glob("*") if path.is_file()]
    for member in study.members:
        paths += [path for path in (member.folder / "scores").glob("*") if path.is_file()]
        paths += [member.folder / stage / DONE for stage in STAGES if stage in member.stages]
    for path in sorted(paths):
        found.update(str(path.relative_to(study.out)).encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def _command(out: Path) -> str:
    if sys.argv[1:2] == ["run"]:
        return " ".join(["hpcpdf", *sys.argv[1:]])
    return f"hpcpdf run CONFIG.toml --set run.out={out}"


def _page(study: Study, drawn: Mapping[str, Mapping[str, Any]], command: str) -> str:
    stamp = provenance()
    splits = present_splits(study)
    shown = study.pairs(splits[0]) if splits else []
    examples, labels = _examples(shown)
    walk = _walk(shown)
    symbols = {one["symbol"] for member in shown for one in member.examples}
    symbols |= {symbol for member in shown for strip in member.strips for symbol in strip["symbols"]}
    data = {
        "colours": {s: [round(255 * float(v)) for v in jmol_colors[atomic_numbers[s]]] for s in sorted(symbols)},
        "examples": examples,
        "walk": walk,
    }
    table1 = (study.table1 or {}).get("splits", {})
    ways = study.interpolation if study.interpolation and study.interpolation["models"] else None
    return page.render(
        "study.html",
        name=study.out.name,
        tiles=_tiles(study),
        missing=study.missing,
        lacking=_lacking(study),
        command=command,
        figures=drawn,
        strips=[one for name, one in drawn.items() if name.startswith("strip-")],
        table1=[(split, study_tables.table1_view(split, table1[split])) for split in SPLITS if split in table1],
        satellites=study_tables.satellites_view(study.satellites) if study.satellites else None,
        interpolation=study_tables.interpolation_view(ways) if ways else None,
        factors=study_tables.factors_view(study.factors) if study.factors else None,
        variants=study_tables.variants_view(study) if study.variants() else None,
        members=study_tables.members_view(study) if study.members else None,
        examples=labels,
        walk=walk,
        stamp=stamp,
        date=datetime.fromisoformat(stamp["time"]).strftime("%-d %B %Y, %H:%M UTC"),
        data=page.embed_json(data),
    )


def _lacking(study: Study) -> list[str]:
    """What was not collected yet, in words."""
    parts: dict[str, Any] = {"Table 1": study.table1, "interpolation": study.interpolation, "factors": study.factors}
    if any(member.satellites != SATELLITES for member in study.members):
        parts["satellite study"] = study.satellites
    return [name for name, value in parts.items() if not value]


def _tiles(study: Study) -> list[tuple[str, str, str]]:
    total = len(study.members) + len(study.missing)
    tiles = [("members finished", f"{len(study.members)} of {total}", "trained and scored")]
    for split in present_splits(study)[:1]:
        for kind, label in MODELS.items():
            means = seed_means(study, split, kind, ONE_SAMPLE, "pearson")
            if means:
                beside = f"published {PUBLISHED[kind].mean:.4f}" if split == "paper" else f"{len(means)} seeds"
                tiles.append((f"{label}, Pearson, {split} split", f"{np.mean(means):.4f}", beside))
        look_up = study.pooled(split, None, LOOK_UP, "pearson")
        if look_up.size:
            tiles.append((f"look-up, Pearson, {split} split", f"{look_up.mean():.4f}", "no network at all"))
    for kind, model in (study.interpolation or {}).get("models", {}).items():
        tiles.append(
            (
                f"{MODELS.get(kind, kind)}, valid intermediates",
                f"{100 * model['valid']:.1f} %",
                f"{model['intermediates']} structures, {model['pairs']} pairs",
            )
        )
    return tiles


def _examples(members: Sequence[Member]) -> tuple[list[dict[str, Any]], list[str]]:
    """Reconstructions for the viewers of the page, and the labels of their buttons."""
    data, labels = [], []
    for member in members:
        by_role = {example["role"]: example for example in member.examples}
        for role in ROLES:
            if role not in by_role:
                continue
            one = by_role[role]
            data.append(
                {
                    "true": _structure(one["true"], one["symbol"], "true"),
                    "found": _structure(one["found"], one["symbol"], f"found by the {member.label}"),
                    "r": page.numbers(one["r"], 5),
                    "obs": page.numbers(one["g_obs"]),
                    "calc": page.numbers(np.nan_to_num(np.asarray(one["g_calc"], dtype=float))),
                    "fullR": page.numbers(one["r"], 5),
                    "fullG": page.numbers(one["g_obs"]),
                }
            )
            labels.append(f"{member.label}, {role}")
    return data, labels


def _walk(members: Sequence[Member]) -> list[dict[str, Any]]:
    """The first way between two PDFs, one entry a model with its steps."""
    strips = common_strips(members, 1)
    if not strips:
        return []
    return [
        {
            "label": member.label,
            "steps": [
                {
                    **_structure(step["positions"], strip["symbols"][0], member.label),
                    "fraction": step["fraction"],
                    "valid": bool(step["valid"]),
                    "rw": step["rw_nearest"] if np.isfinite(step.get("rw_nearest") or np.nan) else None,
                }
                for step in strip["steps"]
            ],
        }
        for member, strip in zip(members, strips[0], strict=True)
    ]


def _structure(positions: Any, symbol: str, role: str) -> dict[str, Any]:
    x = np.asarray(positions, dtype=float).reshape(-1, 3)
    shape = geometry(x)
    return {
        "title": f"{role}: {len(x)} atoms",
        "pos": np.round(x, 3).tolist(),
        "sym": [symbol] * len(x),
        "bonds": shape.bonds.tolist(),
        "cn": shape.coordination.tolist(),
        "nn": round(shape.nn_mean, 4) if np.isfinite(shape.nn_mean) else 2.5,
    }
