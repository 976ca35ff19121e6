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
from hpcpdf.lattice.crystal import FadingShells
from hpcpdf.lattice.shells import BONDS, DELTA2_LIMITS, U_LIMITS, PdfData
from hpcpdf.pdf.fit import BOUNDS
from hpcpdf.sample.motifs import Spread, largest, moments, neighbours

Floats = NDArray[np.float64]

LARGEST = 200.0
"""Diameter in Å; a larger particle is bulk to the data of a nanoparticle."""
VARIANCES = (0.0, 0.36)
"""Of ln D, which is 0.6 at most."""

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


class MixtureProblem(FadingShells):
    """Least squares of one PDF by mixtures; weights of the parts come in closed form (variable projection)."""

    def __init__(self, data: PdfData, largest: float = LARGEST) -> None:
        super().__init__(data)
        self.largest, self.norm2 = largest, float(data.g @ data.g)

    def curve(self, mixture: Mixture, part: Part) -> Floats:
        """G of one part alone, per atom; (R,)."""
        distance, number = self._neighbours(part)
        params = self.data.params
        f = _core.debye_lines(
            distance=distance,
            count=0.5 * number,
            u=mixture.u,
            qstep=self.qstep,
            n_q=self.n_q,
            delta1=params.delta1,
            delta2=mixture.delta2,
            qbroad=params.qbroad,
        )
        return self.transformed(f[self.first :], mixture.qdamp)

    def look(self, mixture: Mixture, part: Part, spreads: Sequence[Spread]) -> Floats:
        """The same for many spreads of sizes at once, (spreads, R)."""
        distance, _ = self._neighbours(part)
        numbers = np.array([self._neighbours(replace(part, spread=spread))[1] for spread in spreads])
        lines = self.lines(distance, mixture.u, mixture.delta2, self.data.params.qbroad)
        return self.transformed(numbers @ lines, mixture.qdamp)

    def _neighbours(self, part: Part) -> tuple[Floats, Floats]:
        """Distances (Å) of a part and neighbours an atom there, which fade out behind the data."""
        spread = Spread(part.spread.median / part.bond, part.spread.variance)
        distance, number = neighbours(part.family, self.reach(part.bond), spread, part.faults)
        return distance * part.bond, number * self.left(distance * part.bond)

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

    def fit(self, names: Sequence[str], start: Mixture, tolerance: float = 1e-6) -> Mixture:
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
