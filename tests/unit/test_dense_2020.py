"""The dense networks of 2020: their sizes, what they learn from, how they count atoms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small_model import LENGTH, clusters, fit, new_model, pdf_batch, tensors, training_arrays
from torch import nn

from hpcpdf import ConfigError
from hpcpdf.model.dense_2020 import N_NODES, PADDING, SMALLEST_SPREAD, GatedConv
from hpcpdf.model.store import load_model, save_model
from hpcpdf.solver.satellites import satellites

KINDS = ["cvae-2020", "dae-2020"]


def linear_sizes(part: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in part.modules() if isinstance(m, nn.Linear)]


def gated_sizes(part: nn.Module) -> list[tuple[int, int, int, int]]:
    gates = [m for m in part.modules() if isinstance(m, GatedConv)]
    return [(m.h.in_channels, m.h.out_channels, m.h.kernel_size[0], m.h.stride[0]) for m in gates]


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_of_the_paper(kind):
    model = new_model(kind, latent=2)
    assert gated_sizes(model.upsample) == [(301, 48, 1, 1), (48, 24, 1, 1), (24, 100, 4, 4)]
    assert gated_sizes(model.prior) == [(301, 48, 1, 1), (48, 24, 1, 1), (24, 4, 1, 1)]
    assert linear_sizes(model.nodes) == [(1 + 100 + 11 + 4, 384), (384, 256), (256, 128), (128, 4)]
    assert linear_sizes(model.pool) == [(100, 1)]
    assert linear_sizes(model.decoder) == [(2, 128), (128, 256), (256, 384), (384, 512), (512, 100 * 111)]
    data = tensors(model, clusters(2))
    assert model.upsample(data["x"][:, :, None]).shape == (2, 100, 4)


def test_gate():
    torch.manual_seed(0)
    layer = GatedConv(5, 3)
    x = torch.randn(2, 5, 1)
    kernels = [(part.weight[:, :, 0], part.bias) for part in (layer.h, layer.g)]
    h, g = (x[:, :, 0] @ weight.T + bias for weight, bias in kernels)
    torch.testing.assert_close(layer(x)[:, :, 0], h / (1.0 + (-g).exp()))


def test_gates_keep_the_size_of_their_input():
    torch.manual_seed(0)
    x = torch.randn(200, 301, 1)
    for layer in (GatedConv(301, 48), GatedConv(301, 100, upsample=4)):
        with torch.no_grad():
            gain = float(layer(x).square().mean() / x.square().mean())
        # torch's own first weights give 0.1.
        assert 0.5 < gain < 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_networks_read_standardised_pdfs(kind, tmp_path):
    items = clusters(40)
    model, batch = new_model(kind), pdf_batch(items)
    raw = model.inputs(batch)["x"]
    torch.testing.assert_close(raw.amax(dim=1), torch.ones(40))
    model.fit_inputs(batch)
    seen = model.inputs(batch)["x"]
    torch.testing.assert_close(seen.mean(dim=0), torch.zeros(301), atol=1e-4, rtol=0.0)
    spread = seen.std(dim=0, correction=0)
    assert float(spread.max()) == pytest.approx(1.0, abs=1e-4)
    assert int((spread > 0.99).sum()) > 50
    # What varies by less than that is left small: it is ripple, not atoms.
    assert torch.all((spread > 0.99) | (raw.std(dim=0, correction=0) <= SMALLEST_SPREAD))
    # A PDF has no scale, neither now nor when the model has been read again.
    save_model(model, tmp_path / "model.safetensors")
    scaled = dataclasses.replace(batch, pdf=3.0 * batch.pdf)
    torch.testing.assert_close(load_model(tmp_path / "model.safetensors").inputs(scaled)["x"], seen)


def test_networks_can_read_pdfs_as_they_are():
    model, batch = new_model("dae-2020", pdf_scale="maximum"), pdf_batch(clusters(5))
    raw = model.inputs(batch)["x"]
    model.fit_inputs(batch)
    torch.testing.assert_close(model.inputs(batch)["x"], raw, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("n_satellites", [0, 11])
def test_targets_are_distances_with_padding(n_satellites):
    items = clusters(4)
    model = new_model("cvae-2020", satellites=n_satellites)
    graph = model._graph(tensors(model, items)).numpy()
    assert graph.shape == (4, N_NODES, N_NODES + n_satellites)
    for item, rows in zip(items, graph, strict=True):
        n = item.n_atoms
        unit = (item.positions - item.positions[0]) / LENGTH
        np.testing.assert_allclose(rows[:n, :n], np.linalg.norm(unit[:, None] - unit, axis=2), atol=1e-6)
        outward = np.linalg.norm(unit[:, None] - satellites(n_satellites), axis=2)
        np.testing.assert_allclose(rows[:n, N_NODES:], outward, atol=1e-6)
        assert (rows[n:] == PADDING).all()
        assert (rows[:n, n:N_NODES] == PADDING).all()
        assert (np.diagonal(rows)[:n] == 0.0).all()


@pytest.mark.parametrize("n_satellites", [0, 4, 11])
def test_atoms_are_counted_from_blurred_distances(n_satellites):
    items = clusters(6, min_atoms=5, max_atoms=90)
    model = new_model("cvae-2020", satellites=n_satellites)
    data = tensors(model, items)
    graph = model._graph(data)
    torch.manual_seed(0)
    for blur in (0.0, 0.05):
        counted = model._counted(graph + blur * torch.randn_like(graph))
        np.testing.assert_array_equal(counted.numpy(), [item.n_atoms for item in items])


@pytest.mark.parametrize("kind", KINDS)
def test_loss_falls(kind):
    losses = fit(new_model(kind), clusters(7), 12, rate=1e-3)
    assert losses[-1] < 0.5 * losses[0]


def test_losses_against_their_definition():
    torch.manual_seed(0)
    model = new_model("dae-2020")
    data = tensors(model, clusters(3))
    with torch.no_grad():
        loss, parts = model.loss(data, 0.7)
        graph = model._graph(data)
        mean, _ = model._encode(data, graph)
        error = ((model._decode(mean) - graph) ** 2).sum(dim=(1, 2)).mean()
        apart = ((mean - model._prior(data["x"])[0]) ** 2).sum(dim=1).mean()
    assert float(parts["error"]) == pytest.approx(float(error), rel=1e-5)
    assert float(loss) == pytest.approx(float(error + 0.7 * apart), rel=1e-5)


def test_the_deterministic_twin_has_one_answer_and_the_other_many():
    batch = pdf_batch(clusters(1))
    drawn = {
        (kind, seed): new_model(kind).eval().sample(batch, 5, torch.Generator().manual_seed(seed))
        for kind in KINDS
        for seed in (1, 2)
    }
    one, other = drawn["dae-2020", 1], drawn["dae-2020", 2]
    assert len(one.structures) == 1
    assert one.index.tolist() == [0] * 5
    np.testing.assert_array_equal(one.structures[0].distances, other.structures[0].distances)
    assert len(drawn["cvae-2020", 1].structures) == 5
    many = {item.satellite_distances.tobytes() for item in drawn["cvae-2020", 1].structures}
    assert len(many) == 5
    again = {item.satellite_distances.tobytes() for item in drawn["cvae-2020", 2].structures}
    assert not many & again


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_distances_are_distances(kind):
    drawn = new_model(kind).eval().sample(pdf_batch(clusters(1)), 3, torch.Generator().manual_seed(0))
    for item in drawn.structures:
        assert item.n_atoms >= 2
        assert item.satellite_distances.shape == (item.n_atoms, 11)
        assert item.length == LENGTH
        np.testing.assert_array_equal(item.distances, item.distances.T)
        assert not np.diagonal(item.distances).any()
        assert item.distances.min() >= 0.0
        assert item.satellite_distances.min() >= 0.0


def test_larger_clusters_are_refused():
    arrays = training_arrays(clusters(2))
    large = dataclasses.replace(arrays, n_atoms=arrays.n_atoms + 100)
    with pytest.raises(ConfigError, match=r"clusters\.max_atoms = 100"):
        new_model("cvae-2020").targets(large)
