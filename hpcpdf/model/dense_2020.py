"""The 2020 conditional variational autoencoder and its deterministic twin, with dense distance matrices.

Layer sizes follow Anker et al., KDD-MLG workshop 2020. What the paper leaves open is decided here:
the frame is the canonical one with the first canonical atom at the origin, the PDFs are standardised
over the training split, losses are summed over the entries of a structure and averaged over the batch,
padding is -1 in targets as in inputs, and a node counts as an atom when its mean predicted satellite
distance is above zero or, without satellites, when its predicted distances to itself and to the first
atom are nearer to a distance than to the padding.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hpcpdf.config import ModelSection
from hpcpdf.errors import ConfigError
from hpcpdf.model.base import ConditionalModel, Samples, TrainingArrays, gaussian_kl
from hpcpdf.model.distances import AssignedDistances, DistanceBatch
from hpcpdf.model.features import R_POINTS, PdfBatch, normalised
from hpcpdf.solver.satellites import satellites

N_NODES = 100
"""Largest number of atoms."""
PADDING = -1.0
SMALLEST_SPREAD = 1e-2
"""Points of a PDF, divided by its maximum, that vary less than this are divided by it and so stay below unit spread."""
_PER_NODE = 4  # features of the PDF given to each node


class GatedConv(nn.Module):
    """Gated 1-D convolution, h(x) sigmoid(g(x)); `upsample` > 1 transposes it with kernel = stride = upsample."""

    def __init__(self, inner: int, outer: int, upsample: int = 1) -> None:
        super().__init__()

        def layer() -> nn.Conv1d | nn.ConvTranspose1d:
            if upsample > 1:
                return nn.ConvTranspose1d(inner, outer, kernel_size=upsample, stride=upsample)
            return nn.Conv1d(inner, outer, kernel_size=1)

        self.h, self.g = layer(), layer()
        for part in (self.h, self.g):
            nn.init.normal_(part.weight, std=math.sqrt(2.0 / inner))
            nn.init.zeros_(part.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.h(x) * torch.sigmoid(self.g(x))
        return out


class Dense2020(ConditionalModel):
    """The layers that both twins share."""

    def __init__(self, section: ModelSection, length: float) -> None:
        super().__init__(section, length)
        self.latent = section.latent
        self.n_satellites = section.satellites
        width = N_NODES + self.n_satellites
        self.upsample = nn.Sequential(GatedConv(R_POINTS, 48), GatedConv(48, 24), GatedConv(24, N_NODES, _PER_NODE))
        self.nodes = nn.Sequential(
            nn.Linear(1 + width + _PER_NODE, 384),
            nn.ReLU(),
            nn.Linear(384, 256),
            nn.ReLU(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, 2 * self.latent),
        )
        self.pool = nn.Linear(N_NODES, 1)
        last = GatedConv(24, 2 * self.latent)
        # It starts near the standard normal distribution: a wide random one takes thousands of steps to forget.
        nn.init.normal_(last.h.weight, std=1e-3)
        self.prior = nn.Sequential(GatedConv(R_POINTS, 48), GatedConv(48, 24), last)
        self.decoder = nn.Sequential(
            nn.Linear(self.latent, 128),
            nn.ReLU(),
            nn.Linear(128, 256),
            nn.ReLU(),
            nn.Linear(256, 384),
            nn.ReLU(),
            nn.Linear(384, 512),
            nn.ReLU(),
            nn.Linear(512, N_NODES * width),
        )

        self.pdf_mean: Tensor
        self.pdf_spread: Tensor
        self.register_buffer("pdf_mean", torch.zeros(R_POINTS))
        self.register_buffer("pdf_spread", torch.ones(R_POINTS))

    def fit_inputs(self, batch: PdfBatch) -> None:
        if self.section.pdf_scale == "maximum":
            return
        pdf = normalised(batch.pdf)
        self.pdf_mean.copy_(torch.from_numpy(pdf.mean(axis=0)))
        self.pdf_spread.copy_(torch.from_numpy(pdf.std(axis=0)).clamp(min=SMALLEST_SPREAD))

    def inputs(self, batch: PdfBatch) -> dict[str, Tensor]:
        pdf = torch.from_numpy(normalised(batch.pdf).astype(np.float32))
        return {"x": (pdf - self.pdf_mean.cpu()) / self.pdf_spread.cpu()}

    def targets(self, arrays: TrainingArrays) -> dict[str, Tensor]:
        if arrays.n_atoms.max() > N_NODES:
            raise ConfigError(
                f"model.kind = {self.kind} holds at most {N_NODES} atoms, the data set has {arrays.n_atoms.max()}; "
                f"set clusters.max_atoms = {N_NODES}"
            )
        positions = torch.full((len(arrays.n_atoms), N_NODES, 3), torch.nan)
        given = torch.from_numpy(arrays.positions[:, :N_NODES].astype(np.float32))
        positions[:, : given.shape[1]] = given
        if self.section.order == "arbitrary":
            _shuffle(positions, arrays.n_atoms)
        positions = (positions - positions[:, :1]) / self.length
        return {
            "positions": positions,
            "n_atoms": torch.from_numpy(arrays.n_atoms.astype(np.int64)),
            "z": torch.from_numpy(arrays.z.astype(np.float32)),
        }

    def _graph(self, data: dict[str, Tensor]) -> Tensor:
        """Assigned and satellite distances (b, N, N + S), padded."""
        positions = data["positions"]
        around = torch.from_numpy(satellites(self.n_satellites).astype(np.float32)).to(positions.device)
        padded = torch.isnan(positions[:, :, 0])
        filled = torch.nan_to_num(positions)
        # The pair-by-pair form: the matrix-product form loses half of the digits.
        between = torch.cdist(filled, filled, compute_mode="donot_use_mm_for_euclid_dist")
        outward = torch.cdist(filled, around.expand(len(filled), -1, -1), compute_mode="donot_use_mm_for_euclid_dist")
        between = between.masked_fill(padded[:, :, None] | padded[:, None, :], PADDING)
        outward = outward.masked_fill(padded[:, :, None], PADDING)
        return torch.cat([between, outward], dim=2)

    def _encode(self, data: dict[str, Tensor], graph: Tensor) -> tuple[Tensor, Tensor]:
        x = data["x"]
        padded = torch.isnan(data["positions"][:, :, :1])
        number = torch.where(padded, PADDING, data["z"][:, None, None] / 100.0)
        features = torch.cat([number, graph, self.upsample(x[:, :, None])], dim=2)
        packed = self.pool(self.nodes(features).transpose(1, 2))[:, :, 0]
        mean, spread = packed.chunk(2, dim=1)
        return mean, spread.clamp(-8.0, 8.0)

    def _prior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = self.prior(x[:, :, None])[:, :, 0].chunk(2, dim=1)
        return mean, spread.clamp(-8.0, 8.0)

    def _decode(self, z: Tensor) -> Tensor:
        out: Tensor = self.decoder(z).view(len(z), N_NODES, -1)
        return out

    def _counted(self, graph: Tensor) -> Tensor:
        if self.n_satellites:
            return (graph[:, :, N_NODES:].mean(dim=2) > 0.0).sum(dim=1)
        # Most entries of an atom's row are padding: only those that belong to atoms for certain may vote.
        certain = torch.diagonal(graph[:, :, :N_NODES], dim1=1, dim2=2) + graph[:, :, 0]
        return (0.5 * certain > 0.5 * PADDING).sum(dim=1)

    @torch.no_grad()
    def sample(self, batch: PdfBatch, n_samples: int, generator: torch.Generator, spread: float = 1.0) -> Samples:
        mean, log_spread = self._prior(self.inputs(batch)["x"][:1].to(self.device))
        noise = torch.randn(n_samples, self.latent, generator=generator).to(self.device)
        z = self._draw(mean, log_spread, noise * spread)
        structures = self.structures(z)
        return Samples(structures, np.arange(len(structures)) if len(structures) > 1 else np.zeros(n_samples, np.int64))

    @torch.no_grad()
    def most_likely(self, batch: PdfBatch) -> DistanceBatch:
        mean, _ = self._prior(self.inputs(batch)["x"].to(self.device))
        graphs = self._decode(mean)
        counts = self._counted(graphs).clamp(min=2).cpu().numpy().astype(np.int64)
        data = graphs.clamp_(min=0.0).cpu().numpy()
        n = len(data)
        return DistanceBatch(data[:, :, :N_NODES], data[:, :, N_NODES:], counts, np.full(n, self.length), [""] * n)

    @torch.no_grad()
    def interpolate(self, ends: PdfBatch, fractions: NDArray[np.float64]) -> list[AssignedDistances]:
        first, second = self._prior(self.inputs(ends)["x"].to(self.device))[0]
        way = torch.from_numpy(fractions.astype(np.float32)).to(self.device)[:, None]
        return self.structures(torch.lerp(first, second, way))

    @torch.no_grad()
    def latent_prior(self, batch: PdfBatch) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the width of z that the PDFs alone suggest, each (n, L)."""
        return self._prior(self.inputs(batch)["x"].to(self.device))

    @torch.no_grad()
    def latent_posterior(self, batch: PdfBatch, arrays: TrainingArrays) -> tuple[Tensor, Tensor]:
        """The same with the structures known: what the encoder says; each (n, L)."""
        data = {**self.inputs(batch), **self.targets(arrays)}
        data = {name: tensor.to(self.device) for name, tensor in data.items()}
        return self._encode(data, self._graph(data))

    def latent_sample(self, mean: Tensor, log_spread: Tensor, generator: torch.Generator) -> Tensor:
        """One z for each row: a sample, or the mean in the model without sampling."""
        noise = torch.randn(mean.shape, generator=generator).to(self.device)
        return self._draw(mean.expand_as(noise), log_spread, noise)

    @torch.no_grad()
    def structures(self, z: Tensor, n_atoms: NDArray[np.int64] | None = None) -> list[AssignedDistances]:
        """What z (n, L) decodes to; `n_atoms` (n,) takes the place of the numbers of atoms that the model finds."""
        graphs = self._decode(z)
        counts = self._counted(graphs).clamp(min=2) if n_atoms is None else n_atoms
        return [self._structure(graph, int(n)) for graph, n in zip(graphs, counts, strict=True)]

    def _draw(self, mean: Tensor, log_spread: Tensor, noise: Tensor) -> Tensor:
        return mean + log_spread.exp() * noise

    def _structure(self, graph: Tensor, n: int) -> AssignedDistances:
        data = graph.cpu().numpy()
        between = np.maximum(data[:n, :n], 0.0)
        between = 0.5 * (between + between.T)
        np.fill_diagonal(between, 0.0)
        return AssignedDistances(between, np.maximum(data[:n, N_NODES:], 0.0), self.length)


