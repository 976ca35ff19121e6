"""The PDF of a mixture of motifs, each with a spread of sizes, as a function of its parameters.

    G(r) = exp(−(qdamp r)²/2) Σ_k x_k (2/π) Σ_Q ΔQ sin(Q r) Σ_c n_kc exp(−U_c Q²) sin(Q d_c)/d_c,

with n_kc neighbours of an average atom of motif k (`hpcpdf.sample.motifs`), and x_k the scale of the PDF times the
share of the atoms that are in it. U, δ2 and Qdamp are common to all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from hpcpdf import _core
from hpcpdf.lattice.shells import BONDS, DELTA2_LIMITS, U_LIMITS, PdfData
from hpcpdf.pdf.fit import BOUNDS
from hpcpdf.pdf.fit_model import FitGrid
from hpcpdf.pdf.grids import extended_grid
from hpcpdf.sample.motifs import Spread, largest, moments, neighbours

Floats = NDArray[np.float64]

LARGEST = 200.0
"""Diameter in Å; a larger particle is bulk to the data of a nanoparticle."""
VARIANCES = (0.0, 0.36)
"""Of ln D, which is 0.6 at most."""

_BEHIND, _FADE = 2.0, 25.0
"""From how far behind the data and over which length neighbours fade out, Å: a sudden end would ring in the data."""
_SMALLEST, _SMALLEST_OTHER = 1.5, 3.5
"""Diameter of the first motif, and of the others, in bond lengths: with a few atoms one could explain anything."""
_STEPS = {"bond": 1e-6, "size": 1e-5, "variance": 1e-5, "faults": 1e-5, "u": 1e-4, "delta2": 1e-3, "qdamp": 1e-5}
_SCALES = {"bond": 0.01, "size": 0.2, "variance": 0.02, "faults": 0.05, "u": 0.2, "delta2": 1.0, "qdamp": 0.01}


@dataclass(frozen=True)
class Part:
    """One motif of a mixture.

    Attributes
    ----------
    family : str
    bond : float
        Å.
    spread : Spread
        Of diameters, Å.
    faults : float
        Probability of a growth fault a layer.
    """

    family: str
    bond: float
    spread: Spread
    faults: float = 0.0

    def moments(self) -> tuple[float, float, float]:
        """Mean and standard deviation of the particles' diameters, and the mean over atoms, Å."""
        relative = Spread(self.spread.median / self.bond, self.spread.variance)
        mean, width, atom_mean = moments(self.family, relative)
        return mean * self.bond, width * self.bond, atom_mean * self.bond


@dataclass(frozen=True)
class Mixture:
    """Parameters of a mixture; what each part weighs follows from the data.

    Attributes
    ----------
    parts : tuple of Part
    u, delta2 : float
        Å².
    qdamp : float
        1/Å.
    """

    parts: tuple[Part, ...]
    u: float
    delta2: float
    qdamp: float

    def values(self, names: Sequence[str]) -> Floats:
        """Parameters as the fit knows them, by names such as ``u``, ``bond.0`` and ``size.1``."""
        return np.array([self._value(name) for name in names])

    def _value(self, name: str) -> float:
        kind, _, index = name.partition(".")
        if not index:
            value = float(getattr(self, kind))
            return math.log(value) if kind == "u" else value
        part = self.parts[int(index)]
        return {
            "bond": math.log(part.bond),
            "size": math.log(part.spread.median),
            "variance": part.spread.variance,
            "faults": part.faults,
        }[kind]

    def placed(self, names: Sequence[str], values: Floats) -> Mixture:
        """The same with other values of the named parameters."""
        parts, common = list(self.parts), {}
        for name, value in zip(names, values.tolist(), strict=True):
            kind, _, index = name.partition(".")
            if not index:
                common[kind] = math.exp(value) if kind == "u" else value
                continue
            k = int(index)
            part = parts[k]
            if kind == "bond":
                parts[k] = replace(part, bond=math.exp(value))
            elif kind == "faults":
                parts[k] = replace(part, faults=value)
            elif kind == "size":
                parts[k] = replace(part, spread=replace(part.spread, median=math.exp(value)))
            else:
                parts[k] = replace(part, spread=replace(part.spread, variance=value))
        return replace(self, parts=tuple(parts), **common)


