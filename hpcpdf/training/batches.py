"""Batches of data that stay in memory, or on the GPU when they fit, and every rank's share of them.

The samples of a step and the random numbers that go with them follow from the seed, the epoch and the step. They are
the same for any number of ranks, and for a training that was interrupted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hpcpdf.model.base import ConditionalModel

Data = dict[str, Tensor]

DRAW_BLOCK = 128
"""Samples that share a random stream: a rank draws no more than two blocks beyond its own samples."""

_SPARE_BYTES = 1 << 30  # of GPU memory, for the network and its steps


@dataclass(frozen=True)
class Share:
    """A rank's part of a batch of all ranks.

    Attributes
    ----------
    data
        Rows of this rank. One row without weight when the batch has fewer rows than there are ranks.
    n
        Number of rows that count.
    batch
        Number of rows of all ranks.
    """

    data: Data
    n: int
    batch: int


class Batches:
    """One split of the data set, cut into batches.

    Parameters
    ----------
    data
        Tensors whose first axis is the sample.
    size
        Samples of a batch of all ranks.
    device
        Where shares are wanted. A GPU keeps the whole split if it has the memory.
    seed
        Of order and draws.
    rank, world
        Whose shares.
    """

    def __init__(
        self, data: Data, size: int, device: torch.device, *, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.n = len(data["x"])
        self.count = math.ceil(self.n / size)
        self._size, self._device, self._seed, self._rank, self._world = size, device, seed, rank, world
        self.resident = _fits(data, device)
        self._data = {name: tensor.to(device) if self.resident else tensor.cpu() for name, tensor in data.items()}
        self._generator = torch.Generator()

    def order(self, epoch: int) -> Tensor:
        """Shuffled rows of an epoch (n,), counted from 0."""
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(epoch,)))
        rows = torch.from_numpy(rng.permutation(self.n))
        return rows.to(self._device) if self.resident else rows

    def share(
        self, model: ConditionalModel, step: int, *, order: Tensor | None = None, epoch: int = -1, noise: float = 0.0
    ) -> Share:
        """This rank's part of the `step`-th batch with what `model` draws for it.

        Parameters
        ----------
        order
            Rows in their order; default as stored.
        epoch
            Decides the draws; the default is for batches that are the same every time.
        noise
            Amplitude of the noise on the inputs.
        """
        start = step * self._size
        batch = min(self._size, self.n - start)
        first, last = batch * self._rank // self._world, batch * (self._rank + 1) // self._world
        n = last - first
        if n == 0:
            first, last = 0, 1
        rows = slice(start + first, start + last)
        data = {name: self._take(tensor, rows, order) for name, tensor in self._data.items()}
        draws = self._draw(model, (epoch + 1, step), batch, first, last, noise > 0.0)
        data.update({name: tensor.to(self._device, non_blocking=True) for name, tensor in draws.items()})
        return Share(model.augment(data, noise) if noise else data, n, batch)

    def _take(self, tensor: Tensor, rows: slice, order: Tensor | None) -> Tensor:
        if order is None:
            # In torch's own, aligned memory: matrix products may round differently elsewhere.
            return tensor[rows].clone().to(self._device)
        index = order[rows]
        if self.resident:
            return tensor.index_select(0, index)
        # Pinned memory is copied to the GPU while the step before is still being computed.
        staged = torch.empty((len(index), *tensor.shape[1:]), dtype=tensor.dtype, pin_memory=True)
        return torch.index_select(tensor, 0, index, out=staged).to(self._device, non_blocking=True)

    def _draw(
        self, model: ConditionalModel, key: tuple[int, int], batch: int, first: int, last: int, noisy: bool
    ) -> Data:
        """Rows first ... last - 1 of the random numbers of a batch."""
        begin = first // DRAW_BLOCK * DRAW_BLOCK
        blocks = []
        for start in range(begin, last, DRAW_BLOCK):
            stream = np.random.SeedSequence(self._seed, spawn_key=(*key, start // DRAW_BLOCK))
            self._generator.manual_seed(int(stream.generate_state(1)[0]))
            blocks.append(model.draw(min(DRAW_BLOCK, batch - start), self._generator, noisy=noisy))
        whole = {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}
        return {name: tensor[first - begin : last - begin] for name, tensor in whole.items()}


def _fits(data: Data, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return sum(tensor.nbytes for tensor in data.values()) + _SPARE_BYTES < free
