"""How candidates and solutions show themselves in Jupyter: structure and fit as small drawings, without any script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from ase.data import atomic_numbers
from ase.data.colors import jmol_colors
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hpcpdf.reconstruct.shape import BOND_REACH
from hpcpdf.reconstruct.solution import Candidate, Solution

Floats = NDArray[np.float64]

_SIDE, _WIDE, _TALL = 220, 420, 220
"""Pixels of the drawings."""
_BANDS = 14
"""Depths that are told apart by their shade; within one, atoms lie side by side."""
_ALL, _SECOND = 200, 3000
"""Atoms up to which all are drawn; of more, those that face the reader, with the layer that shows between them."""
_POINTS = 280
"""Points of a curve at most."""
_ROWS = 10
_TURN = np.array([[0.94, -0.34, 0.0], [0.11, 0.31, 0.94], [-0.32, -0.89, 0.33]])
"""Down on a corner of a cubic cell from a little above, so that no two rows of atoms hide one another."""


def candidate_html(candidate: Candidate) -> str:
    """A candidate: what it is, its picture and its fit."""
    numbers = f"R<sub>w</sub> {candidate.rw:.3f}, {_bond(candidate)}"
    if not math.isnan(candidate.probability):
        numbers += f", probability {_share(candidate.probability)}"
    return f"<div><div><b>{_name(candidate)}</b>: {numbers}</div>{_pictures(candidate)}</div>"


def solution_html(solution: Solution) -> str:
    """A solution: verdict, the best candidate, the ranking, and what else is known."""
    parts = [f"<div><b>{escape(solution.verdict)}</b> ({escape(solution.source)})</div>"]
    if solution.candidates:
        parts.append(_pictures(solution[0]))
        head = "".join(f"<th>{name}</th>" for name in ("", "structure", "R<sub>w</sub>", "bond", "probability"))
        rows = [
            f"<tr><td>{rank}</td><td>{_name(one)}</td><td>{one.rw:.4f}</td><td>{_bond(one)}</td>"
            f"<td>{'–' if math.isnan(one.probability) else _share(one.probability)}</td></tr>"
            for rank, one in enumerate(solution[:_ROWS], start=1)
        ]
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")
    lines = []
    if solution.posterior.samples:
        atoms, diameter = solution.posterior.n_atoms(), solution.posterior.diameter()
        shares = ", ".join(f"{escape(name)} {_share(part)}" for name, part in solution.posterior.families.items())
        lines.append(
            f"atoms {atoms[0]:.0f}–{atoms[1]:.0f}, diameter {diameter[0]:.1f}–{diameter[1]:.1f} Å (90 %); {shares}"
        )
    if solution.sizes is not None:
        lines.append(f"sizes: {escape(solution.sizes.sentence)}")
    lines += [escape(note) for note in solution.notes]
    parts += [f"<div><small>{line}</small></div>" for line in lines]
    return f"<div>{''.join(parts)}</div>"


def _name(candidate: Candidate) -> str:
    return f"{candidate.atoms.symbols.formula.format('html')} {escape(candidate.family)}"


def _bond(candidate: Candidate) -> str:
    return f"{candidate.nn_mean:.3f} Å"


def _share(part: float) -> str:
    return "&lt; 1 %" if part < 0.005 else "&gt; 99 %" if part > 0.995 else f"{100.0 * part:.0f} %"


def _pictures(candidate: Candidate) -> str:
    positions = np.asarray(candidate.atoms.positions, dtype=np.float64)
    drawings = structure_svg(positions, list(candidate.atoms.symbols)) + fit_svg(
        candidate.r, candidate.g_obs, candidate.g_calc
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px;margin:4px 0">{drawings}</div>'


def structure_svg(positions: Floats, symbols: Sequence[str]) -> str:
    """Spheres seen from one side, the farther the paler.

    Parameters
    ----------
    positions
        (n, 3), Å.
    symbols
        Element of each atom.
    """
    seen = (positions - positions.mean(axis=0)) @ _TURN.T
    nn = _nearest(seen)
    keep = _facing(seen, nn)
    shown, kinds = seen[keep], np.asarray(symbols)[keep]
    reach = float(np.abs(seen[:, :2]).max(initial=0.0)) + 0.6 * nn
    scale = 0.5 * _SIDE / reach
    places = np.rint(10.0 * (0.5 * _SIDE + scale * shown[:, :2] * [1.0, -1.0])) / 10.0
    depth = shown[:, 2]
    span = float(np.ptp(depth)) or 1.0
    bands = np.minimum(((depth - depth.min()) / span * _BANDS).astype(int), _BANDS - 1)
    parts = []
    for band in range(_BANDS):
        for kind in sorted(set(kinds[bands == band])):
            dots = "".join(f"M{x:g} {y:g}h0" for x, y in places[(bands == band) & (kinds == kind)].tolist())
            near = band / (_BANDS - 1)
            parts.append(f'<path d="{dots}" stroke="{_shade("#30343c", near)}" stroke-width="{scale * nn:.1f}"/>')
            fill = _shade(_colour(kind), near)
            parts.append(f'<path d="{dots}" stroke="{fill}" stroke-width="{0.88 * scale * nn:.1f}"/>')
    body = f'<g stroke-linecap="round">{"".join(parts)}</g>'
    return _svg(_SIDE, _SIDE, body, f"{len(positions)} atoms")


def fit_svg(r: Floats, g_obs: Floats, g_calc: Floats) -> str:
    """Observed and calculated PDF, and their difference below; (R,) each, Å and Å⁻²."""
    every = max(1, -(-len(r) // _POINTS))
    x, obs, calc = r[::every], g_obs[::every], g_calc[::every]
    gap = obs - calc
    top, bottom = float(max(obs.max(), calc.max())), float(min(obs.min(), calc.min()))
    offset = bottom - float(gap.max()) - 0.04 * (top - bottom)
    low = offset + float(min(gap.min(), 0.0))
    across = (x - x[0]) / ((x[-1] - x[0]) or 1.0) * (_WIDE - 16) + 8
    factor = (_TALL - 34) / ((top - low) or 1.0)

    def line(values: Floats, style: str) -> str:
        points = " ".join(f"{a:.1f},{8 + factor * (top - b):.1f}" for a, b in zip(across.tolist(), values, strict=True))
        return f'<polyline points="{points}" fill="none" {style}/>'

    text = 'font-size="11" fill="#444" font-family="sans-serif"'
    body = (
        line(obs, 'stroke="#9a9a9a" stroke-width="3"')
        + line(calc, 'stroke="#d55e00" stroke-width="1.2"')
        + line(gap + offset, 'stroke="#0072b2"')
        + f'<text x="8" y="{_TALL - 6}" {text}>{r[0]:.4g} Å</text>'
        + f'<text x="{_WIDE - 8}" y="{_TALL - 6}" {text} text-anchor="end">{r[-1]:.4g} Å</text>'
        + f'<text x="{_WIDE - 8}" y="18" {text} text-anchor="end">G observed, '
        + '<tspan fill="#d55e00">calculated</tspan>, <tspan fill="#0072b2">difference</tspan></text>'
    )
    return _svg(_WIDE, _TALL, body, "PDF observed, calculated and their difference")


def _svg(width: int, height: int, body: str, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(label)}" style="background:#fff;border-radius:6px">{body}</svg>'
    )


def _nearest(positions: Floats) -> float:
    if len(positions) < 2:
        return 2.5
    return float(np.median(np.asarray(cKDTree(positions).query(positions, k=2)[0])[:, 1]))


def _facing(positions: Floats, nn: float) -> NDArray[np.bool_]:
    """Atoms that may be seen from +z: neighbours do not surround them, nor lie in front of them only."""
    if len(positions) <= _ALL:
        return np.ones(len(positions), dtype=bool)
    pairs = cKDTree(positions).query_pairs(BOND_REACH * nn, output_type="ndarray")
    outwards = np.zeros_like(positions)
    away = positions[pairs[:, 0]] - positions[pairs[:, 1]]
    for side, sign in ((0, 1.0), (1, -1.0)):
        np.add.at(outwards, pairs[:, side], sign * away)
    size = np.linalg.norm(outwards, axis=1)
    facing = np.asarray((size > 0.5 * nn) & (outwards[:, 2] > -0.35 * size))
    if len(positions) <= _SECOND:
        touched = facing[pairs]
        facing[pairs[touched.any(axis=1)]] = True
    return facing


def _colour(symbol: str) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in jmol_colors[atomic_numbers[symbol]])


def _shade(colour: str, near: float) -> str:
    """A colour that fades towards white with the distance; `near` from 0 to 1."""
    weight = 0.35 + 0.65 * near
    parts = [round(255 - weight * (255 - int(colour[k : k + 2], 16))) for k in (1, 3, 5)]
    return "#" + "".join(f"{part:02x}" for part in parts)
