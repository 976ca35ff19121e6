"""Conditional variational autoencoder over template sites: the compact decoder.

The decoder says which sites of a family's template are occupied; the chosen sites' distances to
each other and to the satellites are the assigned distances. Encoder, prior and decoder are
conditioned on the PDF and on the structure family; the family itself is predicted from the PDF.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from hpcpdf.clusters.template import template
from hpcpdf.config import FAMILIES, ModelSection
from hpcpdf.model.base import ConditionalModel, Samples, TrainingArrays, gaussian_kl
from hpcpdf.model.distances import AssignedDistances, DistanceBatch, assigned_distances
from hpcpdf.model.features import X_GRID, PdfBatch, reduced
from hpcpdf.model.sites import largest_pieces, site_distances
from hpcpdf.solver.satellites import satellites

_BONDED = 1.3  # in nearest-neighbour distances


@cache
def _bonds(family: str) -> csr_array:
    sites = template(family).sites
    pairs = cKDTree(sites).query_pairs(_BONDED, output_type="ndarray")
    n = len(sites)
    return csr_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))


def _mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in pairwise(sizes[:-1]):
        layers += [nn.Linear(inner, outer), nn.LayerNorm(outer), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class SiteCvae(ConditionalModel):
    """See the module's docstring; sizes from `ModelSection`."""

    kind: ClassVar[str] = "site-cvae"
    sparse: ClassVar[bool] = True  # sites of families that a batch lacks

    def __init__(self, section: ModelSection, length: float) -> None:
        super().__init__(section, length)
        self.latent = section.latent
        self.n_sites = [len(template(family).sites) for family in FAMILIES]
        width, condition, mark = section.hidden, section.hidden // 2, 16
        self.condition = _mlp(2 * len(X_GRID) + 2, width + width // 2, width, condition)
        self.family_head = nn.Linear(condition, len(FAMILIES))
        self.family_mark = nn.Embedding(len(FAMILIES), mark)
        self.prior = _mlp(condition + mark, width // 2, 2 * self.latent)
        self.read_sites = nn.ModuleList(nn.Linear(n, width // 2) for n in self.n_sites)
        self.posterior = _mlp(width // 2 + condition + mark, width // 2, 2 * self.latent)
        self.decoder = _mlp(self.latent + condition + mark, width, width)
        self.write_sites = nn.ModuleList(nn.Linear(width, n) for n in self.n_sites)

    def inputs(self, batch: PdfBatch) -> dict[str, Tensor]:
        g, nn_distance = reduced(batch)
        weighted = g * (X_GRID / 4.0)
        limits = np.stack([(batch.qmin - 1.0) * nn_distance / 3.0, (batch.qmax * nn_distance - 60.0) / 20.0], axis=1)
        data = np.concatenate([g, weighted, limits], axis=1)
        return {"x": torch.from_numpy(data.astype(np.float32)), "nn": torch.from_numpy(nn_distance.astype(np.float32))}

    def targets(self, arrays: TrainingArrays) -> dict[str, Tensor]:
        return {
            "family": torch.from_numpy(arrays.family.astype(np.int64)),
            "sites": torch.from_numpy(arrays.sites.astype(np.int16)),
        }

    def draw(self, n: int, generator: torch.Generator, *, noisy: bool = False) -> dict[str, Tensor]:
        drawn = {"latent": torch.randn(n, self.latent, generator=generator)}
        if noisy:
            drawn["white"] = torch.randn(n, 1, len(X_GRID) + 4, generator=generator)
            drawn["strength"] = torch.rand(n, 1, generator=generator)
        return drawn

    def augment(self, data: dict[str, Tensor], amplitude: float) -> dict[str, Tensor]:
        """Add smooth noise, of a relative amplitude drawn up to `amplitude` for each sample."""
        x = data["x"]
        n = len(X_GRID)
        kernel = torch.tensor([[[0.1, 0.25, 0.3, 0.25, 0.1]]], device=x.device) / 0.49
        noise = functional.conv1d(data["white"], kernel)[:, 0] * (amplitude * data["strength"])
        grid = torch.from_numpy((X_GRID / 4.0).astype(np.float32)).to(x.device)
        added = torch.cat([noise, noise * grid, x.new_zeros(len(x), x.shape[1] - 2 * n)], dim=1)
        return {**data, "x": x + added}

    def loss(self, data: dict[str, Tensor], kl_weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        condition = self.condition(data["x"])
        family, sites = data["family"], data["sites"].long()
        family_loss = functional.cross_entropy(self.family_head(condition).float(), family, reduction="sum")
        site_loss = condition.new_zeros(())
        kl = condition.new_zeros(())
        wrong_counts = torch.zeros((), device=condition.device)
        for index in range(len(FAMILIES)):
            rows = torch.nonzero(family == index)[:, 0]
            if len(rows) == 0:
                continue
            width = self.n_sites[index]
            chosen = sites[rows]
            occupied = condition.new_zeros(len(rows), width + 1)
            occupied.scatter_(1, torch.where(chosen >= 0, chosen, width), 1.0)
            occupied = occupied[:, :width]
            c = torch.cat([condition[rows], self.family_mark(family[rows])], dim=1)
            prior_mean, prior_spread = self._gaussian(self.prior(c))
            code = functional.silu(self.read_sites[index](occupied) / 4.0)
            mean, spread = self._gaussian(self.posterior(torch.cat([code, c], dim=1)))
            z = mean + spread.exp() * data["latent"][rows]
            logits = self._logits(z, c, index)
            site_loss = site_loss + functional.binary_cross_entropy_with_logits(logits, occupied, reduction="sum")
            kl = kl + gaussian_kl(mean, spread, prior_mean, prior_spread)
            wrong_counts = wrong_counts + ((logits > 0).sum(1) != (chosen >= 0).sum(1)).sum()
        n = len(family)
        total = (site_loss + kl_weight * kl + family_loss) / n
        parts = {
            "sites": site_loss.detach() / n,
            "kl": kl.detach() / n,
            "family": family_loss.detach() / n,
            "wrong_counts": wrong_counts / n,
        }
        return total, parts

    @staticmethod
    def _gaussian(packed: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = packed.float().chunk(2, dim=1)
        return mean, spread.clamp(-6.0, 3.0)

    def _logits(self, z: Tensor, condition: Tensor, index: int) -> Tensor:
        out: Tensor = self.write_sites[index](functional.silu(self.decoder(torch.cat([z, condition], dim=1))))
        return out.float()

    @torch.no_grad()
    def sample(self, batch: PdfBatch, n_samples: int, generator: torch.Generator, spread: float = 1.0) -> Samples:
        """Draw structures for one PDF; see `ConditionalModel.sample`.

        Every family gets a share of the samples that grows with the square root of its probability;
        the width of the prior rises from half to twice `spread` over a family's samples.
        """
        data = self.inputs(batch)
        nn_distance = float(data["nn"][0])
        condition = self.condition(data["x"][:1].to(self.device))
        shares = functional.softmax(self.family_head(condition)[0], dim=0).sqrt().cpu().numpy()
        chosen: dict[tuple[int, bytes], int] = {}
        index: list[int] = []
        for family, count in enumerate(_apportion(shares, n_samples)):
            if count == 0:
                continue
            mark = self.family_mark(torch.tensor([family], device=self.device))
            c = torch.cat([condition, mark], dim=1)
            mean, log_spread = self._gaussian(self.prior(c))
            widths = spread * torch.linspace(0.5, 2.0, count, device=self.device)[:, None]
            noise = torch.randn(count, self.latent, generator=generator).to(self.device)
            logits = self._logits(mean + widths * log_spread.exp() * noise, c.expand(count, -1), family)
            for occupied in (logits > 0).cpu().numpy():
                sites = _largest_piece(FAMILIES[family], occupied)
                index.append(chosen.setdefault((family, sites.tobytes()), len(chosen)))
        found = [self._structure(f, np.frombuffer(raw, dtype=np.int64), nn_distance) for f, raw in chosen]
        return Samples(found, np.array(index))

    @torch.no_grad()
    def most_likely(self, batch: PdfBatch) -> DistanceBatch:
        """See `ConditionalModel.most_likely`; each PDF's most probable family is taken."""
        data = self.inputs(batch)
        # Copied into torch's own, aligned memory: products may round differently elsewhere.
        condition = self.condition(data["x"].clone().to(self.device))
        family = self.family_head(condition).argmax(dim=1)
        c = torch.cat([condition, self.family_mark(family)], dim=1)
        mean, _ = self._gaussian(self.prior(c))
        code = functional.silu(self.decoder(torch.cat([mean, c], dim=1)))
        pieces: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * len(batch)
        for index in family.unique().tolist():
            rows = torch.nonzero(family == index)[:, 0]
            occupied = (self.write_sites[index](code[rows]) > 0).cpu().numpy()
            for row, sites in zip(rows.tolist(), largest_pieces(FAMILIES[index], _BONDED, occupied), strict=True):
                pieces[row] = sites
        families = [FAMILIES[index] for index in family.tolist()]
        around = satellites(self.section.satellites)
        return site_distances(families, pieces, data["nn"].numpy().astype(np.float64), around, self.length)

    @torch.no_grad()
    def interpolate(self, ends: PdfBatch, fractions: NDArray[np.float64]) -> list[AssignedDistances]:
        """See `ConditionalModel.interpolate`; what the PDFs condition, and the scale, are interpolated alike."""
        data = self.inputs(ends)
        conditions = self.condition(data["x"].to(self.device))
        near, far = data["nn"].tolist()
        structures = []
        for fraction in fractions.tolist():
            condition = torch.lerp(conditions[:1], conditions[1:], fraction)
            family = int(self.family_head(condition).argmax())
            mark = self.family_mark(torch.tensor([family], device=self.device))
            means = self._gaussian(self.prior(torch.cat([conditions, mark.expand(2, -1)], dim=1)))[0]
            z = torch.lerp(means[:1], means[1:], fraction)
            occupied = self._logits(z, torch.cat([condition, mark], dim=1), family)[0] > 0
            sites = _largest_piece(FAMILIES[family], occupied.cpu().numpy())
            structures.append(self._structure(family, sites, near + fraction * (far - near)))
        return structures

    def _structure(self, family: int, sites: NDArray[np.int64], nn_distance: float) -> AssignedDistances:
        name = FAMILIES[family]
        positions = template(name).sites[sites] * nn_distance
        # A structure larger than any of the data set gets a larger sphere: outside it cannot be trilaterated.
        length = max(self.length, float(np.linalg.norm(positions, axis=1).max()))
        return assigned_distances(positions, satellites(self.section.satellites), length, name, nn_distance)

    def fingerprint(self) -> dict[str, Any]:
        return {family: template(family).digest for family in FAMILIES}


def _apportion(shares: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Whole numbers in proportion to `shares` that sum to `total` (largest remainders)."""
    exact = shares / shares.sum() * total
    counts: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return counts


def _largest_piece(family: str, occupied: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Indices of the largest connected piece of the occupied sites (at least two atoms)."""
    sites = np.flatnonzero(occupied)
    if len(sites) < 2:
        return np.arange(2, dtype=np.int64)
    _, label = connected_components(_bonds(family)[sites][:, sites], directed=False)
    sizes = np.bincount(label)
    piece = sites[label == sizes.argmax()]
    return piece.astype(np.int64) if len(piece) > 1 else np.arange(2, dtype=np.int64)
