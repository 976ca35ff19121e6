"""What the figures of a study say, in sentences made of their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from hpcpdf.report.study_data import FACTORS, LOOK_UPS, MODELS, ONE_SAMPLE, SATELLITES, Member, Study
from hpcpdf.report.study_figures import PUBLISHED, present_splits, valid_by_fraction
from hpcpdf.report.study_structures import ROLES

_SURE = 0.05


def seed_means(study: Study, split: str, kind: str, method: str, column: str) -> list[float]:
    """Mean of a score over the PDFs, seed by seed."""
    return [
        float(np.nanmean(member.scores[method][column]))
        for member in study.main(split, kind)
        if method in member.scores and not np.isnan(member.scores[method][column]).all()
    ]


def reached(study: Study) -> str:
    """Mean Pearson of the published protocol beside the published one, and of the look-up."""
    sentences = []
    for split in present_splits(study):
        parts = []
        for kind, label in MODELS.items():
            means = seed_means(study, split, kind, ONE_SAMPLE, "pearson")
            if not means:
                continue
            mean, published = float(np.mean(means)), PUBLISHED[kind].mean
            beside = ""
            if split == "paper":
                side = "above" if mean >= published else "below"
                beside = f", {abs(mean - published):.4f} {side} the published {published:.4f}"
            parts.append(f"{label} {mean:.4f} ({_seeds(means)}){beside}")
        look_up = study.pooled(split, None, LOOK_UPS[0], "pearson")
        if look_up.size:
            parts.append(f"the look-up in the training PDFs {look_up.mean():.4f}")
        sentences.append(f"Mean Pearson on the {split} split: {'; '.join(parts)}.")
    return minus(" ".join(sentences))


def latent(members: Sequence[Member]) -> str:
    """How far the number of atoms is written into the latent space, and how far PDF and structure agree there."""
    parts = []
    for member in members:
        prior, n_atoms = member.latent["prior"], member.latent["n_atoms"]
        centred = prior - prior.mean(axis=0)
        # The direction that tells the number of atoms best; its rank correlation does not ask for a straight law.
        direction, *_ = np.linalg.lstsq(centred, n_atoms - n_atoms.mean(), rcond=None)
        rank = float(stats.spearmanr(centred @ direction, n_atoms).statistic) if np.ptp(n_atoms) > 0 else float("nan")
        apart = np.median(np.linalg.norm(prior - member.latent["posterior"], axis=1))
        spread = np.sqrt(np.mean(np.sum(centred**2, axis=1)))
        parts.append(
            f"{member.label}: rank correlation of the number of atoms with its best direction {rank:.2f}, prior and "
            f"posterior mean {apart:.3g} apart in the median, {100 * apart / spread:.0f} % of the spread of the map"
        )
    return minus("; ".join(parts) + ".")


def strip(labels: Sequence[str], strips: Sequence[Mapping[str, Any]]) -> str:
    """How many of the structures of one way are valid."""
    counts = []
    for label, one in zip(labels, strips, strict=True):
        inside = [step for step in one["steps"] if 0.0 < step["fraction"] < 1.0]
        counts.append(f"{sum(bool(step['valid']) for step in inside)} of {len(inside)} by the {label}")
    a, b = strips[0]["symbols"]
    first, last = (strips[0]["steps"][index]["n_atoms"] for index in (0, -1))
    ends = f"From {a}, {first} atoms, to {b}, {last} atoms (as the {labels[0]} decodes the ends)"
    return f"{ends}: valid intermediates, {', '.join(counts)}."


def validity(study: Study, split: str) -> str:
    """Share of valid intermediates of either model, and whether the difference is more than chance."""
    parts = []
    for kind, label in MODELS.items():
        points = np.array(valid_by_fraction(study, split, kind)).reshape(-1, 4)
        inside = points[(points[:, 0] > 0) & (points[:, 0] < 1)]
        if len(inside):
            low = inside[np.argmin(inside[:, 1])]
            parts.append(
                f"{label} {100 * inside[:, 1].mean():.1f} % valid between the ends, least at {low[0]:.2f} of the way "
                f"({100 * low[1]:.1f} %)"
            )
    sentences = [f"{'; '.join(parts)}."] if parts else []
    for test in (study.interpolation or {}).get("tests", ()):
        sentences.append(significance(test))
    return minus(" ".join(sentences))


def significance(test: Mapping[str, Any]) -> str:
    """One test between two models as a sentence."""
    first, second = (MODELS.get(test[name], test[name]) for name in ("first", "second"))
    difference, p = float(test["difference"]), test.get("p_value")
    if p is None:
        return f"{first} − {second} = {100 * difference:+.1f} points over {test['n']} pairs; no test is possible."
    if p >= _SURE:
        verdict = "no difference beyond chance"
    else:
        verdict = f"the {first if difference > 0 else second} gives more valid intermediates"
    return (
        f"{first} − {second} = {100 * difference:+.1f} percentage points over {test['n']} pairs, p = {p:.2g} "
        f"({test['name']}): {verdict}."
    )


def fits(members: Sequence[Member]) -> str:
    """Pearson of the shown reconstructions."""
    parts = []
    for member in members:
        by_role = {example["role"]: example for example in member.examples}
        told = [f"{role} {by_role[role]['pearson']:.3f}" for role in ROLES if role in by_role]
        parts.append(f"{member.label} (seed {member.seed}): {', '.join(told)}")
    return minus(f"Pearson, {'; '.join(parts)}.")


def atoms(study: Study, splits: Sequence[str]) -> str:
    """How often the number of atoms is right, and how far off it is."""
    parts = []
    for split in splits:
        for kind, label in MODELS.items():
            values = study.pooled(split, kind, ONE_SAMPLE, "atoms_exact", "atoms_error")
            if len(values):
                exact, error = values.T
                parts.append(
                    f"{label}, {split} split: exact for {100 * exact.mean():.1f} %, mean error {error.mean():+.2f}, "
                    f"mean absolute error {np.abs(error).mean():.2f} atoms"
                )
    return minus("; ".join(parts) + ".")


def satellites(rows: Sequence[Mapping[str, str]]) -> str:
    """Best and worst number of satellites for the network, and the solver's own error at the published number."""
    sentences = []
    network = [row for row in rows if row["source"] == "network"]
    if len(network) > 1:
        (low, fewest), *_, (high, most) = sorted((float(row["pearson_mean"]), row["satellites"]) for row in network)
        sentences.append(
            f"Network and solver: mean Pearson highest with {most} satellites ({high:.4f}), "
            f"lowest with {fewest} ({low:.4f})."
        )
    solver = [row for row in rows if row["source"] == "solver" and row["satellites"] == str(SATELLITES)]
    if solver:
        told = [
            f"{float(row['rmsd_median']):.2g} Å at σ = {float(row['sigma']):g} Å"
            for row in solver
            if row["rmsd_median"]
        ]
        sentences.append(f"The solver alone, {SATELLITES} satellites: median RMSD {', '.join(told)}.")
    return minus(" ".join(sentences))


