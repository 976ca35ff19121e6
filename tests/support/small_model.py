"""Few, small clusters with their PDFs, and networks trained on them for a second."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.clusters.cluster import Cluster
from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.clusters.generate import make_cluster
from hpcpdf.config import FAMILIES, ClustersSection, ModelSection
from hpcpdf.model.base import ConditionalModel, TrainingArrays
from hpcpdf.model.features import PdfBatch
from hpcpdf.model.store import build

# More threads than free cores make the many small products of these networks slower by orders of magnitude.
torch.set_num_threads(1)

LENGTH = 30.0
"""Å per unit of the sphere; more than the largest of these clusters."""


def clusters(
    n: int, *, seed: int = 1, min_atoms: int = 8, max_atoms: int = 30, families: Sequence[str] = FAMILIES
) -> list[Cluster]:
    """The first `n` platinum clusters of a seed."""
    section = ClustersSection(
        n=n, min_atoms=min_atoms, max_atoms=max_atoms, families=tuple(families), elements=("Pt",), nn_spread=0.02
    )
    return [make_cluster(section, seed, k) for k in range(n)]


def pdf_batch(items: Sequence[Cluster], params: PdfParams | None = None) -> PdfBatch:
    """Their simulated PDFs."""
    params = params or PdfParams()
    pdfs = simulate_pdf([item.positions for item in items], params, n_threads=1)[1]
    n = len(items)
    expected = np.array([2.0 * metallic_radius(item.element) for item in items])
    return PdfBatch(np.asarray(pdfs), np.full(n, params.qmin), np.full(n, params.qmax), expected)


def training_arrays(items: Sequence[Cluster]) -> TrainingArrays:
    """Their structures, as a data set holds them."""
    n, largest = len(items), max(item.n_atoms for item in items)
    positions = np.full((n, largest, 3), np.nan, dtype=np.float32)
    sites = np.full((n, largest), -1, dtype=np.int16)
    for row, item in enumerate(items):
        positions[row, : item.n_atoms] = item.positions
        sites[row, : item.n_atoms] = item.shape.sites
    return TrainingArrays(
        positions=positions,
        n_atoms=np.array([item.n_atoms for item in items]),
        family=np.array([FAMILIES.index(item.family) for item in items]),
        sites=sites,
        z=np.full(n, 78),
    )


def tensors(model: ConditionalModel, items: Sequence[Cluster]) -> dict[str, torch.Tensor]:
    """Inputs and targets of a model, which learns the scale of its inputs from the same clusters."""
    model.fit_inputs(pdf_batch(items))
    return {**model.inputs(pdf_batch(items)), **model.targets(training_arrays(items))}


def with_draws(model: ConditionalModel, data: dict[str, torch.Tensor], seed: int = 1) -> dict[str, torch.Tensor]:
    """A batch and the random numbers that its loss and its noise need."""
    return {**data, **model.draw(len(data["x"]), torch.Generator().manual_seed(seed), noisy=True)}


def new_model(kind: str = "site-cvae", *, seed: int = 0, latent: int = 4, hidden: int = 32, **more) -> ConditionalModel:
    """An untrained network."""
    torch.manual_seed(seed)
    return build(ModelSection(kind=kind, latent=latent, hidden=hidden, **more), LENGTH)


def fit(model: ConditionalModel, items: Sequence[Cluster], steps: int, rate: float = 3e-3) -> list[float]:
    """Losses of full-batch steps of Adam."""
    data = tensors(model, items)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    for step in range(steps):
        loss, _ = model(with_draws(model, data, step), 0.2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    model.eval()
    return losses


@cache
def trained() -> ConditionalModel:
    """A site network that has seen 70 clusters."""
    model = new_model(hidden=64)
    fit(model, clusters(70), 60)
    return model
