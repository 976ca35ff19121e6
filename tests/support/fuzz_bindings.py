"""Calls of the compiled functions with arrays of any shape, order, byte order and type, until the time is over.

    python tests/support/fuzz_bindings.py --seconds 300

A call must either be refused by a ValueError, TypeError or error of the package, or give what contiguous float64 copies
of its arrays give, to the bit; it must leave its arrays as they were. A case is made from its number alone.
"""

import argparse
import multiprocessing
import sys
import time
import warnings

import numpy as np

from hpcpdf import HpcPdfError, PdfParams, _core, simulate_pdf, trilaterate

REFUSED = (ValueError, TypeError, HpcPdfError)
TYPES = ["f8", "f4", ">f8", "<f4", ">f4", "f2", "i4", "i8", "u1", "?", "g", "c16", "O", "U3", "M8[s]"]
PARAMS = PdfParams(rmax=6.0, qmax=12.0, qmin=0.5)


def laid_out(rng, array):
    """The same values in another place: reversed, transposed, strided, unaligned, read-only or as a broadcast."""
    how = rng.integers(8)
    if how == 0:
        array = array[tuple(slice(None, None, -1) for _ in array.shape)]
    elif how == 1:
        array = np.asfortranarray(array)
    elif how == 2:
        wide = np.zeros(tuple(2 * n for n in array.shape), array.dtype)
        array, inner = wide[tuple(slice(None, None, 2) for _ in array.shape)], array
        array[...] = inner
    elif how == 3 and array.dtype.kind in "fiu":
        raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype) if array.size else array.reshape(-1)
        raw = raw.reshape(array.shape)
        raw[...] = array
        array = raw
    elif how == 4 and array.ndim and array.shape[0]:
        array = np.broadcast_to(array[:1], array.shape)
    elif how == 5:
        array = array.copy()
        array.flags.writeable = False
    elif how == 6 and array.ndim > 1:
        array = np.swapaxes(np.swapaxes(array, 0, 1).copy(), 0, 1)
    return array


def retyped(rng, array):
    """Usually a real type, now and then one that must be refused."""
    kind = "f8" if rng.random() < 0.5 else TYPES[rng.integers(len(TYPES))]
    with np.errstate(all="ignore"):
        try:
            return array.astype(kind)
        except (ValueError, TypeError):
            return array


def reshaped(rng, array):
    """Now and then a shape that does not fit."""
    how = rng.integers(24)
    if how == 0 and array.ndim and array.shape[0]:
        return array[:-1]
    if how == 1:
        return array[..., None]
    if how == 2:
        return array.reshape(-1)
    if how == 3:
        return array[..., :0]
    if how == 4:
        return np.concatenate([array, array], axis=-1) if array.ndim else array
    return array


def spoiled(rng, array):
    """Now and then NaN, infinite or huge values."""
    if array.size and rng.random() < 0.1:
        array = array.copy()
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e300, -1.0, 0.0])
    return array


def changed(rng, array):
    return laid_out(rng, retyped(rng, reshaped(rng, spoiled(rng, np.asarray(array, dtype=np.float64)))))