def factors(study: Study) -> str:
    """Which correction alone recovers most."""
    parts = []
    rows = study.factors or ()
    for split in present_splits(study):
        for kind, label in MODELS.items():
            mine = [r for r in rows if r["split"] == split and r["model"] == kind and r["factor"] in FACTORS]
            if not mine:
                continue
            order = sorted(mine, key=lambda row: -float(row["difference"]))
            uncorrected = float(order[0]["pearson"]) - float(order[0]["difference"])
            told = ", ".join(f"{row['factor']} {float(row['difference']):+.3f}" for row in order)
            parts.append(f"{label}, {split} split: from {uncorrected:.3f}, {told}")
    return minus("Change of the mean Pearson by each correction alone. " + "; ".join(parts) + ".")


def learning(study: Study) -> str:
    """How long the members trained, and which epoch was kept."""
    parts = []
    for kind, label in MODELS.items():
        members = [member for split in present_splits(study) for member in study.main(split, kind)]
        if members:
            epochs, best = ([int(member.facts[name]) for member in members] for name in ("epochs", "best_epoch"))
            seconds = [member.facts["training_seconds"] for member in members]
            parts.append(
                f"{label}: {len(members)} members of {_span(epochs)} epochs, kept {_span(best)}, "
                f"{np.median(seconds) / 60:.1f} min each in the median"
            )
    return "; ".join(parts) + "."


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _seeds(means: Sequence[float]) -> str:
    if len(means) == 1:
        return "one seed"
    return f"{len(means)} seeds, {min(means):.4f} to {max(means):.4f}"


def minus(text: str) -> str:
    """Signs of numbers as minus signs; hyphens in words stay."""
    return "".join(
        "−" if c == "-" and (i == 0 or text[i - 1] in " (+=") and text[i + 1 : i + 2].isdigit() else c
        for i, c in enumerate(text)
    )
