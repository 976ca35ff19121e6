"""The PDF of one structure on a template: widths refined, and what they leave of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcpdf.lattice.shells import DELTA2_LIMITS, QDAMP_GUESS, U_LIMITS, PdfData, Widths
from hpcpdf.pdf.fit import BOUNDS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

QDAMP_LIMITS = (0.0, BOUNDS["qdamp"][1])
"""1/Å."""


@dataclass(frozen=True)
class Fit:
    """A structure's best agreement with a PDF.

    Attributes
    ----------
    widths : Widths
        Bond length, U, δ2 and qdamp that it is reached with.
    misfit : float
        Share of the data (squared, in the metric in which noise is white) that is left.
    """

    widths: Widths
    misfit: float


def start_widths(data: PdfData, widths: Widths) -> Widths:
    """Widths with a qdamp to begin with: the instrument's, or a usual one."""
    return Widths(widths.bond, widths.u, widths.delta2, QDAMP_GUESS if data.qdamp is None else data.qdamp)


def refine(
    data: PdfData,
    distance: Floats,
    counts: NDArray[np.integer],
    start: Widths,
    *,
    free_delta2: bool = True,
    rounds: int = 12,
) -> Fit:
    """Bond length, U, δ2 and, unless the instrument is known, qdamp of a structure, by Levenberg–Marquardt steps.

    Parameters
    ----------
    data
        The PDF.
    distance, counts : (C,)
        Shells in bond lengths, and the structure's pairs in each.
    start
        Where to begin.
    free_delta2
        Whether δ2 may change.
    rounds
        Steps at most.
    """
    some = np.flatnonzero(counts)
    d, m = distance[some], counts[some].astype(np.float64)
    metric = data.whitening()
    target = metric * data.g
    size2 = float(target @ target)
    free = [0, 1] + ([2] if free_delta2 else []) + ([3] if data.qdamp is None else [])
    low = np.array([math.log(1.5), math.log(U_LIMITS[0]), DELTA2_LIMITS[0], QDAMP_LIMITS[0] ** 2])
    high = np.array([math.log(4.5), math.log(U_LIMITS[1]), DELTA2_LIMITS[1], QDAMP_LIMITS[1] ** 2])
    limit = np.array([0.01, 0.7, 1.5, 0.0015])
    theta = np.array([math.log(start.bond), math.log(start.u), start.delta2, start.qdamp**2])

    def curve(at: Floats) -> Floats:
        weights = metric * np.exp(-0.5 * at[3] * data.r**2)
        shells = data.columns(d * math.exp(at[0]), math.exp(at[1]), float(at[2]), data.padded(weights))
        return np.asarray((m @ shells)[: len(data.r)])

    def left(g: Floats) -> tuple[float, float]:
        scale = max(float(g @ target), 0.0) / max(float(g @ g), 1e-300)
        rest = target - scale * g
        return float(rest @ rest) / size2, scale

    here = curve(theta)
    misfit, scale = left(here)
    damping = 1e-4
    for _ in range(rounds):
        weights = metric * np.exp(-0.5 * theta[3] * data.r**2)
        slopes = data.slopes(d * math.exp(theta[0]), m, math.exp(theta[1]), float(theta[2]), data.padded(weights))
        rows = np.vstack([slopes[:, : len(data.r)], -0.5 * data.r**2 * here])[free] * scale
        # The scale follows by itself: its direction is taken out (variable projection).
        unit = here / np.linalg.norm(here)
        rows = rows - np.outer(rows @ unit, unit)
        normal = rows @ rows.T
        trial, better = theta, False
        while damping < 1e4:
            lifted = normal + damping * np.diag(np.diag(normal)) + 1e-300 * np.eye(len(free))
            change = np.zeros(4)
            change[free] = np.linalg.lstsq(lifted, rows @ (target - scale * here), rcond=1e-14)[0]
            trial = np.clip(theta + np.clip(change, -limit, limit), low, high)
            there = curve(trial)
            value, its_scale = left(there)
            better = value < misfit
            if better:
                break
            damping *= 10.0
        if not better:
            break
        gain = 1.0 - value / max(misfit, 1e-300)
        theta, here, misfit, scale = trial, there, value, its_scale
        damping = max(damping * 0.1, 1e-9)
        if gain < 1e-4 or misfit < 1e-18:
            break
    widths = Widths(math.exp(theta[0]), math.exp(theta[1]), float(theta[2]), math.sqrt(max(float(theta[3]), 0.0)))
    return Fit(widths, misfit)


def profile(data: PdfData, distance: Floats, counts: NDArray[np.integer], widths: Widths) -> tuple[Floats, Floats]:
    """Misfits of many structures when bond, U, δ2 and qdamp may follow each of them to first order.

    Parameters
    ----------
    data
        The PDF.
    distance : (C,)
        Shells, in bond lengths.
    counts : (B, C)
        Pairs of each structure.
    widths
        Where the first order is taken: the fit of one of them, or near it.

    Returns
    -------
    misfit : (B,)
        In the metric in which noise is white.
    rw : (B,)
        With unit weights, at the same parameters.
    """
    metric = data.whitening()
    envelope = metric * data.envelope(widths.qdamp)
    d = distance * widths.bond
    step = ((1e-5, 0.0, 0.0), (0.0, 1e-3, 0.0), (0.0, 0.0, 1e-2))
    padded = data.padded(envelope)
    n = len(data.r)
    base = data.columns(d, widths.u, widths.delta2, padded)[:, :n]
    m = counts.astype(np.float64)
    curves = [m @ base]
    for by_bond, by_u, by_delta2 in step:
        up = data.columns(d * (1.0 + by_bond), widths.u * (1.0 + by_u), widths.delta2 + by_delta2, padded)[:, :n]
        curves.append(m @ (up - base) / (by_bond + by_u + by_delta2))
    if data.qdamp is None:
        curves.append(curves[0] * (-0.5 * data.r**2 / 100.0))
    target = metric * data.g
    misfit, rw = np.empty(len(m)), np.empty(len(m))
    size2, plain2 = float(target @ target), float(data.g @ data.g)
    for b in range(len(m)):
        rows = np.array([curve[b] for curve in curves])
        lengths = np.linalg.norm(rows, axis=1)
        rows /= np.maximum(lengths, 1e-300)[:, None]
        x = np.linalg.lstsq(rows.T, target, rcond=1e-10)[0]
        # A structure never asks for more change of a width than the first order can stand.
        along = x[0] / max(lengths[0], 1e-300)
        change = x[1:] / np.maximum(lengths[1:], 1e-300) / (along if along > 0.0 else math.inf)
        bounded = np.clip(change, *_trust(widths, data.qdamp is None))
        g = rows[0] * lengths[0] + bounded @ (rows[1:] * lengths[1:, None])
        scale = max(float(g @ target), 0.0) / max(float(g @ g), 1e-300)
        rest = target - scale * g
        misfit[b] = float(rest @ rest) / size2
        plain = rest / metric
        rw[b] = math.sqrt(float(plain @ plain) / plain2)
    return misfit, rw


def _trust(widths: Widths, free_qdamp: bool) -> tuple[Floats, Floats]:
    """Lowest and highest change of log bond, log U, δ2 and, in units of 0.01, qdamp²."""
    low = [-0.004, -0.25, max(-0.5, -widths.delta2)]
    high = [0.004, 0.25, 0.5]
    if free_qdamp:
        low.append(max(-0.05, -100.0 * widths.qdamp**2))
        high.append(0.05)
    return np.array(low), np.array(high)
