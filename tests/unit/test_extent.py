"""What is said of a size that the fitted range does not reach."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest

from hpcpdf.lattice.sphere import CRYSTALS, SphereFit
from hpcpdf.reconstruct.extent import LARGE, extent, out_of_sight, too_large

BOND = 2.88


def sphere(low: float, diameter: float, high: float, *, bulk: bool = False) -> SphereFit:
    none = np.zeros(0)
    return SphereFit("fcc", 0.1, BOND, 0.006, 0.0, 0.02, diameter, (low, high), 5, -100.0, bulk, 0.2, 1.0, none)


def atoms(diameter: float) -> int:
    """Of a sphere of fcc."""
    return round(pi / 6.0 * (diameter / BOND) ** 3 * CRYSTALS["fcc"])


def test_a_particle_as_large_as_the_sphere_is_settled() -> None:
    found = extent(sphere(38.0, 39.0, 40.0), 20.0, atoms(39.0))
    assert not found.open
    assert found.notes == (
        "the fitted range ends at 20 Å, before the particle does: a sphere of 38 to 40 Å (68 %) explains it; "
        "a longer range or a known qdamp says more",
    )


@pytest.mark.parametrize("diameter", [30.0, 47.0])
def test_one_of_another_size_is_not(diameter: float) -> None:
    found = extent(sphere(38.0, 39.0, 40.0), 20.0, atoms(diameter))
    assert found.open
    assert f"where the best is as large as one of {diameter:.0f} Å" in found.notes[0]


def test_a_wide_range_of_spheres_leaves_the_size_open() -> None:
    found = extent(sphere(30.0, 39.0, 60.0), 20.0, atoms(39.0))
    assert found.open
    assert "where the best" not in found.notes[0]


@pytest.mark.parametrize("fitted", [None, sphere(17.0, 18.0, 19.0), sphere(90.0, 200.0, 200.0, bulk=True)])
def test_nothing_is_said_where_the_range_reaches_or_there_is_no_end(fitted: SphereFit | None) -> None:
    assert extent(fitted, 20.0, 500).notes == ()
    assert not extent(fitted, 20.0, 500).open


def test_large_particles_are_one_of_many() -> None:
    found = extent(None, 120.0, LARGE + 1)
    assert found.open
    assert len(found.notes) == 1


def test_far_beyond_the_range_a_short_search_is_enough() -> None:
    assert not out_of_sight(None, 20.0)
    assert not out_of_sight(sphere(35.0, 47.0, 59.0), 20.0)
    assert out_of_sight(sphere(45.0, 46.0, 47.0), 20.0)
    assert not out_of_sight(sphere(45.0, 46.0, 47.0), 40.0)
    assert too_large(sphere(94.0, 95.0, 96.0))
    assert not too_large(sphere(45.0, 46.0, 47.0))
    assert not too_large(None)
    assert out_of_sight(sphere(30.0, 200.0, 200.0, bulk=True), 20.0)
