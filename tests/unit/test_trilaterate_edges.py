"""What happens at the edges: bad numbers, few atoms, few satellites, missing distances, wrong arguments."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from trilateration import SATELLITES, cloud, direct_cost_gradient, noisy, scipy_joint

import hpcpdf
from hpcpdf.solver.satellites import satellites
from hpcpdf.solver.trilaterate import TrilaterationStatus, instruction_levels

WAYS = [
    {"method": method, "solver": solver, "dtype": dtype}
    for method in ("joint", "sequential")
    for solver in ("batch", "lbfgsb")
    for dtype in ("float32", "float64")
]
JOINT = [way for way in WAYS if way["method"] == "joint"]


def name(way):
    return "-".join(way.values())


def distances(x, p):
    d = np.linalg.norm(x[:, None] - x[None], axis=-1)
    return d, np.linalg.norm(x[:, None] - p[None], axis=-1).reshape(len(x), len(p))


def spread(x):
    """Sorted distances: equal for structures that differ by a motion or a reflection."""
    return np.linalg.norm(x[:, None] - x[None], axis=-1)


@pytest.mark.parametrize("way", WAYS, ids=name)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_numbers_stop_their_problem_only(way, bad):
    rng = np.random.default_rng(0)
    problems = [noisy(n, 0.05, rng) for n in (6, 6, 6, 40, 40, 40)]
    clean = hpcpdf.trilaterate([q[1] for q in problems], [q[2] for q in problems], SATELLITES, **way)
    d, a = [q[1].copy() for q in problems], [q[2].copy() for q in problems]
    d[0][2, 4] = a[2][5, 10] = d[3][39, 0] = a[5][0, 0] = bad
    out = hpcpdf.trilaterate(d, a, SATELLITES, **way)
    for k in range(6):
        if k in (0, 2, 3, 5):
            assert out.status[k] == TrilaterationStatus.INVALID_INPUT
            assert np.isnan(out.positions[k]).all()
            assert np.isnan(out.cost[k])
        else:
            assert out.status[k] == 0
            assert out.positions[k].tobytes() == clean.positions[k].tobytes()


@pytest.mark.parametrize("way", WAYS, ids=name)
def test_no_atom_to_three_atoms(way):
    rng = np.random.default_rng(1)
    x = [cloud(n, rng) for n in (0, 1, 2, 3)]
    pairs = [distances(y, SATELLITES) for y in x]
    out = hpcpdf.trilaterate([d for d, _ in pairs], [a for _, a in pairs], SATELLITES, **way)
    assert (out.status == 0).all()
    for y, found in zip(x, out.positions, strict=True):
        assert found.shape == y.shape
        np.testing.assert_allclose(found, y, atol=1e-5)
    nothing = hpcpdf.trilaterate([], [], SATELLITES, **way)
    assert nothing.positions == []
    assert len(nothing.status) == 0


@pytest.mark.parametrize("way", WAYS, ids=name)
def test_diagonal_is_ignored(way):
    rng = np.random.default_rng(2)
    for n in (5, 50):
        _, d, a = noisy(n, 0.05, rng)
        expected = hpcpdf.trilaterate([d], [a], SATELLITES, **way).positions[0]
        for value in (7.0, np.nan):
            np.fill_diagonal(d, value)
            out = hpcpdf.trilaterate([d], [a], SATELLITES, **way)
            assert out.status[0] == 0
            assert out.positions[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize("way", WAYS, ids=name)
def test_coincident_start_parts(way):
    # Two atoms with the same satellite distances, but a distance between them.
    rng = np.random.default_rng(3)
    for n in (6, 40):
        x = cloud(n, rng, 0.5)
        x[1] = x[0]
        d, a = distances(x, SATELLITES)
        d[0, 1] = d[1, 0] = 0.3
        out = hpcpdf.trilaterate([d, d], [a, a], SATELLITES, **way)
        assert (out.status == 0).all()
        assert np.isfinite(out.positions[0]).all()
        assert np.linalg.norm(out.positions[0][0] - out.positions[0][1]) > 0.02
        assert out.positions[0].tobytes() == out.positions[1].tobytes()


@pytest.mark.parametrize("way", WAYS, ids=name)
def test_true_duplicates_stay_together(way):
    rng = np.random.default_rng(4)
    for n in (6, 40):
        x = cloud(n, rng, 0.5)
        x[1] = x[0]
        d, a = distances(x, SATELLITES)
        out = hpcpdf.trilaterate([d], [a], SATELLITES, **way)
        assert out.status[0] == 0
        np.testing.assert_allclose(out.positions[0], x, atol=2e-5)
    one_point = np.zeros((9, 3))
    d, a = distances(one_point, SATELLITES)
    out = hpcpdf.trilaterate([d], [a], SATELLITES, **way)
    np.testing.assert_allclose(out.positions[0], 0.0, atol=2e-5)


@pytest.mark.parametrize("way", JOINT, ids=name)
@pytest.mark.parametrize("count", [3, 7])
def test_satellites_in_a_plane_leave_two_mirror_images(way, count):
    rng = np.random.default_rng(5)
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    p = np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], axis=1) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    normal = np.linalg.svd(p - p.mean(0))[2][2]
    for n in (1, 2, 12, 60):
        x = cloud(n, rng, 0.6)
        d, a = distances(x, p)
        out = hpcpdf.trilaterate([d], [a], p, **way)
        found = out.positions[0].astype(float)
        mirrored = x - 2 * np.outer((x - p.mean(0)) @ normal, normal)
        assert out.status[0] == TrilaterationStatus.MIRROR_AMBIGUOUS
        assert out.cost[0] < 1e-8
        assert min(np.abs(found - x).max(), np.abs(found - mirrored).max()) < 1e-4


def test_lower_mirror_image_is_kept():
    # The box cuts off one of the two images.
    p = np.array([[0.0, 0.0, 0.7], [0.6, 0.0, 0.7], [0.0, 0.6, 0.7]])
    x = np.array([[0.1, 0.1, 0.0], [0.4, 0.2, -0.2], [0.0, 0.4, -0.3], [-0.3, -0.1, 0.1]])
    d, a = distances(x, p)
    out = hpcpdf.trilaterate([d], [a], p, dtype="float64")
    np.testing.assert_allclose(out.positions[0], x, atol=1e-5)


@pytest.mark.parametrize("way", JOINT, ids=name)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_without_enough_satellites_the_shape_is_found(way, count):
    rng = np.random.default_rng(6)
    p = satellites(11)[:count]
    for n in (1, 2, 3, 4, 13, 60):
        x = cloud(n, rng, 0.5)
        d, a = distances(x, p)
        out = hpcpdf.trilaterate([d], [a], p, **way)
        assert out.status[0] == TrilaterationStatus.FRAME_UNDEFINED
        np.testing.assert_allclose(spread(out.positions[0]), d, atol=1e-4)
        np.testing.assert_allclose(distances(out.positions[0], p)[1], a, atol=1e-4)


@pytest.mark.parametrize("way", WAYS, ids=name)
def test_missing_distances_are_left_out(way):
    rng = np.random.default_rng(7)
    d, a, weights, satellite_weights, x = [], [], [], [], []
    for n in (6, 40, 40):
        x.append(cloud(n, rng))
        pairs, anchors = distances(x[-1], SATELLITES)
        w, v = (rng.random((n, n)) < 0.7).astype(float), (rng.random((n, 11)) < 0.8).astype(float)
        w = np.triu(w, 1) + np.triu(w, 1).T
        v[:, :4] = 1.0
        pairs[w == 0], anchors[v == 0] = np.nan, np.inf
        d.append(pairs), a.append(anchors), weights.append(w), satellite_weights.append(v)
    out = hpcpdf.trilaterate(d, a, SATELLITES, weights=weights, satellite_weights=satellite_weights, **way)
    assert (out.status == 0).all()
    for found, expected in zip(out.positions, x, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_missing_distances_with_noise_give_the_weighted_minimiser():
    rng = np.random.default_rng(8)
    for n in (8, 30, 70):
        _, d, a = noisy(n, 0.05, rng)
        w = (rng.random((n, n)) < 0.6).astype(float)
        w = np.triu(w, 1) + np.triu(w, 1).T
        v = (rng.random((n, 11)) < 0.8).astype(float)
        v[:, :5] = 1.0
        out = hpcpdf.trilaterate([d], [a], SATELLITES, weights=[w], satellite_weights=[v])
        expected, _ = scipy_joint(d, a, SATELLITES, start=out.positions[0].astype(float), w=w, v=v)
        reference, _ = direct_cost_gradient(expected, d, a, SATELLITES, w, v)
        cost, gradient = direct_cost_gradient(out.positions[0].astype(float), d, a, SATELLITES, w, v)
        assert cost <= reference * (1 + 1e-6)
        assert gradient <= 2e-5


def test_atoms_held_by_other_atoms_only():
    # Five atoms see the satellites, the others only atoms.
    rng = np.random.default_rng(9)
    for n in (10, 30):
        x = cloud(n, rng)
        d, a = distances(x, SATELLITES)
        v = np.zeros((n, 11))
        v[:5] = 1.0
        out = hpcpdf.trilaterate([d], [a], SATELLITES, satellite_weights=[v])
        assert out.status[0] == 0
        np.testing.assert_allclose(out.positions[0], x, atol=2e-5)


def test_what_is_not_determined_says_so():
    rng = np.random.default_rng(10)
    n = 12
    x = cloud(n, rng)
    d, a = distances(x, SATELLITES)
    full_w, full_v = np.ones((n, n)), np.ones((n, 11))

    def status(w, v, p=SATELLITES, anchors=a):
        w = np.minimum(w, w.T)
        return TrilaterationStatus(hpcpdf.trilaterate([d], [anchors], p, weights=[w], satellite_weights=[v]).status[0])

    # An atom without any distance; with one; with two.
    for links in range(3):
        w, v = full_w.copy(), full_v.copy()
        w[0, 1 + links :], v[0] = 0.0, 0.0
        assert status(w, v) == TrilaterationStatus.UNDETERMINED
    # Three distances leave a mirror image, four do not.
    w, v = full_w.copy(), full_v.copy()
    w[0, 4:], v[0] = 0.0, 0.0
    assert status(w, v) == TrilaterationStatus.MIRROR_AMBIGUOUS
    w[0, 4] = w[4, 0] = 1.0
    assert status(w, v) == TrilaterationStatus.CONVERGED
    # Many distances, but all to satellites on one line: the atom can turn about it.
    line = np.concatenate([SATELLITES, [[0.2 * k, 0.0, 0.0] for k in range(5)]])
    to_line = distances(x, line)[1]
    w, v = full_w.copy(), np.ones((n, 16))
    w[0], v[0, :11] = 0.0, 0.0
    assert status(w, v, line, to_line) == TrilaterationStatus.UNDETERMINED
    # Two rigid halves that share two atoms turn about the line through them: more than enough distances, as counted.
    w = np.zeros((n, n))
    w[:7, :7] = w[5:, 5:] = 1.0
    v = np.zeros((n, 11))
    v[:3] = 1.0
    assert status(w, v) == TrilaterationStatus.UNDETERMINED
    # The double banana: 3 n - 6 distances, generically stressed and hinged.
    banana = np.zeros((n, n))
    for block in ((0, 1, 2, 3, 4), (0, 1, 5, 6, 7)):
        banana[np.ix_(block, block)] = 1.0
    banana[0, 1] = banana[1, 0] = 0.0
    keep = np.ix_(range(8), range(8))
    out = hpcpdf.trilaterate([d[keep]], [np.zeros((8, 0))], np.zeros((0, 3)), weights=[banana[keep]])
    assert out.status[0] == TrilaterationStatus.UNDETERMINED
    # The rest of a batch goes on.
    w = full_w.copy()
    w[0] = 0.0
    v = full_v.copy()
    v[0] = 0.0
    out = hpcpdf.trilaterate(
        [d, d, d],
        [a, a, a],
        SATELLITES,
        weights=[full_w, np.minimum(w, w.T), full_w],
        satellite_weights=[full_v, v, full_v],
    )
    assert out.status.tolist() == [0, TrilaterationStatus.UNDETERMINED, 0]
    np.testing.assert_allclose(out.positions[2], x, atol=2e-5)
    assert np.isfinite(out.positions[1]).all()


@pytest.mark.parametrize("way", WAYS, ids=name)
def test_asymmetric_distances_are_averaged(way):
    rng = np.random.default_rng(11)
    for n in (9, 45):
        _, d, a = noisy(n, 0.05, rng)
        skew = rng.normal(scale=0.1, size=(n, n))
        out = hpcpdf.trilaterate([d + skew - skew.T], [a], SATELLITES, **way)
        expected = hpcpdf.trilaterate([d], [a], SATELLITES, **way)
        np.testing.assert_allclose(out.positions[0], expected.positions[0], atol=1e-5)


@pytest.mark.parametrize("way", WAYS, ids=name)
def test_outliers_end(way):
    rng = np.random.default_rng(12)
    d, a = [], []
    for n in (8, 50):
        for where in range(3):
            _, pairs, anchors = noisy(n, 0.05, rng)
            if where != 1:
                pairs[1, 2] = pairs[2, 1] = 1e6
            if where != 0:
                anchors[3, 4] = 1e6
            d.append(pairs), a.append(anchors)
    out = hpcpdf.trilaterate(d, a, SATELLITES, **way)
    for k, x in enumerate(out.positions):
        assert np.isfinite(x).all()
        assert np.abs(x).max() <= 1.0
        assert out.n_eval[k] <= 2000 * len(x)
        assert out.status[k] in (0, TrilaterationStatus.STALLED, TrilaterationStatus.EVALUATION_LIMIT)


@pytest.mark.parametrize("way", JOINT, ids=name)
def test_active_bounds(way):
    # Too long distances push atoms to the walls; the minimiser has multipliers of the right sign there.
    rng = np.random.default_rng(13)
    for n in (5, 24, 70):
        _, d, a = noisy(n, 0.1, rng, scale=1.0)
        d, a = 1.3 * d, 1.2 * a
        out = hpcpdf.trilaterate([d], [a], SATELLITES, **way)
        x = out.positions[0].astype(float)
        assert out.status[0] == 0
        assert (np.abs(x) == 1.0).any()
        cost, gradient = direct_cost_gradient(x, d, a, SATELLITES)
        assert gradient <= 2e-5
        tight, _ = scipy_joint(d, a, SATELLITES, start=x)
        reference, _ = direct_cost_gradient(tight, d, a, SATELLITES)
        assert cost <= reference * (1 + 1e-6)
        np.testing.assert_allclose(x, tight, atol=2e-5)


def test_wrong_shapes_are_named():
    rng = np.random.default_rng(14)
    _, d, a = noisy(6, 0.05, rng)
    good = {"distances": [d, d], "satellite_distances": [a, a], "satellites": SATELLITES}
    blocks = {"distances": np.stack([d, d]), "satellite_distances": np.stack([a, a])}
    wrong = [
        ({"distances": [d, d[:, :5]]}, r"distances\[1\] has shape \(6, 5\), expected \(6, 6\)"),
        ({"distances": [d, d[0]]}, r"distances\[1\] has shape \(6,\)"),
        ({"satellite_distances": [a]}, "satellite_distances holds 1 problems, expected 2"),
        ({"satellite_distances": [a, a[:5]]}, r"satellite_distances\[1\] has shape \(5, 11\), expected \(6, 11\)"),
        ({"satellite_distances": [a, a[:, :7]]}, r"expected \(6, 11\)"),
        ({"satellites": SATELLITES[:, :2]}, r"satellites have shape \(11, 2\), expected \(S, 3\)"),
        ({"satellites": SATELLITES[0]}, "satellites have shape"),
        ({"weights": [np.ones((6, 6))]}, "weights holds 1 problems"),
        ({"weights": [np.ones((6, 6)), np.ones((6, 5))]}, r"weights\[1\] has shape"),
        ({"satellite_weights": [np.ones((6, 11)), np.ones((6, 1))]}, r"satellite_weights\[1\] has shape"),
        ({"distances": [d, d.astype(complex)]}, r"distances\[1\] is not an array of real numbers"),
        ({"distances": [d, np.full((6, 6), "x")]}, r"distances\[1\] is not an array of real numbers"),
        ({"counts": [6, 6]}, "counts go with distances of shape"),
        (
            {"distances": np.stack([d, d]), "satellite_distances": np.stack([a, a]), "counts": [6, 7]},
            "counts must hold",
        ),
        ({**blocks, "counts": [6]}, "counts must hold"),
        ({**blocks, "distances": np.stack([d, d])[:, :, :5]}, "expected"),
        ({"satellite_distances": np.stack([a, a])[:, :4]}, "expected"),
    ]
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            hpcpdf.trilaterate(**{**good, **change})
    with pytest.raises(TypeError):
        hpcpdf.trilaterate(3.0, [a], SATELLITES)


def test_unknown_options_are_named(monkeypatch):
    rng = np.random.default_rng(15)
    _, d, a = noisy(4, 0.05, rng)
    for option in ({"method": "both"}, {"solver": "scipy"}, {"dtype": "float16"}, {"dtype": "int64"}, {"n_threads": 0}):
        with pytest.raises(hpcpdf.SolverError, match=next(iter(option))):
            hpcpdf.trilaterate([d], [a], SATELLITES, **option)
    monkeypatch.setenv("HPCPDF_INSTRUCTIONS", "mmx")
    with pytest.raises(hpcpdf.SolverError, match="HPCPDF_INSTRUCTIONS is 'mmx', expected one of scalar, baseline"):
        hpcpdf.trilaterate([d], [a], SATELLITES)
    assert instruction_levels()[:2] == ["scalar", "baseline"]


def test_negative_weights_are_refused():
    rng = np.random.default_rng(16)
    for n in (5, 40):
        _, d, a = noisy(n, 0.05, rng)
        w, v = np.ones((n, n)), np.ones((n, 11))
        w[0, 1] = w[1, 0] = -1.0
        assert hpcpdf.trilaterate([d], [a], SATELLITES, weights=[w]).status[0] == TrilaterationStatus.INVALID_INPUT
        v[2, 3] = -1.0
        out = hpcpdf.trilaterate([d], [a], SATELLITES, satellite_weights=[v])
        assert out.status[0] == TrilaterationStatus.INVALID_INPUT


def test_interrupt_ends_a_long_batch():
    rng = np.random.default_rng(17)
    _, d, a = noisy(90, 0.1, rng)
    count = 40_000
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        hpcpdf.trilaterate([d] * count, [a] * count, SATELLITES, method="sequential", n_threads=2)
    timer.join()


def test_callers_in_several_threads():
    rng = np.random.default_rng(19)
    batches = [[noisy(int(n), 0.05, rng)[1:] for n in rng.integers(5, 30, 100)] for _ in range(4)]

    def solve(batch):
        return hpcpdf.trilaterate([p[0] for p in batch], [p[1] for p in batch], SATELLITES, n_threads=2)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(solve, 5 * batches))
    alone = [solve(batch) for batch in batches]
    for k, found in enumerate(together):
        assert all(map(np.array_equal, found.positions, alone[k % 4].positions))
