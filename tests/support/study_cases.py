"""A study as its stages leave it, with made-up but plausible numbers: for the tests of its report only."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase.cluster import Octahedron
from numpy.typing import NDArray
from report_cases import debye

from hpcpdf.evaluate.table import paired_test
from hpcpdf.stage import mark_finished, write_json

MODELS = ("cvae-2020", "dae-2020")
SIZES = (13, 19, 43, 55, 63, 79, 85, 87, 93)
PDFS = 40
PAIRS = 12
FRACTIONS = np.linspace(0.0, 1.0, 9)
FACTORS = ("scale", "atom count", "disorder", "ordering", "latent")
MEANS = {
    "one sample": 0.75,
    "one sample, zoom": 0.9,
    "best of many": 0.92,
    "best of many, zoom": 0.97,
    "look-up": 0.995,
    "look-up, zoom": 0.999,
    "scale": 0.93,
    "atom count": 0.78,
    "disorder": 0.81,
    "ordering": 0.76,
    "latent": 0.77,
}
CRITERIA = ("distance", "shortest", "spread", "coordination", "least_neighbours", "overlaps", "connected", "rw_nearest")


def names(splits: Sequence[str] = ("paper", "shape"), seeds: Sequence[int] = (1, 2, 3)) -> list[str]:
    """Members of a whole study."""
    found = [f"{split}-{kind}-seed{seed}" for split in splits for seed in seeds for kind in MODELS]
    found += [f"paper-cvae-2020-seed1-satellites{count}" for count in (0, 4, 6, 8, 16, 24)]
    found += [f"paper-{kind}-seed1-orderarbitrary" for kind in MODELS]
    return found


def write_study(out: Path, members: Sequence[str] | None = None) -> Path:
    """Write the folders of finished `members` (default all) and the tables collected from them."""
    for index, name in enumerate(names() if members is None else members):
        _member(out / "members" / name, np.random.default_rng(index))
    done = sorted(path.name for path in (out / "members").iterdir())
    _collect(out, done)
    return out


def facts(name: str) -> dict[str, Any]:
    """What the name of a member says."""
    split, rest = name.split("-", 1)
    kind = next(kind for kind in MODELS if rest.startswith(kind))
    parts = rest.removeprefix(f"{kind}-").split("-")
    satellites = next((int(part.removeprefix("satellites")) for part in parts if part.startswith("satellites")), 11)
    variant = "model.order=arbitrary" if "orderarbitrary" in parts else ""
    return {
        "kind": kind,
        "split": split,
        "seed": int(parts[0].removeprefix("seed")),
        "satellites": satellites,
        "variant": variant,
    }


def _member(folder: Path, rng: np.random.Generator) -> None:
    about = facts(folder.name)
    scores = folder / "scores"
    scores.mkdir(parents=True)
    lower = {"shape": 0.12, "paper": 0.0}[about["split"]] + (0.15 if about["variant"] else 0.0)
    lower += 0.02 if about["kind"] == "cvae-2020" else 0.0
    _write_csv(scores / "scores.csv", _scores(rng, lower, about["seed"]))
    _write_csv(scores / "latent.csv", _latent(rng, about["kind"]))
    share = 0.85 if about["kind"] == "cvae-2020" else 0.6
    _write_csv(scores / "intermediates.csv", _intermediates(rng, share))
    (scores / "examples.json").write_text(_pictures(MODELS.index(about["kind"])))
    seconds = float(rng.uniform(500, 700))
    write_json(
        scores / "summary.json",
        {
            **about,
            "epochs": 100,
            "best_epoch": 96,
            "training_seconds": seconds,
            "scoring_seconds": 61.5,
            "unit_length": 21.4,
            # Not known where the atoms have no order.
            "distance_rmse": float("nan") if about["variant"] else float(rng.uniform(0.5, 0.7)),
        },
    )
    model = folder / "model"
    model.mkdir()
    curve = 3.0 * np.exp(-np.arange(100) / 25.0) + 0.3
    lines = [
        {
            "epoch": i + 1,
            "train": {"loss": y * rng.uniform(0.95, 1.05)},
            "validation": {"loss": y * rng.uniform(1.0, 1.2)},
        }
        for i, y in enumerate(curve)
    ]
    (model / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    mark_finished(folder / "dataset", {})
    mark_finished(model, {}, summary={"best_epoch": 96, "seconds": seconds}, parameters=1_900_000)
    mark_finished(scores, {})


def _scores(rng: np.random.Generator, lower: float, seed: int) -> list[dict[str, Any]]:
    n_atoms = np.random.default_rng(seed).choice(SIZES, PDFS)
    network, rows = rng, []
    for method, mean in MEANS.items():
        # All members of a seed look up the same.
        rng = np.random.default_rng([seed, len(method)]) if method.startswith("look-up") else network
        shift = 0.03 if method.startswith("look-up") else lower
        pearson = np.clip(1 - (1 - mean + shift) * rng.gamma(2.0, 0.5, PDFS), -0.2, 0.9999)
        exact = (rng.random(PDFS) < 0.8) | (method == "atom count")
        error = np.where(exact, 0, rng.integers(1, 8, PDFS) * rng.choice([-1, 1], PDFS))
        for row in range(PDFS):
            rows.append(
                {
                    "method": method,
                    "row": 3000 + row,
                    "n_atoms": n_atoms[row],
                    "epsilon2_unit": 2 * (1 - pearson[row]),
                    "epsilon2_max": 20 * (1 - pearson[row]),
                    "pearson": pearson[row],
                    "rw": np.sqrt(max(0.0, 1 - pearson[row] ** 2)),
                    "atoms_exact": int(exact[row]),
                    "atoms_error": error[row],
                    "rmsd": 1.5 * (1 - pearson[row]) if exact[row] else "",
                }
            )
    return rows


def _latent(rng: np.random.Generator, kind: str) -> list[dict[str, Any]]:
    rows = []
    for row, n_atoms in enumerate(rng.choice(SIZES, 150)):
        angle = n_atoms / 30.0
        prior = np.array([angle - 1.5, np.sin(angle)]) + rng.normal(0, 0.08, 2)
        posterior = prior + rng.normal(0, 0.05 if kind == "dae-2020" else 0.1, 2)
        point = dict(zip(("z1", "z2", "p1", "p2"), (*prior, *posterior), strict=True))
        rows.append({"split": "test", "row": row, "n_atoms": n_atoms, **point})
    return rows


def _intermediates(rng: np.random.Generator, share: float) -> list[dict[str, Any]]:
    rows = []
    for pair in range(PAIRS):
        for fraction in FRACTIONS:
            valid = rng.random() < share + (1 - share) * abs(2 * fraction - 1)
            rows.append(
                {
                    "pair": pair,
                    "row_a": 3000 + pair,
                    "row_b": 3001 + pair,
                    "fraction": fraction,
                    "n_atoms": int(rng.choice(SIZES)),
                    "shortest": 2.6 if valid else 1.2,
                    "nn_mean": 2.8,
                    "nn_spread": 0.05,
                    "coordination": 8.5,
                    "least_neighbours": 4,
                    "overlaps": 0 if valid else 2,
                    "connected": 1,
                    "rw_nearest": rng.uniform(0.1, 0.6),
                    **{f"ok_{name}": bool(valid or rng.random() < 0.5) for name in CRITERIA},
                    "valid": bool(valid),
                }
            )
    return rows


@cache
def _pictures(seed: int) -> str:
    rng = np.random.default_rng(seed)
    small = _cluster(4, 1)
    large = _cluster(5, 1)
    r = np.arange(0.0, 30.05, 0.1)
    examples = []
    for role, noise in (("best", 0.03), ("typical", 0.2), ("worst", 0.7)):
        found = large * (1 + 0.1 * noise) + rng.normal(0, noise, large.shape)
        g_obs, g_calc = debye(large, r), debye(found, r)
        g_calc = g_calc * float(g_calc @ g_obs / (g_calc @ g_calc))
        examples.append(
            {
                "role": role,
                "row": 3000,
                "symbol": "Pt",
                "n_true": len(large),
                "n_found": len(found),
                "pearson": float(np.corrcoef(g_obs, g_calc)[0, 1]),
                "rw": float(np.sqrt(np.sum((g_obs - g_calc) ** 2) / np.sum(g_obs**2))),
                "r": r.tolist(),
                "g_obs": g_obs.tolist(),
                "g_calc": g_calc.tolist(),
                "true": large.tolist(),
                "found": found.tolist(),
            }
        )
    strips = []
    for pair in (0, 1):
        steps = []
        for fraction in FRACTIONS:
            end = small if fraction < 0.5 else large
            noise = 1.2 * min(fraction, 1 - fraction)
            steps.append(
                {
                    "fraction": float(fraction),
                    "valid": bool(noise < 0.4),
                    "positions": (end + rng.normal(0, noise, end.shape)).tolist(),
                    "n_atoms": len(end),
                    "rw_nearest": 0.1 + noise,
                }
            )
        strips.append({"pair": pair, "symbols": ["Pt", "Au"], "steps": steps})
    return json.dumps({"examples": examples, "strips": strips})


def _cluster(length: int, cutoff: int) -> NDArray[np.float64]:
    return np.asarray(Octahedron("Pt", length, cutoff).get_positions())


def _collect(out: Path, members: Sequence[str]) -> None:
    study = out / "study"
    study.mkdir(exist_ok=True)
    read = {name: _read(out / "members" / name / "scores" / "scores.csv") for name in members}
    main = [name for name in members if facts(name)["satellites"] == 11 and not facts(name)["variant"]]
    splits = [split for split in ("paper", "shape") if any(facts(name)["split"] == split for name in main)]
    write_json(study / "table1.json", {"splits": {split: _table1(read, main, split) for split in splits}})
    _write_csv(study / "factors.csv", _factors(read, main, splits))
    _write_csv(study / "satellites.csv", _satellites(read, members))
    models = {}
    for kind, valid in zip(MODELS, (0.87, 0.66), strict=True):
        shares = dict(zip(CRITERIA, np.linspace(1.0, valid + 0.02, len(CRITERIA)), strict=True))
        models[kind] = {"pairs": PAIRS, "intermediates": 21 * PAIRS, "valid": valid, "criteria": shares}
    models_of = {"first": MODELS[0], "second": MODELS[1]}
    between = {"n": PAIRS, "mean_a": 0.87, "mean_b": 0.66, "difference": 0.21, "low": 0.1, "high": 0.31}
    ends = {"n": PAIRS, "mean_a": 0.95, "mean_b": 0.94, "difference": 0.01, "low": -0.04, "high": 0.06}
    tests = [
        {"what": "valid between the ends", **models_of, **between, "p_permutation": 0.0013, "p_wilcoxon": 0.0021},
        {"what": "valid ends", **models_of, **ends, "p_permutation": 0.61, "p_wilcoxon": 0.7},
    ]
    write_json(study / "interpolation.json", {"models": models, "tests": tests})


def _table1(read: Mapping[str, Any], main: Sequence[str], split: str) -> dict[str, Any]:
    rows, tests = [], []
    names = ("epsilon2_unit", "epsilon2_max", "pearson", "rw", "atoms_exact", "atoms_error", "rmsd")
    chosen = {kind: [n for n in main if facts(n)["split"] == split and facts(n)["kind"] == kind] for kind in MODELS}
    for kind in (*MODELS, ""):
        for method in MEANS:
            if method in FACTORS or method.startswith("look-up") != (kind == ""):
                continue
            columns = {}
            found = chosen[kind or MODELS[0]]
            if not found:
                continue
            for name in names:
                means = [float(np.nanmean(read[one][method][name])) for one in found]
                stds = [float(np.nanstd(read[one][method][name], ddof=1)) for one in found]
                columns[name] = {"seeds": means, "mean": float(np.mean(means)), "std": float(np.mean(stds))}
            seeds = [facts(one)["seed"] for one in found]
            rows.append({"model": kind, "method": method, "seeds": seeds, "samples": PDFS, "columns": columns})
    for first, second in zip(*chosen.values(), strict=False):
        test = paired_test("pearson", MODELS[0], read[first]["one sample"], MODELS[1], read[second]["one sample"])
        assert test is not None
        tests.append({**vars(test), "seed": facts(first)["seed"]})
    return {"rows": rows, "tests": tests}


def _factors(read: Mapping[str, Any], main: Sequence[str], splits: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for split in splits:
        for kind in MODELS:
            chosen = [read[n] for n in main if facts(n)["split"] == split and facts(n)["kind"] == kind]
            if not chosen:
                continue
            means = {m: float(np.mean([one[m]["pearson"].mean() for one in chosen])) for m in ("one sample", *FACTORS)}
            for factor in FACTORS:
                difference = means[factor] - means["one sample"]
                rows.append(
                    {
                        "split": split,
                        "model": kind,
                        "factor": factor,
                        "pearson": means[factor],
                        "difference": difference,
                    }
                )
    return rows


def _satellites(read: Mapping[str, Any], members: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for name in members:
        about = facts(name)
        if (about["split"], about["kind"], about["seed"], about["variant"]) != ("paper", MODELS[0], 1, ""):
            continue
        pearson, rmsd = (read[name]["one sample"][column] for column in ("pearson", "rmsd"))
        row = {"satellites": about["satellites"], "source": "network", "sigma": "", "pearson_mean": pearson.mean()}
        rows.append({**row, "pearson_std": pearson.std(ddof=1), "rmsd_median": np.nanmedian(rmsd)})
    noise = [("solver", sigma) for sigma in (0.02, 0.05, 0.1, 0.2, 0.5)]
    for source, sigma in (*noise, ("solver, network's noise", 0.6)):
        for count in (0, 4, 6, 8, 11, 16, 24):
            sigma += 0.001 if source != "solver" else 0.0
            error = 2e-5 + sigma * 0.6 / np.sqrt(1 + 0.1 * count)
            row = {"satellites": count, "source": source, "sigma": sigma, "pearson_mean": 1 - 0.5 * error**2}
            rows.append({**row, "pearson_std": error**2, "rmsd_median": error})
    return sorted(rows, key=lambda row: (row["source"], str(row["sigma"]), row["satellites"]))


def _read(path: Path) -> dict[str, dict[str, NDArray[np.float64]]]:
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        part = [row for row in rows if row["method"] == method]
        found[method] = {
            name: np.array([float(row[name] or "nan") for row in part]) for name in part[0] if name != "method"
        }
    return found


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
