"""PDFs inside torch: the same numbers as `simulate_pdf`, and gradients that hold."""

import numpy as np
import pytest
import torch
from ase.cluster import FaceCenteredCubic

from hpcpdf import ConfigError, PdfParams, simulate_pdf
from hpcpdf.pdf.differentiable import DifferentiablePdf

PARAMS = PdfParams(qmin=0.8, qmax=25.0, qdamp=0.04, biso=0.3, delta2=1.0)


def cluster(n_layers, seed):
    surfaces = [(1, 0, 0), (1, 1, 0), (1, 1, 1)]
    atoms = FaceCenteredCubic("Pt", surfaces, [n_layers, n_layers, n_layers], latticeconstant=3.92)
    return atoms.positions + np.random.default_rng(seed).normal(scale=0.05, size=atoms.positions.shape)


def padded(clusters, dtype=torch.float64):
    counts = torch.tensor([len(one) for one in clusters])
    batch = torch.full((len(clusters), int(counts.max()) + 2, 3), torch.nan, dtype=dtype)
    for row, one in zip(batch, clusters, strict=True):
        row[: len(one)] = torch.from_numpy(one)
    return batch, counts


def test_same_pdf_as_simulate_pdf():
    clusters = [cluster(n, seed) for seed, n in enumerate((1, 2, 3))]
    batch, counts = padded(clusters)
    _, wanted = simulate_pdf(clusters, PARAMS)
    found = DifferentiablePdf(PARAMS)(batch, counts).numpy()
    assert np.abs(found - wanted).max() < 1e-6 * np.abs(wanted).max()


def test_gradient_is_that_of_finite_differences():
    clusters = [cluster(2, 0)[:13], cluster(2, 1)[:5]]
    batch, counts = padded(clusters)
    torch.manual_seed(0)
    pdf = DifferentiablePdf(PARAMS, r=np.linspace(1.0, 12.0, 40))
    weights = torch.randn(2, 40, dtype=torch.float64)
    atoms = batch.clone().requires_grad_()
    (pdf(atoms, counts) * weights).sum().backward()
    assert torch.all(atoms.grad[0, 13:] == 0.0)
    assert torch.all(atoms.grad[1, 5:] == 0.0)
    step = 1e-4
    for where in [(0, 3, 1), (0, 12, 2), (1, 0, 0), (1, 4, 1)]:
        values = []
        for sign in (-1, 1):
            moved = batch.clone()
            moved[where] += sign * step
            values.append(float((pdf(moved, counts) * weights).sum()))
        slope = (values[1] - values[0]) / (2 * step)
        assert float(atoms.grad[where]) == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_gradient_neither_pushes_nor_turns_a_cluster():
    batch, counts = padded([cluster(2, 0)])
    atoms = batch.clone().requires_grad_()
    DifferentiablePdf(PARAMS)(atoms, counts).square().sum().backward()
    n = int(counts[0])
    force, at = atoms.grad[0, :n], batch[0, :n]
    size = float(force.abs().max())
    assert float(force.sum(dim=0).abs().max()) < 1e-9 * size
    assert float(torch.linalg.cross(at, force).sum(dim=0).abs().max()) < 1e-7 * size


def test_a_pdf_as_a_loss_finds_the_size():
    atoms = torch.from_numpy(cluster(2, 0))
    pdf = DifferentiablePdf(PARAMS)
    observed = pdf(atoms[None])
    scale = torch.tensor(1.01, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([scale], line_search_fn="strong_wolfe", max_iter=8)

    def misfit():
        optimiser.zero_grad()
        loss = (pdf(scale * atoms[None]) - observed).square().mean()
        loss.backward()
        return loss

    optimiser.step(misfit)
    assert float(scale.detach()) == pytest.approx(1.0, abs=1e-5)


def test_dtype_of_the_input_comes_back():
    batch, counts = padded([cluster(1, 0)], torch.float32)
    atoms = batch.clone().requires_grad_()
    g = DifferentiablePdf(PARAMS)(atoms, counts)
    g.sum().backward()
    assert g.dtype == atoms.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("positions", "n_atoms", "message"),
    [
        (torch.zeros(4, 3), None, r"expected real numbers of the shape \(B, N, 3\), got float32 of shape \(4, 3\)"),
        (torch.zeros(2, 4, 3, dtype=torch.int64), None, "got int64 of shape"),
        (torch.zeros(2, 4, 3), torch.tensor([4]), "n_atoms: expected 2 whole numbers from 1 to 4"),
        (torch.zeros(1, 4, 3), [3.0], "whole numbers"),
        (torch.zeros(1, 4, 3), torch.tensor([5]), "from 1 to 4"),
        (torch.full((1, 4, 3), torch.nan), None, "NaN or infinite"),
    ],
)
def test_bad_input(positions, n_atoms, message):
    with pytest.raises(ConfigError, match=message):
        DifferentiablePdf(PARAMS)(positions, n_atoms)