class MixtureProblem:
    """Least squares of one PDF by mixtures; weights of the parts come in closed form (variable projection)."""

    def __init__(self, data: PdfData, largest: float = LARGEST) -> None:
        params, end = data.params, float(data.r[-1])
        self.data, self.largest = data, largest
        self._reach = end + _BEHIND + _FADE
        # Fading neighbours need a Q grid that tells them from their images.
        rmax = params.rstep * math.ceil(max(params.rmax, self._reach) / params.rstep)
        grid = extended_grid(replace(params, rmax=rmax), 0.0)
        self._qstep, self._first, self._n_q = grid.qstep, grid.k_first, grid.n_q
        self._sine = FitGrid.make(grid.q[grid.k_first :], grid.qstep, data.r).sine
        self.norm2 = float(data.g @ data.g)

    def curve(self, mixture: Mixture, part: Part) -> Floats:
        """G of one part alone, per atom; (R,)."""
        distance, number = self._faded(part)
        params = self.data.params
        f = _core.debye_lines(
            distance=distance,
            count=0.5 * number,
            u=mixture.u,
            qstep=self._qstep,
            n_q=self._n_q,
            delta1=params.delta1,
            delta2=mixture.delta2,
            qbroad=params.qbroad,
        )
        return np.asarray(f[self._first :] @ self._sine * self.data.envelope(mixture.qdamp))

    def look(self, mixture: Mixture, part: Part, spreads: Sequence[Spread]) -> Floats:
        """The same for many spreads of sizes at once, (spreads, R)."""
        distance, _ = self._faded(part)
        numbers = np.array([self._faded(replace(part, spread=spread))[1] for spread in spreads])
        params = self.data.params
        ratio = 1.0 - params.delta1 / distance - mixture.delta2 / distance**2 + (params.qbroad * distance) ** 2
        damping = mixture.u * np.maximum(ratio, 0.0) * self._qstep**2
        waves, _ = _core.wave_tables(distance, damping, self._qstep, self._n_q, 1)
        return np.asarray((numbers @ waves)[:, self._first :] @ self._sine * self.data.envelope(mixture.qdamp))

    def _faded(self, part: Part) -> tuple[Floats, Floats]:
        """Distances (Å) of a part and neighbours an atom there, which fade out behind the data."""
        reach = round(2.0 ** (math.ceil(8.0 * math.log2(self._reach / part.bond)) / 8.0), 6)
        spread = Spread(part.spread.median / part.bond, part.spread.variance)
        distance, number = neighbours(part.family, reach, spread, part.faults)
        fade = np.clip((distance * part.bond - self._reach + _FADE) / _FADE, 0.0, 1.0)
        return distance * part.bond, number * np.cos(0.5 * np.pi * fade) ** 2

    def curves(self, mixture: Mixture) -> Floats:
        """G of every part, (parts, R)."""
        return np.array([self.curve(mixture, part) for part in mixture.parts])

    def weights(self, curves: Floats) -> Floats:
        """Factors of curves, none negative, that come closest to the data."""
        g = self.data.g
        found = np.linalg.lstsq(curves.T, g, rcond=1e-10)[0]
        if len(found) == 1 or np.all(found > 0.0):
            return np.asarray(np.maximum(found, 0.0))
        # Two parts at most: one of them is not wanted.
        alone = np.maximum(curves @ g, 0.0) / np.maximum(np.sum(curves**2, axis=1), 1e-300)
        left = [float(np.sum((g - x * curve) ** 2)) for x, curve in zip(alone, curves, strict=True)]
        return np.where(np.arange(len(alone)) == int(np.argmin(left)), alone, 0.0)

    def residual(self, mixture: Mixture) -> Floats:
        """What the best weights leave, over the norm of the data; (R,)."""
        curves = self.curves(mixture)
        return np.asarray((self.data.g - self.weights(curves) @ curves) / math.sqrt(self.norm2))

    def misfit(self, mixture: Mixture) -> float:
        """R_w²."""
        left = self.residual(mixture)
        return float(left @ left)

    def limits(self, name: str, mixture: Mixture) -> tuple[float, float]:
        """Lowest and highest value of a parameter."""
        kind, _, index = name.partition(".")
        if kind == "size":
            part = mixture.parts[int(index)]
            most = min(self.largest, largest(part.family) * part.bond)
            least = _SMALLEST if index == "0" else _SMALLEST_OTHER
            return math.log(least * part.bond), math.log(most)
        if kind == "bond":
            return math.log(BONDS[0]), math.log(BONDS[1])
        if kind == "u":
            return math.log(U_LIMITS[0]), math.log(U_LIMITS[1])
        return {"variance": VARIANCES, "faults": (0.0, 1.0), "delta2": DELTA2_LIMITS, "qdamp": BOUNDS["qdamp"]}[kind]

    def fit(self, names: Sequence[str], start: Mixture, tolerance: float = 1e-7) -> Mixture:
        """Refine the named parameters by Levenberg–Marquardt steps."""
        low, high = np.array([self.limits(name, start) for name in names]).T
        room = 1e-9 * (high - low)
        norm = math.sqrt(self.norm2)

        def slopes(x: Floats) -> Floats:
            # Weights follow by themselves: their directions are taken out (Kaufman, BIT 15 (1975) 49).
            mixture = start.placed(names, x)
            curves = self.curves(mixture)
            axes = np.linalg.qr(curves.T)[0]
            by = self.slopes(names, mixture, self.weights(curves)) / norm
            return np.asarray(axes @ (axes.T @ by) - by)

        def left(x: Floats) -> Floats:
            return self.residual(start.placed(names, x))

        found = least_squares(
            left,
            np.clip(start.values(names), low + room, high - room),
            jac=slopes,
            bounds=(low, high),
            x_scale=np.array([_SCALES[name.partition(".")[0]] for name in names]),
            ftol=tolerance,
            xtol=tolerance,
            gtol=1e-12,
            max_nfev=60,
        )
        return start.placed(names, found.x)

    def slopes(self, names: Sequence[str], mixture: Mixture, weights: Floats) -> Floats:
        """Derivatives of ``weights @ curves`` by the named parameters, (R, names)."""
        x, here = mixture.values(names), self.curves(mixture)
        columns = []
        for k, name in enumerate(names):
            kind, _, index = name.partition(".")
            step = _STEPS[kind]
            step = -step if x[k] + step > self.limits(name, mixture)[1] else step
            moved = x.copy()
            moved[k] += step
            other = mixture.placed(names, moved)
            some = [int(index)] if index else range(len(mixture.parts))
            change = sum(weights[i] * (self.curve(other, other.parts[i]) - here[i]) for i in some)
            columns.append(np.asarray(change) / step)
        return np.stack(columns, axis=1)
