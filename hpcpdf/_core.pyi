import numpy as np
from numpy.typing import NDArray

def debye_f(
    positions: NDArray[np.float64],
    offsets: NDArray[np.uintp],
    u: NDArray[np.float64],
    species: NDArray[np.intc] | None,
    factors: NDArray[np.float64] | None,
    qstep: float,
    n_q: int,
    d_min: float,
    d_max: float,
    delta1: float,
    delta2: float,
    qbroad: float,
    precision: float,
    n_threads: int,
) -> NDArray[np.float64]: ...
def sine_transform(
    f: NDArray[np.float64], qstep: float, k_first: int, r: NDArray[np.float64], n_threads: int
) -> NDArray[np.float64]: ...
