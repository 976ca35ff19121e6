"""What every conditional model offers, and what it is trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpcpdf.config import ModelSection
from hpcpdf.model.distances import AssignedDistances, DistanceBatch
from hpcpdf.model.features import PdfBatch


@dataclass(frozen=True)
class TrainingArrays:
    """Structures of a split, beside the PDFs of a `PdfBatch` of the same length.

    Attributes
    ----------
    positions : (n, N, 3) float32
        Canonical coordinates in Å, padded with NaN.
    n_atoms : (n,) int
    family : (n,) int
        Index into `hpcpdf.config.FAMILIES`.
    sites : (n, N) int16
        Occupied template sites, padded with -1.
    z : (n,) int
        Atomic number.
    """

    positions: NDArray[np.float32]
    n_atoms: NDArray[np.int64]
    family: NDArray[np.int64]
    sites: NDArray[np.int16]
    z: NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Structures drawn for one PDF.

    Attributes
    ----------
    structures : list of AssignedDistances
        Those that differ.
    index : (n_samples,) int
        Which of them each sample is.
    """

    structures: list[AssignedDistances]
    index: NDArray[np.int64]


class ConditionalModel(nn.Module, ABC):
    """PDF → distribution of assigned distances.

    Parameters
    ----------
    section
        Sizes.
    length : float
        Å per unit of the unit sphere that all distances are scaled into.
    """

    kind: ClassVar[str]
    sparse: ClassVar[bool] = False
    """Whether a batch may pass by some parameters, so that they get no gradient."""

    def __init__(self, section: ModelSection, length: float) -> None:
        super().__init__()
        self.section = section
        self.length = length

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def fit_inputs(self, batch: PdfBatch) -> None:
        """Take from the training PDFs what `inputs` needs to know of them; called once, before training."""

    @abstractmethod
    def inputs(self, batch: PdfBatch) -> dict[str, Tensor]:
        """What the network reads of the PDFs, on the CPU; the first axis is the sample."""

    @abstractmethod
    def targets(self, arrays: TrainingArrays) -> dict[str, Tensor]:
        """What it learns to produce, on the CPU; the first axis is the sample."""

    def draw(self, n: int, generator: torch.Generator, *, noisy: bool = False) -> dict[str, Tensor]:
        """All random numbers that `loss` needs for `n` samples, and with `noisy` those of `augment`.

        They join the data of a batch: on the CPU, the first axis is the sample. Nothing else in training is random, so
        that a sample's numbers do not depend on which process works on it.
        """
        return {}

    def augment(self, data: dict[str, Tensor], amplitude: float) -> dict[str, Tensor]:
        """A noisy copy of the inputs of a training batch."""
        return data

    @abstractmethod
    def loss(self, data: dict[str, Tensor], kl_weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss of a batch and its parts, these without gradient."""

    def forward(self, data: dict[str, Tensor], kl_weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, under the name that distributed wrappers call."""
        return self.loss(data, kl_weight)

    @abstractmethod
    def sample(self, batch: PdfBatch, n_samples: int, generator: torch.Generator, spread: float = 1.0) -> Samples:
        """Draw structures for the one PDF in `batch`; `spread` widens the prior, 0 gives its mean."""

    @abstractmethod
    def most_likely(self, batch: PdfBatch) -> DistanceBatch:
        """The structure at the mean of the prior for each PDF of `batch`.

        What `sample` gives for one sample and `spread` 0, for many PDFs at once. The last digits may depend on which
        PDFs share a batch: matrix products of other sizes round differently.
        """

    @abstractmethod
    def interpolate(self, ends: PdfBatch, fractions: NDArray[np.float64]) -> list[AssignedDistances]:
        """Structures on the straight way from the first PDF's mean latent vector to the second's.

        Parameters
        ----------
        ends
            Two PDFs.
        fractions : (n,)
            Where on the way: 0 is the first PDF, 1 the second.
        """

    def fingerprint(self) -> dict[str, Any]:
        """What must agree between a stored model and this code besides the sizes."""
        return {}


def gaussian_kl(mean: Tensor, log_spread: Tensor, prior_mean: Tensor, prior_log_spread: Tensor) -> Tensor:
    """Kullback–Leibler divergence between diagonal Gaussians, summed over everything (nats)."""
    ratio = (2 * (log_spread - prior_log_spread)).exp()
    shift = ((mean - prior_mean) / prior_log_spread.exp()) ** 2
    return 0.5 * (ratio + shift - 1.0 - 2 * (log_spread - prior_log_spread)).sum()