def _shuffle(positions: Tensor, n_atoms: NDArray[np.int64]) -> None:
    """Put the atoms of every structure into an order of its own, the same whenever the same data are read."""
    rng = np.random.default_rng(0)
    for atoms, n in zip(positions, n_atoms, strict=True):
        atoms[:n] = atoms[torch.from_numpy(rng.permutation(n))]


class Cvae2020(Dense2020):
    """Squared error of the distances plus the divergence of posterior and prior."""

    kind: ClassVar[str] = "cvae-2020"

    def draw(self, n: int, generator: torch.Generator, *, noisy: bool = False) -> dict[str, Tensor]:
        return {"latent": torch.randn(n, self.latent, generator=generator)}

    def loss(self, data: dict[str, Tensor], kl_weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        graph = self._graph(data)
        mean, spread = self._encode(data, graph)
        prior_mean, prior_spread = self._prior(data["x"])
        predicted = self._decode(mean + spread.exp() * data["latent"])
        n = len(graph)
        error = functional.mse_loss(predicted, graph, reduction="sum") / n
        kl = gaussian_kl(mean, spread, prior_mean, prior_spread) / n
        wrong = (self._counted(predicted) != data["n_atoms"]).float().mean()
        parts = {"error": error.detach(), "kl": kl.detach(), "wrong_counts": wrong}
        return error + kl_weight * kl, parts


class Dae2020(Dense2020):
    """The twin without sampling; the squared distance between both latent vectors takes the divergence's place."""

    kind: ClassVar[str] = "dae-2020"

    def loss(self, data: dict[str, Tensor], kl_weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        graph = self._graph(data)
        mean, _ = self._encode(data, graph)
        prior_mean, _ = self._prior(data["x"])
        predicted = self._decode(mean)
        n = len(graph)
        error = functional.mse_loss(predicted, graph, reduction="sum") / n
        apart = ((mean - prior_mean) ** 2).sum() / n
        wrong = (self._counted(predicted) != data["n_atoms"]).float().mean()
        parts = {"error": error.detach(), "latent": apart.detach(), "wrong_counts": wrong}
        return error + kl_weight * apart, parts

    def _draw(self, mean: Tensor, log_spread: Tensor, noise: Tensor) -> Tensor:
        return mean