def plain(value):
    """Contiguous copies in native float64 of whatever holds numbers."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return np.ascontiguousarray(value, dtype=np.float64)
    return value


def case_trilaterate(rng):
    n_satellites, count = int(rng.integers(0, 12)), int(rng.integers(0, 5))
    satellites = rng.normal(size=(n_satellites, 3))
    satellites /= np.maximum(np.linalg.norm(satellites, axis=1, keepdims=True), 1e-9)
    sizes = rng.integers(0, 14, size=count)
    points = [rng.uniform(-0.6, 0.6, size=(n, 3)) for n in sizes]

    def matrices(others):
        return [np.linalg.norm(x[:, None] - y[None], axis=2) for x, y in zip(points, others, strict=True)]

    between, outward = matrices(points), matrices([satellites] * count)
    options = {
        "method": str(rng.choice(["joint", "sequential"])),
        "solver": str(rng.choice(["batch", "lbfgsb"])),
        "dtype": str(rng.choice(["float32", "float64"])),
        "n_threads": int(rng.integers(1, 4)),
    }
    if rng.random() < 0.3:
        n = int(rng.integers(0, 14))
        block = np.zeros((count, n, n)), np.zeros((count, n, n_satellites))
        for k in range(count):
            m = min(n, sizes[k])
            block[0][k, :m, :m], block[1][k, :m] = between[k][:m, :m], outward[k][:m]
        arrays = {"distances": changed(rng, block[0]), "satellite_distances": changed(rng, block[1])}
        if rng.random() < 0.7:
            options["counts"] = laid_out(rng, rng.integers(-1 if rng.random() < 0.1 else 0, n + 1, size=count))
    else:
        arrays = {
            "distances": [changed(rng, matrix) for matrix in between],
            "satellite_distances": [changed(rng, matrix) for matrix in outward],
        }
        if rng.random() < 0.3:
            arrays["weights"] = [changed(rng, rng.uniform(0.0, 2.0, matrix.shape).round()) for matrix in between]
        if rng.random() < 0.3:
            arrays["satellite_weights"] = [changed(rng, rng.uniform(0.0, 2.0, matrix.shape)) for matrix in outward]
    arrays["satellites"] = changed(rng, satellites) if rng.random() < 0.2 else satellites

    def call(given):
        found = trilaterate(**given, **options)
        return [*found.positions, found.cost, found.projected_gradient, found.n_eval, found.status]

    return call, arrays


def atoms(rng):
    return rng.uniform(-3.0, 3.0, size=(int(rng.integers(0, 20)), 3))


def case_simulate(rng):
    transform = str(rng.choice(["exact", "diffpy"]))
    arrays = {"structures": [changed(rng, atoms(rng)) for _ in range(rng.integers(0, 4))]}
    return lambda given: [simulate_pdf(given["structures"], PARAMS, transform=transform, n_threads=2)[1]], arrays


def offsets(rng, n):
    """Bounds of clusters in n atoms, now and then wrong ones, in any layout."""
    return laid_out(rng, bounds(rng, n))


def bounds(rng, n):
    cuts = np.sort(rng.integers(0, n + 1, size=int(rng.integers(0, 4))))
    found = np.array([0, *cuts, n], dtype=np.uintp)
    return found if rng.random() < 0.8 else rng.integers(0, n + 3, size=len(found)).astype(np.uintp)


def case_nodes(rng):
    x = atoms(rng)
    bounds, n_nodes = offsets(rng, len(x)), int(rng.integers(0, 60))
    rest = {"step": 0.125, "d_min": 0.0, "d_max": float(rng.uniform(0.0, 12.0)), "n_threads": 2}
    if rng.random() < 0.5:
        arrays = {"positions": changed(rng, x)}
        return lambda given: [_core.spread(**given, offsets=bounds, n_nodes=n_nodes, **rest)], arrays
    arrays = {"positions": changed(rng, x), "field": changed(rng, rng.normal(size=(len(bounds) - 1, n_nodes)))}
    return lambda given: list(_core.gather(**given, offsets=bounds, **rest)), arrays


def add_species(rng, arrays, n, n_q):
    """Species of n atoms, sometimes one that does not exist, and their factors; or neither."""
    if rng.random() < 0.5:
        return None
    arrays["factors"] = changed(rng, rng.uniform(1.0, 80.0, size=(3, n_q)))
    return laid_out(rng, rng.integers(-1 if rng.random() < 0.2 else 0, 3, size=n).astype(np.intc))


def case_debye(rng):
    """A batch, or one atom of a structure with the others."""
    x, n_q = atoms(rng), int(rng.integers(0, 40))
    arrays = {"positions": changed(rng, x), "u": changed(rng, rng.uniform(0.0, 0.02, size=len(x)))}
    rest = {"species": add_species(rng, arrays, len(x), n_q), "qstep": 0.1, "n_q": n_q, "d_min": 0.0, "d_max": 10.0}
    rest |= {"delta1": 0.0, "delta2": 1.0, "qbroad": 0.01, "precision": 1e-6}
    if rng.random() < 0.5:
        rest |= {"atom": int(rng.integers(0, 20))}
        return lambda given: [_core.debye_atom(**({"factors": None} | given), **rest)], arrays
    rest |= {"offsets": offsets(rng, len(x)), "n_threads": 2}
    return lambda given: [_core.debye_f(**({"factors": None} | given), **rest)], arrays


def case_plan(rng):
    x = atoms(rng)
    bounds, n_q, count = offsets(rng, len(x)), int(rng.integers(0, 40)), int(rng.integers(0, 50))
    arrays = {"positions": changed(rng, x), "envelope": changed(rng, rng.uniform(0.0, 1.0, size=count))}
    species = add_species(rng, arrays, len(x), n_q)
    rest = {"qstep": 0.1, "n_q": n_q, "k_first": int(rng.integers(0, 60)), "d_min": 0.0, "d_max": 10.0, "u": 0.004}
    rest |= {"delta1": 0.0, "delta2": float(rng.choice([0.0, 1.0])), "qbroad": 0.01, "count": count}
    rest |= {"length": float(rng.uniform(0.0, 12.0)), "rstep": float(rng.choice([0.01, 0.5])), "first": 3}
    back = bool(rng.random() < 0.5)
    if back:
        arrays["values"] = changed(rng, rng.normal(size=(len(bounds) - 1, count)))

    def call(given):
        given = {"factors": None, "species": species, "offsets": bounds, "n_threads": 2, **given}
        plan = _core.PdfPlan(adjoint=back, **rest)
        if back:
            return list(plan.gradient(scale=1.0, misfit=False, **given).values())
        return list(plan.simulate(**given))

    return call, arrays


def case_sine(rng):
    arrays = {
        "f": changed(rng, rng.normal(size=(int(rng.integers(0, 4)), int(rng.integers(0, 40))))),
        "r": changed(rng, rng.uniform(0.0, 20.0, size=int(rng.integers(0, 30)))),
    }
    first = int(rng.integers(0, 60))
    return lambda given: [_core.sine_transform(**given, qstep=0.1, k_first=first, n_threads=2)], arrays


def case_waves(rng):
    n = int(rng.integers(0, 30))
    arrays = {
        "distance": changed(rng, rng.uniform(0.5, 9.0, size=n)),
        "a": changed(rng, rng.uniform(0.0, 1e-3, size=n)),
    }
    n_q = int(rng.integers(0, 500))
    return lambda given: list(_core.wave_tables(**given, qstep=0.1, n_q=n_q, n_threads=2)), arrays


def case_lbfgsb(rng):
    n = int(rng.integers(0, 9))
    lower = rng.normal(size=n)
    arrays = {
        "x0": changed(rng, rng.normal(size=n)),
        "lower": changed(rng, lower),
        "upper": changed(rng, lower + rng.uniform(-0.01, 2.0, size=n)),
    }
    target, layout = rng.normal(size=n), int(rng.integers(1 << 30))

    def call(given):
        solver = _core.Lbfgsb(n, memory=3, ftol=1e-9, gtol=1e-6, max_line_search=20)
        task = solver.start(given["x0"], given["lower"], given["upper"])
        for _ in range(50):
            if task is _core.LbfgsbTask.evaluate:
                slope = laid_out(np.random.default_rng(layout), 2.0 * (solver.x - target))
                task = solver.advance(float(np.sum((solver.x - target) ** 2)), slope)
            elif task is _core.LbfgsbTask.new_iterate:
                task = solver.proceed()
            else:
                break
        return [solver.x, np.array(solver.f), solver.gradient, *solver.pairs]

    return call, arrays


CASES = [
    *[case_trilaterate, case_trilaterate, case_simulate],
    *[case_nodes, case_debye, case_plan, case_sine, case_waves, case_lbfgsb],
]


def attempt(call, arrays):
    try:
        with np.errstate(all="ignore"):
            return call(arrays), None
    except REFUSED as error:
        return None, error


def run(number):
    """One case; True if it was refused."""
    rng = np.random.default_rng(number)
    make = CASES[rng.integers(len(CASES))]
    call, arrays = make(rng)
    before = [array.tobytes() for value in arrays.values() for array in (value if isinstance(value, list) else [value])]
    found, refused = attempt(call, arrays)
    after = [array.tobytes() for value in arrays.values() for array in (value if isinstance(value, list) else [value])]
    assert before == after, f"case {number}: {make.__name__} changed its input"
    wanted, refused_plain = attempt(call, {name: plain(value) for name, value in arrays.items()})
    assert (refused is None) == (refused_plain is None), f"case {number}: {make.__name__}: {refused} / {refused_plain}"
    if refused is None:
        for one, other in zip(found, wanted, strict=True):
            same = np.array_equal(one, other, equal_nan=True)
            assert same, f"case {number}: {make.__name__} depends on the layout of its input"
    return refused is not None


def work(first, seconds, number, refused):
    warnings.simplefilter("ignore")
    end = time.monotonic() + seconds
    number.value = first
    while time.monotonic() < end:
        refused.value += run(number.value)
        number.value += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    # In a process of its own, so that a crash leaves the number of its case behind.
    fresh = multiprocessing.get_context("spawn")
    number, refused = fresh.Value("q", asked.first), fresh.Value("q", 0)
    child = fresh.Process(target=work, args=(asked.first, asked.seconds, number, refused))
    child.start()
    child.join()
    if child.exitcode:
        return f"case {number.value} ended with {child.exitcode}; --first {number.value} repeats it"
    print(f"{number.value - asked.first} cases, {refused.value} of them refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
