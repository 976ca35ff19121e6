"""What the figures of a study say, in sentences made of their numbers.

Every function gives a list of them, one for each thing that is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from hpcpdf.report.study_data import FACTORS, LOOK_UP, MODELS, ONE_SAMPLE, SATELLITES, Member, Study
from hpcpdf.report.study_figures import PUBLISHED, present_splits, valid_by_fraction
from hpcpdf.report.study_structures import ROLES

SURE = 0.05
"""A difference with a larger p is not called one."""


def seed_means(study: Study, split: str, kind: str, method: str, column: str) -> list[float]:
    """Mean of a score over the PDFs, seed by seed."""
    return [
        float(np.nanmean(member.scores[method][column]))
        for member in study.main(split, kind)
        if method in member.scores and not np.isnan(member.scores[method][column]).all()
    ]


def reached(study: Study) -> list[str]:
    """Mean Pearson of the published protocol beside the published one, and of the look-up."""
    sentences = []
    for split in present_splits(study):
        for kind, label in MODELS.items():
            means = seed_means(study, split, kind, ONE_SAMPLE, "pearson")
            if not means:
                continue
            mean, published = float(np.mean(means)), PUBLISHED[kind].mean
            text = f"{label}, {split} split: mean Pearson {mean:.4f} ({_seeds(means)})"
            if split == "paper":
                side = "above" if mean >= published else "below"
                text += f", {abs(mean - published):.4f} {side} the published {published:.4f}"
            sentences.append(f"{text}.")
        look_up = study.pooled(split, None, LOOK_UP, "pearson")
        if look_up.size:
            sentences.append(f"Look-up in the training PDFs, {split} split: {look_up.mean():.4f}, without any network.")
    return [minus(text) for text in sentences]


def latent(members: Sequence[Member]) -> list[str]:
    """How far the number of atoms is written into the latent space, and how far PDF and structure agree there."""
    sentences = []
    for member in members:
        prior, n_atoms = member.latent["prior"], member.latent["n_atoms"]
        centred = prior - prior.mean(axis=0)
        # The direction that tells the number of atoms best; a rank correlation does not ask for a straight law.
        direction, *_ = np.linalg.lstsq(centred, n_atoms - n_atoms.mean(), rcond=None)
        along = centred @ direction
        rank = float(stats.spearmanr(along, n_atoms).statistic) if min(np.ptp(along), np.ptp(n_atoms)) > 0 else 0.0
        apart = float(np.median(np.linalg.norm(prior - member.latent["posterior"], axis=1)))
        spread = float(np.sqrt(np.mean(np.sum(centred**2, axis=1))))
        share = f", {100 * apart / spread:.0f} % of the spread of the map" if spread > 0 else ""
        sentences.append(
            f"{member.label}: rank correlation of the number of atoms with its best direction {rank:.2f}; prior and "
            f"posterior mean {apart:.3g} apart in the median{share}."
        )
    return [minus(text) for text in sentences]


def strip(labels: Sequence[str], strips: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many of the structures of one way are valid."""
    counts = []
    for label, one in zip(labels, strips, strict=True):
        inside = [step for step in one["steps"] if 0.0 < step["fraction"] < 1.0]
        counts.append(f"{sum(bool(step['valid']) for step in inside)} of {len(inside)} by the {label}")
    a, b = strips[0]["symbols"]
    first, last = (strips[0]["steps"][index]["n_atoms"] for index in (0, -1))
    ends = f"From {a}, {first} atoms, to {b}, {last} atoms (as the {labels[0]} decodes the ends)"
    return [f"{ends}: valid intermediates, {', '.join(counts)}."]


def validity(study: Study, split: str) -> list[str]:
    """Share of valid intermediates of either model, and whether the difference is more than chance."""
    sentences = []
    for kind, label in MODELS.items():
        points = np.array(valid_by_fraction(study, split, kind)).reshape(-1, 4)
        inside = points[(points[:, 0] > 0) & (points[:, 0] < 1)]
        if len(inside):
            low = inside[np.argmin(inside[:, 1])]
            sentences.append(
                f"{label}: {100 * inside[:, 1].mean():.1f} % valid between the ends, least at {low[0]:.3g} of the way "
                f"({100 * low[1]:.1f} %)."
            )
    sentences += [significance(test) for test in (study.interpolation or {}).get("tests", ())]
    return [minus(text) for text in sentences]


