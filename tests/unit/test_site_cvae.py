"""The site network learns, and what it draws are connected pieces of the templates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from small_model import clusters, fit, new_model, pdf_batch, tensors, trained, with_draws

from hpcpdf.clusters.template import template
from hpcpdf.config import FAMILIES
from hpcpdf.model.base import gaussian_kl
from hpcpdf.model.features import nearest_neighbour, normalised
from hpcpdf.model.site_cvae import _apportion, _largest_piece
from hpcpdf.solver.satellites import satellites


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch():
    return pdf_batch(clusters(1, seed=5))


def test_divergence_against_torch():
    torch.manual_seed(0)
    mean, spread, prior_mean, prior_spread = torch.randn(4, 3, 5)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, spread.exp()), torch.distributions.Normal(prior_mean, prior_spread.exp())
    ).sum()
    assert float(gaussian_kl(mean, spread, prior_mean, prior_spread)) == pytest.approx(float(expected), rel=1e-5)
    assert float(gaussian_kl(mean, spread, mean, spread)) == pytest.approx(0.0, abs=1e-5)


def test_loss_falls():
    losses = fit(new_model(), clusters(14), 25)
    assert losses[-1] < 0.3 * losses[0]


def test_loss_is_a_mean_over_the_batch():
    """Without noise in the latent vector, twice the same samples cost the same."""
    model = new_model().eval()
    data = tensors(model, clusters(7))
    double = {name: torch.cat([value, value]) for name, value in data.items()}
    with torch.no_grad():
        once, twice = (model.loss(with_draws(model, item), 0.5)[1] for item in (data, double))
    for part in ("kl", "family"):
        assert float(once[part]) == pytest.approx(float(twice[part]), rel=1e-4)


def test_every_parameter_learns():
    model = new_model()
    loss, _ = model(with_draws(model, tensors(model, clusters(len(FAMILIES)))), 1.0)
    loss.backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle


def test_noise_touches_the_curve_and_nothing_else():
    model = new_model()
    data = tensors(model, clusters(7))
    noisy = model.augment(with_draws(model, data), 0.1)
    assert noisy["sites"] is data["sites"]
    change = (noisy["x"] - data["x"]).abs()
    assert not change[:, -2:].any()
    assert 0.0 < float(change[:, :256].max()) < 1.0


def test_samples_are_decided_by_the_seed(batch):
    one, again, other = (trained().sample(batch, 40, generator(seed)) for seed in (3, 3, 4))
    assert len(one.index) == 40
    np.testing.assert_array_equal(one.index, again.index)
    for a, b in zip(one.structures, again.structures, strict=True):
        np.testing.assert_array_equal(a.distances, b.distances)
    keys = [{item.satellite_distances.tobytes() for item in drawn.structures} for drawn in (one, other)]
    assert keys[0] != keys[1]


def test_samples_vary_and_without_spread_they_do_not(batch):
    drawn = trained().sample(batch, 60, generator(0))
    families = {item.family for item in drawn.structures}
    assert len(drawn.structures) > len(families)
    still = trained().sample(batch, 60, generator(0), spread=0.0)
    assert len(still.structures) == len({item.family for item in still.structures})
    assert sorted(set(still.index.tolist())) == list(range(len(still.structures)))


def test_samples_differ_from_each_other(batch):
    drawn = trained().sample(batch, 60, generator(1))
    keys = {(item.family, item.satellite_distances.tobytes()) for item in drawn.structures}
    assert len(keys) == len(drawn.structures)


def test_samples_are_connected_clusters_on_sites(batch):
    drawn = trained().sample(batch, 60, generator(2))
    nn = float(nearest_neighbour(normalised(batch.pdf), batch.expected_nn)[0])
    around = satellites(11)
    for item in drawn.structures:
        assert item.nn == pytest.approx(nn, rel=1e-6)
        units = item.distances * item.length / nn
        bonded = units < 1.3
        reached = np.zeros(item.n_atoms, dtype=bool)
        reached[0] = True
        for _ in range(item.n_atoms):
            reached = reached | bonded[reached].any(axis=0)
        assert reached.all()
        # Multilateration by linear algebra: the coordinates that satellite distances alone imply.
        squared = item.satellite_distances.astype(float) ** 2
        unit = np.linalg.lstsq(2.0 * (around[0] - around[1:]), (squared[:, 1:] - squared[:, :1]).T, rcond=None)[0].T
        between = np.linalg.norm(unit[:, None] - unit[None], axis=-1)
        np.testing.assert_allclose(between, item.distances, atol=1e-5)
        gap, _ = cKDTree(template(item.family).sites).query(unit * item.length / nn)
        assert gap.max() < 1e-4


def test_structures_beyond_the_training_data_fit_their_sphere(batch):
    """Coordinates are assembled within a box of the sphere's size: a larger cluster must get a larger sphere."""
    model = new_model()
    model.length = 3.0
    drawn = model.sample(batch, 10, generator(0))
    largest = max(float(item.distances.max() * item.length) for item in drawn.structures)
    assert largest > 2 * model.length
    for item in drawn.structures:
        inside = np.linalg.norm(satellites(11), axis=1).max() + 1.0
        assert item.satellite_distances.max() <= inside + 1e-6


@pytest.mark.parametrize("total", [1, 7, 100])
def test_apportion(total):
    shares = np.array([0.61, 0.2, 0.1, 0.05, 0.04, 0.0, 0.0])
    counts = _apportion(shares, total)
    assert counts.sum() == total
    assert np.abs(counts - shares * total).max() < 1.0


@pytest.mark.parametrize("family", FAMILIES)
def test_largest_piece(family):
    frame = template(family)
    distances = frame.distances
    ball = np.flatnonzero(distances[0] < 1.05)
    far = int(np.argmax(distances[0]))
    occupied = np.zeros(len(frame.sites), dtype=bool)
    occupied[ball] = True
    occupied[far] = True
    np.testing.assert_array_equal(_largest_piece(family, occupied), ball)
    nothing = _largest_piece(family, np.zeros(len(frame.sites), dtype=bool))
    assert len(nothing) == 2
    assert distances[nothing[0], nothing[1]] == pytest.approx(1.0, abs=0.06)
