"""Relaxation of a cluster's surface with one or two parameters, kept only where the data ask for it.

Atoms that miss neighbours sit closer to those they have, and strain may grow from the centre outwards (five-fold
shapes, a shell under tension). With r_i the distance of atom i from the centroid, R the largest of these, a the mean
bond length and CN_i its coordination, atom i moves outwards by

    u_i = surface · a · (1 − CN_i / CN_max) + radial · r_i (r_i / R)².

A uniform strain is the zoom of the fit. Two numbers cannot fit noise as 3 N coordinates can, so this comes before any
refinement of coordinates. Noisy data often tell that a surface has relaxed without telling the two apart; then one of
them stands for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.optimize import least_squares

from hpcpdf.errors import ConfigError
from hpcpdf.pdf.fit import BOUNDS, FitResult, PdfFitter
from hpcpdf.pdf.kernel import NodeKernel
from hpcpdf.reconstruct.shape import geometry

Floats = NDArray[np.float64]

LIMITS = {"surface": 0.15, "radial": 0.03}
"""Largest size of a parameter: a facet of fcc(111) moves by 4 % of a bond, the outermost shell by 3 % of its radius.

Metal surfaces relax by less. What asks for more is something else that a PDF shows in the same place, such as disorder
at the surface or a spread of sizes, and is not taken for relaxation.
"""

_BEYOND = 4.0
"""How far a fit may go, in limits: from inside it is clear soon that its end lies outside."""

_WORTH = 2.0
"""Fall of the criterion from which a relaxation counts; less is "not worth more than a bare mention" (Kass & Raftery,
J. Am. Stat. Assoc. 90 (1995) 773), and the best of three was taken.
"""

_STEP = 1e-5
"""Change of a strain for its derivative: forward differences are good to 1e-4, and steer a fit only."""
_MAX_EVALUATIONS = 12
_TOLERANCE = 1e-5
"""Relative change of R_w² at which a fit ends; the criterion would notice 0.04."""


def relax_surface(
    atoms: Atoms, fitter: PdfFitter, fit: FitResult | None = None
) -> tuple[Atoms, FitResult, dict[str, float]]:
    """Fit the relaxation of a surface to a PDF, together with all that `fitter` refines.

    Levenberg–Marquardt steps on R_w with the scale eliminated in closed form, for either parameter alone and for both.
    What is returned is the description with the lowest Bayesian information criterion, n ln R_w² + k ln n, if that is
    lower by 2 at least than that of the cluster as it came. A description beyond `LIMITS` does not take part.

    Parameters
    ----------
    atoms
        One element; bonds near their true length (zoom is fitted).
    fitter
        Holds the PDF and says what is refined.
    fit
        ``fitter.fit_exactly(atoms)``, where it is known already.

    Returns
    -------
    atoms : ase.Atoms
        Moved along their radii; the zoom of the fit is not applied.
    fit : FitResult
        Of these atoms.
    found : dict
        ``surface`` and ``radial``, without unit: 0 exactly for what was not kept, negative inwards; ``bic_gain``, by
        how much the criterion fell.

    Raises
    ------
    ConfigError
        For more than one element.
    """
    if len(set(atoms.numbers)) > 1:
        raise ConfigError("relax_surface: expected atoms of one element")
    rigid = fitter.fit_exactly(atoms) if fit is None else fit
    unmoved = {"surface": 0.0, "radial": 0.0, "bic_gain": 0.0}
    positions = np.asarray(atoms.positions, dtype=np.float64)
    fields = displacements(positions) if rigid.scale > 0.0 else {}
    if not fields:
        return atoms, rigid, unmoved
    problem = _Problem(positions, fields, rigid, fitter.refine)
    trials = [problem.solve(names) for names in dict.fromkeys(((*fields,), *((name,) for name in fields)))]
    trials = [(rw, found) for rw, found in trials if all(abs(e) <= LIMITS[name] for name, e in found.items())]
    if not trials:
        return atoms, rigid, unmoved
    _, strains = min(trials, key=lambda trial: fitter.bic(trial[0], len(trial[1])))
    moved = Atoms(atoms.symbols, positions=problem.moved(strains))
    relaxed = fitter.fit_exactly(moved)
    gain = fitter.bic(rigid.rw, rigid.n_parameters) - fitter.bic(relaxed.rw, relaxed.n_parameters + len(strains))
    if gain < _WORTH:
        return atoms, rigid, unmoved
    return moved, relaxed, {**unmoved, **strains, "bic_gain": gain}


def displacements(positions: Floats) -> dict[str, Floats]:
    """How each parameter of size 1 moves a cluster, (n, 3) Å; without those that move nothing.

    Parameters
    ----------
    positions : (n, 3) array
        Å.
    """
    if len(positions) < 3:
        return {}
    shape = geometry(positions)
    out = positions - positions.mean(axis=0)
    distance = np.linalg.norm(out, axis=1)
    missing = 1.0 - shape.coordination / shape.coordination.max()
    direction = out / np.where(distance > 0.0, distance, 1.0)[:, None]
    fields = {
        "surface": shape.nn_mean * missing[:, None] * direction,
        "radial": (distance / distance.max())[:, None] ** 2 * out,
    }
    return {name: field for name, field in fields.items() if field.any()}


class _Problem:
    """Least squares of R_w over what a fit refines and the strains; on every r that qmax tells apart."""

    def __init__(
        self, positions: Floats, fields: Mapping[str, Floats], rigid: FitResult, refine: Sequence[str]
    ) -> None:
        self._positions, self._fields, self._rigid = positions, fields, rigid
        # A delta2 that the data do not ask for stays out; the last word on it has the fit of the moved atoms.
        self._refine = [name for name in refine if name != "delta2" or rigid.delta2 > 0.0]
        # Half the Nyquist spacing of qmax keeps the sum of squares.
        stride = max(1, int(0.5 * np.pi / rigid.params.qmax / float(np.median(np.diff(rigid.r)))))
        self._kernel = NodeKernel(rigid.params, rigid.r[::stride])
        self._g_obs = rigid.g_obs[::stride] / np.linalg.norm(rigid.g_obs[::stride])

    def moved(self, strains: Mapping[str, float]) -> Floats:
        """Positions under these strains, Å."""
        return np.asarray(self._positions + sum(strain * self._fields[name] for name, strain in strains.items()))

    def solve(self, names: Sequence[str]) -> tuple[float, dict[str, float]]:
        """R_w and the strains `names` at its minimum."""
        limits = [
            *(BOUNDS[name] for name in self._refine),
            *((-_BEYOND * LIMITS[name], _BEYOND * LIMITS[name]) for name in names),
        ]
        low, high = np.array(limits).T
        start = [*(getattr(self._rigid, name) for name in self._refine), *(0.0 for _ in names)]
        at = _Once(lambda x: self._residual(x, names))
        best = least_squares(
            at.value,
            np.clip(start, low, high),
            at.slope,
            bounds=(low, high),
            x_scale=high - low,
            ftol=_TOLERANCE,
            xtol=0.1 * _TOLERANCE,
            gtol=None,
            max_nfev=_MAX_EVALUATIONS,
        )
        strains = best.x[len(self._refine) :]
        return float(np.linalg.norm(best.fun)), dict(zip(names, map(float, strains), strict=True))

    def _residual(self, x: Floats, names: Sequence[str]) -> tuple[Floats, Floats]:
        """s G − G_obs at the best scale s, (R,), and its derivatives, (R, V), s projected out (Kaufman 1975)."""
        values, strains = np.split(x, [len(self._refine)])
        here = self.moved(dict(zip(names, strains, strict=True)))
        clusters = [here, *(here + _STEP * self._fields[name] for name in names)]
        found = self._kernel.evaluate(
            self._kernel.histogram(clusters),
            [len(here)] * len(clusters),
            **dict(zip(self._refine, values, strict=True)),
            derivatives=self._refine,
        )
        g = found.g[0]
        columns = [*(found.derivatives[name][0] for name in self._refine), *((found.g[1:] - g) / _STEP)]
        slopes = np.stack(columns, axis=1)
        power = float(g @ g)
        scale = max(float(g @ self._g_obs) / power, 0.0)
        return scale * g - self._g_obs, scale * (slopes - np.outer(g, g @ slopes) / power)


class _Once:
    """Value and slope of a function that computes both, for a caller that asks for one after the other."""

    def __init__(self, function: Callable[[Floats], tuple[Floats, Floats]]) -> None:
        self._function = function
        self._x: Floats | None = None

    def value(self, x: Floats) -> Floats:
        """At x (V,); kept for `slope`."""
        if self._x is None or not np.array_equal(x, self._x):
            self._x, self._found = x.copy(), self._function(x)
        return self._found[0]

    def slope(self, x: Floats) -> Floats:
        """At x (V,)."""
        self.value(x)
        return self._found[1]