def significance(test: Mapping[str, Any]) -> str:
    """One comparison of two models as a sentence."""
    first, second = (MODELS.get(test[name], test[name]) for name in ("first", "second"))
    what, n = test.get("what", "valid intermediates"), test["n"]
    p = _value(test.get("p_permutation"))
    if p is None:
        return f"{what}: {first} and {second} cannot be tested with {n} pairs."
    difference = 100 * float(test["difference"])
    low, high = (_value(test.get(name)) for name in ("low", "high"))
    interval = "" if low is None or high is None else f" (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    more = _value(test.get("p_wilcoxon"))
    signed = "" if more is None else f", signed-rank test p = {more:.2g}"
    verdict = "no difference beyond chance" if p >= SURE else f"more with the {first if difference > 0 else second}"
    return (
        f"{what}: {first} − {second} = {difference:+.1f} percentage points{interval} over {n} pairs, "
        f"permutation test p = {p:.2g}{signed}: {verdict}."
    )


def _value(number: Any) -> float | None:
    return None if number is None or math.isnan(number) else float(number)


def fits(members: Sequence[Member]) -> list[str]:
    """Pearson of the shown reconstructions."""
    sentences = []
    for member in members:
        by_role = {example["role"]: example for example in member.examples}
        told = [f"{role} {by_role[role]['pearson']:.3f}" for role in ROLES if role in by_role]
        sentences.append(f"{member.label}, seed {member.seed}: Pearson {', '.join(told)}.")
    return [minus(text) for text in sentences]


def atoms(study: Study, splits: Sequence[str]) -> list[str]:
    """How often the number of atoms is right, and how far off it is."""
    sentences = []
    for split in splits:
        for kind, label in MODELS.items():
            values = study.pooled(split, kind, ONE_SAMPLE, "atoms_exact", "atoms_error")
            if len(values):
                exact, error = values.T
                sentences.append(
                    f"{label}, {split} split: exact for {100 * exact.mean():.1f} %, mean error {error.mean():+.2f}, "
                    f"mean absolute error {np.abs(error).mean():.2f} atoms."
                )
    return [minus(text) for text in sentences]


def satellites(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Best and worst number of satellites for the network, and the solver's own error at the published number."""
    sentences = []
    network = [row for row in rows if row["source"] == "network" and _known(row["pearson_mean"])]
    if len(network) > 1:
        (low, fewest), *_, (high, most) = sorted((float(row["pearson_mean"]), row["satellites"]) for row in network)
        sentences.append(
            f"Network and solver: mean Pearson highest with {most} satellites ({high:.4f}), lowest with {fewest} "
            f"({low:.4f})."
        )
    told = [
        f"{power(float(row['rmsd_median']))} Å at σ = {float(row['sigma']):g} Å"
        for row in rows
        if row["source"] == "solver" and row["satellites"] == str(SATELLITES) and _known(row["rmsd_median"])
    ]
    if told:
        sentences.append(f"Solver alone, {SATELLITES} satellites: median RMSD {', '.join(told)}.")
    return [minus(text) for text in sentences]


def _known(cell: str) -> bool:
    return bool(cell) and math.isfinite(float(cell))


def factors(study: Study) -> list[str]:
    """Which correction alone recovers most."""
    sentences = []
    rows = study.factors or ()
    for split in present_splits(study):
        for kind, label in MODELS.items():
            mine = [r for r in rows if r["split"] == split and r["model"] == kind and r["factor"] in FACTORS]
            if not mine:
                continue
            order = sorted(mine, key=lambda row: -float(row["difference"]))
            uncorrected = float(order[0]["pearson"]) - float(order[0]["difference"])
            told = ", ".join(f"{row['factor']} {float(row['difference']):+.3f}" for row in order)
            sentences.append(f"{label}, {split} split, from {uncorrected:.3f}: {told}.")
    return [minus(text) for text in sentences]


def learning(study: Study) -> list[str]:
    """How long the members trained, and which epoch was kept."""
    sentences = []
    for kind, label in MODELS.items():
        members = [member for split in present_splits(study) for member in study.main(split, kind)]
        if members:
            epochs, best = ([int(member.facts[name]) for member in members] for name in ("epochs", "best_epoch"))
            minutes = np.median([member.facts["training_seconds"] for member in members]) / 60
            number = "1 member" if len(members) == 1 else f"{len(members)} members"
            sentences.append(
                f"{label}: {number} of {_span(epochs)} epochs, kept {_span(best)}, "
                f"{minutes:.1f} min each in the median."
            )
    return sentences


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _seeds(means: Sequence[float]) -> str:
    if len(means) == 1:
        return "one seed"
    return f"{len(means)} seeds, {min(means):.4f} to {max(means):.4f}"


def power(value: float) -> str:
    """A number with two digits; small ones as a multiple of a power of ten."""
    if not value or abs(value) >= 1e-3:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10⁻{str(abs(int(exponent))).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def minus(text: str) -> str:
    """Signs of numbers as minus signs; hyphens in words stay."""
    return "".join(
        "−" if c == "-" and (i == 0 or text[i - 1] in " (+=") and text[i + 1 : i + 2].isdigit() else c
        for i, c in enumerate(text)
    )
