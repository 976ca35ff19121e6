"""How far a PDF holds a signal, told from the data alone.

Peaks of a PDF hold waves of middling Q: below, a cut at Qmin leaves a slow ripple without end, and near Qmax thermal
motion leaves little but noise. So G is filtered twice, each by a smooth window that is 0 at Qmin and Qmax,

    W(Q) = sin⁴(π t) exp(−U Q²),  t = (Q − Qmin) / (Qmax − Qmin),        V(Q) = sin⁴(π (4 t − 3)), t ≥ 3/4,

and the power of both is averaged over stretches of 2 Å. What lies under V tells how the noise runs over r,
log V² = const − b r², for in some data it is damped as the signal is, in others it is not. Under W the last stretches
are noise, P = a exp(−b r²) = μ, and all before hold signal: where one begins costs least in

    Σ_noise 2κ (P/μ − 1 − ln(P/μ)) + c n_signal,

the deviance of powers whose fluctuation is known (2κ independent values each) and a charge c for every stretch that is
excepted. What is strong beside V, as if noise were far from white, is signal that the data cut off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpcpdf.errors import ConfigError
from hpcpdf.pdf.gr import MeasuredPdf

Floats = NDArray[np.float64]

Range = tuple[float, float | Literal["auto"]]
"""Ends of the r range of a fit, Å, both included; ``"auto"``: as far as `auto_rmax` says."""

MARGIN = 1.15, 3.0
"""A fit reaches beyond the signal by this factor and so many Å: that there are no longer distances tells the size."""
LEAST = 10.0
"""Å; no fit ends before, as far as there are data."""

_BLOCK = 2.0
"""Å over which powers are averaged."""
_EDGE = 3.0
"""Å before the end of the data, where the filters see that end: not looked at."""
_U = 0.005
"""Å²; of metals at room temperature."""
_CHARGE = 5.0
"""What a stretch of signal must save; one of noise saves 1 on average, and more than 5 once in forty times."""
_WHITE = 3.0
"""Noise under W, in what white noise has there by V, from which on it is none."""
_STEEPEST = 0.08**2
"""Largest b, 1/Å²: of the largest Qdamp."""
_SMALLEST = 1e-5
"""Amplitude, in that of the strongest peaks, below which numbers of a file are rounded."""
_QMAX, _QMIN = 20.0, 0.5
"""1/Å; where the file does not say."""


def signal_end(pdf: MeasuredPdf) -> float:
    """Where the signal of a PDF sinks into its noise.

    Parameters
    ----------
    pdf
        As from `read_gr`. Its qmin and qmax are used where it has them.

    Returns
    -------
    float
        Å; the end of the data where they end before the signal does.
    """
    powers = _powers(pdf)
    n = len(powers.r)
    costs = np.full(n + 1, np.inf)
    # No tail: everything is signal.
    costs[n] = _CHARGE * n
    for first in range(n - 1):
        tail = slice(first, None)
        shape = np.exp(-_steepness(powers.r[tail], powers.upper[tail]) * powers.r[tail] ** 2)
        noise = float(np.mean(powers.middle[tail] / shape)) * shape
        as_white = powers.white * float(np.mean(powers.upper[tail] / shape)) * shape
        if np.any(noise > _WHITE * as_white + powers.floor):
            continue
        share = powers.middle[tail] / noise
        # One number, the level of the noise, is fitted and costs as a stretch does.
        costs[first] = powers.values * float(np.sum(share - 1.0 - np.log(share))) + _CHARGE * (first + 1)
    first = int(np.argmin(costs))
    return float(pdf.r[-1]) if first == n else float(min(powers.r[first] - 0.5 * _BLOCK, pdf.r[-1]))


def auto_rmax(pdf: MeasuredPdf) -> float:
    """Upper end of the range that a fit of this PDF is worth, Å.

    15 % and 3 Å beyond `signal_end`, at least 10 Å, never beyond the data.
    """
    factor, more = MARGIN
    end = max(LEAST, math.ceil(10.0 * (factor * signal_end(pdf) + more)) / 10.0)
    return min(end, float(pdf.r[-1]))


def chosen_range(pdf: MeasuredPdf, r_range: Range) -> tuple[float, float]:
    """The range in numbers, Å.

    Raises
    ------
    ConfigError
        If the ends are not 0 <= low < high, or the upper one is a word other than ``"auto"``.
    """
    low, high = float(r_range[0]), r_range[1]
    if isinstance(high, str):
        if high != "auto":
            raise ConfigError(f"r_range = ({low:g}, {high!r}): expected a number of Å or 'auto' as the upper end")
        high = auto_rmax(pdf)
    if not 0.0 <= low < float(high):
        raise ConfigError(f"r_range = ({low:g}, {high:g}): expected 0 <= low < high")
    return low, float(high)


@dataclass(frozen=True)
class _Powers:
    """Mean squares of G under W and V.

    Attributes
    ----------
    r, middle, upper : (n,)
        Centres of the stretches, Å; powers under W and under V.
    values : float
        Independent values of a stretch under W, 2κ.
    white : float
        Ratio of the two powers in white noise.
    floor : float
        Power of what is rounded; it is part of `middle`.
    """

    r: Floats
    middle: Floats
    upper: Floats
    values: float
    white: float
    floor: float


def _powers(pdf: MeasuredPdf) -> _Powers:
    step = pdf.rstep
    r = np.asarray(np.arange(int(pdf.r[-1] / step + 1e-6) + 1) * step, dtype=np.float64)
    g = pdf.on_grid(r)[0]
    # Beyond the Nyquist frequency of the points there is nothing.
    high = min(pdf.qmax or _QMAX, math.pi / step)
    low = min(_QMIN if pdf.qmin is None else pdf.qmin, 0.25 * high)
    # As G(−r) = −G(r), nothing is cut off at 0; zeros behind the data keep their ends apart.
    rest = np.zeros(len(g))
    odd = np.concatenate([g, rest, rest, -g[:0:-1]])
    q = 2.0 * np.pi * np.fft.rfftfreq(len(odd), step)
    t = np.clip((q - low) / (high - low), 0.0, 1.0)
    windows = (
        np.sin(np.pi * t) ** 4 * np.exp(-_U * q**2),
        np.where(t > 0.75, np.sin(np.pi * (4.0 * t - 3.0)) ** 4, 0.0),
    )
    wave = np.fft.rfft(odd)
    size = max(1, round(_BLOCK / step))
    end = len(g) - round(_EDGE / step)
    count = max(0, end // size)

    def stretches(values: Floats) -> Floats:
        """Means over stretches, which are counted from the end, where noise is looked for."""
        return np.asarray(values[end - count * size : end].reshape(count, size).mean(axis=1), dtype=np.float64)

    filtered = [np.asarray(np.fft.irfft(wave * window, len(odd)), dtype=np.float64) for window in windows]
    middle, upper = (stretches(values[: len(g)] ** 2) for values in filtered)
    spectra = [window**2 for window in windows]
    floor = _SMALLEST**2 * float(middle.max(initial=0.0)) + 1e-300
    return _Powers(
        r=stretches(r),
        middle=middle + floor,
        upper=upper + floor,
        values=size * step * float(q[1]) * float(spectra[0].sum()) ** 2 / (math.pi * float(spectra[0] @ spectra[0])),
        white=float(spectra[0].sum() / spectra[1].sum()),
        floor=floor,
    )


def _steepness(r: Floats, power: Floats) -> float:
    """b of power ∝ exp(−b r²), by least squares of its logarithm; within limits, for few stretches tell little."""
    x, y = r**2 - np.mean(r**2), np.log(power)
    return float(np.clip(-(x @ y) / max(float(x @ x), 1e-300), 0.0, _STEEPEST))
