"""Standard errors of what a mixture says."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from hpcpdf.sample.descriptions import Fitted
from hpcpdf.sample.mixture import Mixture, MixtureProblem
from hpcpdf.sample.motifs import FACETTED

Floats = NDArray[np.float64]

_FORM = {"variance": FACETTED**2, "size": 0.005}
"""Standard errors of ln D's variance and of ln D that come of not knowing the particles' facets."""
_SURFACE = 0.03
"""The same of ln D where the data end before the particle: what they see of its size is surface over volume, ..."""
_FORM_WEIGHT = 0.03
"""... and of the logarithm of a part's weight."""
_SMOOTH = 3.0
"""Å over which the size of what is left is averaged."""


class StandardErrors:
    """Propagates the covariance of a fit's parameters.

    The covariance is that of least squares under noise that is, along r, as large as what the fit leaves, and
    independent at Δr (qmax − qmin)/π points; what facets do that spheres do not is added.

    Attributes
    ----------
    curves : (parts, R)
        G of each part, per atom.
    weights : (parts,)
        Scales that they are fitted with.
    """

    def __init__(self, problem: MixtureProblem, fitted: Fitted) -> None:
        self.mixture, self._names, self._problem = fitted.mixture, fitted.names, problem
        self.curves = problem.curves(self.mixture)
        self.weights = problem.weights(self.curves)
        data = problem.data
        slopes = np.column_stack([problem.slopes(self._names, self.mixture, self.weights), self.curves.T])
        left = data.g - self.weights @ self.curves
        window = max(1, round(_SMOOTH * len(left) / float(data.r[-1] - data.r[0])))
        power = uniform_filter1d(left**2, window, mode="nearest")
        size = np.linalg.norm(slopes, axis=0)
        # Of what the PDF does not depend on, nothing else does.
        size[size < 1e-9 * math.sqrt(problem.norm2)] = np.inf
        slopes /= size
        inverse = np.linalg.pinv(slopes.T @ slopes, rcond=1e-12)
        points = len(left) / max(data.independent - slopes.shape[1], 1.0)
        covariance = points * inverse @ (slopes.T @ (slopes * power[:, None])) @ inverse / np.outer(size, size)
        for k, name in enumerate(self._names):
            kind, _, index = name.partition(".")
            beyond = kind == "size" and self.mixture.parts[int(index)].spread.median > float(data.r[-1])
            covariance[k, k] += (_SURFACE if beyond else _FORM.get(kind, 0.0)) ** 2
        for k, weight in enumerate(self.weights):
            covariance[len(self._names) + k, len(self._names) + k] += (_FORM_WEIGHT * weight) ** 2
        self._covariance, self._sigma = covariance, np.sqrt(np.diag(covariance))

    def of(self, quantity: Callable[[Mixture, Floats], float]) -> tuple[float, float]:
        """A quantity of mixture and weights, and its standard error.

        Its slopes are taken over a standard error to both sides of every parameter, as far as its limits allow.
        """
        slopes = []
        for k, sigma in enumerate(self._sigma):
            (low, below), (high, above) = (self._moved(k, sign * sigma) for sign in (-1.0, 1.0))
            slopes.append((quantity(*above) - quantity(*below)) / max(high - low, 1e-300))
        gradient = np.array(slopes)
        return quantity(self.mixture, self.weights), float(np.sqrt(gradient @ self._covariance @ gradient))

    def _moved(self, k: int, step: float) -> tuple[float, tuple[Mixture, Floats]]:
        """Where a parameter is after a step, and mixture and weights there."""
        if k >= len(self._names):
            weights = self.weights.copy()
            weights[k - len(self._names)] = max(weights[k - len(self._names)] + step, 0.0)
            return float(weights[k - len(self._names)]), (self.mixture, weights)
        x = self.mixture.values(self._names)
        x[k] = np.clip(x[k] + step, *self._problem.limits(self._names[k], self.mixture))
        return float(x[k]), (self.mixture.placed(self._names, x), self.weights)
