"""Satellites are a reproducible, even covering of the unit sphere."""

import numpy as np
import pytest

from hpcpdf import ConfigError
from hpcpdf.solver.satellites import satellites

# Published ground-state energies of the Thomson problem.
THOMSON = {
    2: 0.5,
    3: 1.732050808,
    4: 3.674234614,
    5: 6.474691495,
    6: 9.985281374,
    7: 14.452977414,
    8: 19.675287861,
    9: 25.759986531,
    10: 32.716949460,
    11: 40.596450510,
    12: 49.165253058,
}


def energy(points):
    r = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return (1.0 / r[np.triu_indices(len(points), 1)]).sum()


@pytest.mark.parametrize("n", range(65))
def test_points_lie_on_the_sphere_and_apart(n):
    points = satellites(n)
    assert points.shape == (n, 3)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, atol=1e-12)
    if n > 1:
        r = np.linalg.norm(points[:, None] - points[None], axis=-1) + 9 * np.eye(n)
        # The area of n equal caps bounds the spacing from below up to a constant; an even covering is well above it.
        assert r.min() > 2.5 / np.sqrt(n)


@pytest.mark.parametrize(("n", "expected"), THOMSON.items())
def test_energy_is_the_published_minimum(n, expected):
    assert energy(satellites(n)) == pytest.approx(expected, abs=2e-8)


def test_default_is_eleven_and_spans_space():
    points = satellites()
    assert len(points) == 11
    singular = np.linalg.svd(points - points.mean(0), compute_uv=False)
    assert singular[2] > 1.5


def test_frame_is_fixed():
    points = satellites(11)
    np.testing.assert_allclose(points[0], [0.0, 0.0, 1.0], atol=1e-12)
    assert abs(points[1, 1]) < 1e-12
    assert points[1, 0] > 0
    with pytest.raises(ValueError, match="read-only"):
        points[0, 0] = 1.0


@pytest.mark.parametrize("n", [-1, 65])
def test_out_of_range_is_refused(n):
    with pytest.raises(ConfigError, match="expected 0 to 64"):
        satellites(n)
