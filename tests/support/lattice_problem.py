"""A PDF of known sites on a small template, and what walks and polishing say of it, checked from all pairs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hpcpdf import PdfParams, _core
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.template import Template, lattice_template

PARAMS = PdfParams(rmin=1.5, rmax=20.0, rstep=0.1, qmin=0.8, qmax=25.0)
BOND, U, QDAMP = 2.77, 0.006, 0.03
FRAME = lattice_template("fcc", 4.0, 8.0)


def ball(n_atoms: int, centre: tuple[float, float, float], frame: Template = FRAME) -> np.ndarray:
    """Sites nearest to a place."""
    order = np.argsort(np.linalg.norm(frame.sites - centre, axis=1), kind="stable")[:n_atoms]
    return np.sort(order).astype(np.int32)


TRUTH = ball(43, (0.3, 0.1, 0.2))
START = ball(30, (0.0, 0.0, 0.0))


class Problem:
    """A PDF of known sites, and the shells that may make it up, both weighted."""

    def __init__(
        self,
        *,
        free_rate: bool = False,
        noise: float = 0.02,
        frame: Template = FRAME,
        truth: np.ndarray | None = None,
    ) -> None:
        r = np.arange(1.5, 20.0, 0.1)
        data = PdfData(r, np.zeros_like(r), PARAMS, QDAMP)
        weights = (r / r[-1]) ** 2
        seen = data.columns(frame.distance * BOND, U, 1.0, data.padded(weights * data.envelope(QDAMP)))
        g = frame.core.shell_counts(ball(43, (0.3, 0.1, 0.2), frame) if truth is None else truth) @ seen
        g += data.padded(noise * np.abs(g).max() * np.random.default_rng(1).normal(size=r.size))
        self.data = g
        self.shells = data.columns(frame.distance * BOND, U, 1.0, data.padded(weights)) if free_rate else seen
        self.rho = data.padded((r / r[-1]) ** 2) if free_rate else None
        self.rate = 0.5 * (QDAMP * r[-1]) ** 2 if free_rate else 0.0
        self.frame = frame
        self.rate_max = 0.5 * (0.08 * r[-1]) ** 2
        self.target = _core.LatticeTarget(data=self.data, shells=self.shells, rho=self.rho, rate_max=self.rate_max)

    def misfit(self, sites: Any, rate: float = 0.0) -> float:
        """Share of the data that the best multiple of a structure leaves."""
        g = self.frame.core.shell_counts(np.sort(np.asarray(sites, dtype=np.int32))) @ self.shells
        if self.rho is not None:
            g = g * np.exp(-rate * self.rho)
        along = float(g @ self.data)
        return 1.0 - along**2 / float((g @ g) * (self.data @ self.data)) if along > 0.0 else 1.0

    def _common(self) -> dict[str, Any]:
        return {
            "sites": self.frame.core,
            "target": self.target,
            "bond_cost": 0.0,
            "usual_missing": 15.0,
            "n_threads": 1,
        }

    def walks(self, **change: Any) -> list[dict[str, Any]]:
        given: dict[str, Any] = {
            **self._common(),
            "starts": [[START], [ball(60, (0.4, 0.0, 0.0), self.frame), START]],
            "rates": [self.rate] * 2,
            "seeds": [3, 4],
            "powers": [5.0, 12.0, 25.0],
            "rounds": 8,
            "steps": 60,
            "shares": (0.4, 0.3, 0.15, 0.15),
            "stop": 0.0,
            "least_atoms": 4,
            "most_atoms": 10**6,
            "least_bonds": 3,
            "keep": 20,
        }
        return _core.lattice_walks(**(given | change))

    def polish(self, **change: Any) -> list[dict[str, Any]]:
        given: dict[str, Any] = {
            **self._common(),
            "starts": [START],
            "rates": [self.rate],
            "rounds": 1,
            "tenure": 6,
            "patience": 4,
            "most_changes": 500,
            "stop": 0.0,
            "least_atoms": 4,
            "least_bonds": 3,
            "keep": 2,
        }
        return _core.lattice_polish(**(given | change))

    def shapes(self, **change: Any) -> list[dict[str, Any]]:
        given: dict[str, Any] = {
            **self._common(),
            "seed": 7,
            "count": 300,
            "least_atoms": 10,
            "most_atoms": 90,
            "centres": self.frame.centres,
            "off_centre": 0.7,
            "rate": self.rate,
            "keep": 25,
        }
        return _core.lattice_shapes(**(given | change))


def bonds(sites: Any, frame: Template = FRAME) -> np.ndarray:
    """Occupied neighbours of every site."""
    inside = np.zeros(len(frame) + 1, dtype=bool)
    inside[np.asarray(sites)] = True
    return inside[frame.neighbours].sum(axis=1)


def missing(sites: Any, frame: Template = FRAME) -> int:
    return int(frame.coordination * len(sites) - bonds(sites, frame)[np.asarray(sites)].sum())


def value(met: dict[str, Any]) -> float:
    return math.log(met["misfit"]) + float(met["energy"])


def frozen(results: Any) -> Any:
    """Everything that was returned, to the byte."""
    if isinstance(results, dict):
        return tuple((name, frozen(item)) for name, item in sorted(results.items()))
    if isinstance(results, list):
        return tuple(frozen(item) for item in results)
    return results.tobytes() if isinstance(results, np.ndarray) else results


def check(problem: Problem, mets: list[dict[str, Any]], frame: Template = FRAME, rel: float = 2e-4) -> None:
    """What is said of structures is true of them; `rel` is how far from settled their envelopes may be."""
    assert [value(met) for met in mets] == sorted(value(met) for met in mets)
    assert len({met["key"] for met in mets}) == len(mets)
    edge = np.linalg.norm(frame.sites, axis=1) > frame.radius + 1e-9
    for met in mets:
        sites = met["sites"]
        assert np.all(np.diff(sites) > 0)
        assert not edge[sites].any()
        assert met["missing"] == missing(sites, frame)
        counts = frame.core.shell_counts(sites)
        again, rate = _core.lattice_score(problem.target, counts, met["rate"])
        assert again <= met["misfit"] * (1.0 + 2e-4) + 1e-7
        assert met["misfit"] == pytest.approx(again, rel=rel, abs=1e-7)
        assert met["misfit"] == pytest.approx(problem.misfit(sites, rate), rel=rel, abs=1e-7)
