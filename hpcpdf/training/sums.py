"""Means over an epoch, over the ranks, and across an interruption."""

from __future__ import annotations

import torch
from torch import Tensor

from hpcpdf.stage import Context


class Sums:
    """Weighted means in the making: the loss and its parts, summed on the device without waiting for it."""

    def __init__(self, names: tuple[str, ...] = (), values: Tensor | None = None) -> None:
        self._names, self._values = names, values

    def add(self, loss: Tensor, parts: dict[str, Tensor], weight: float) -> None:
        """Add a batch that makes up `weight` of all samples."""
        values = weight * torch.stack([value.detach().double() for value in (loss, *parts.values())])
        self._names = ("loss", *parts)
        self._values = values if self._values is None else self._values.to(values.device) + values

    def state(self) -> dict[str, float]:
        """Sums of this rank by name."""
        return {} if self._values is None else dict(zip(self._names, self._values.tolist(), strict=True))

    def over_ranks(self, context: Context) -> dict[str, float]:
        """Sums of all ranks, the same on each."""
        total: dict[str, float] = {}
        for part in context.gather(self.state()):
            for name, value in part.items():
                total[name] = total.get(name, 0.0) + value
        return total

    @staticmethod
    def of_rank(states: list[dict[str, float]], context: Context) -> Sums:
        """This rank's sums out of those of all ranks; when their number has changed, those of several together."""
        mine = states if context.rank == 0 else []
        if len(states) == context.world:
            mine = [states[context.rank]]
        sums = Sums()
        for state in filter(None, mine):
            values = torch.tensor(list(state.values()), dtype=torch.float64)
            sums = Sums(tuple(state), values if sums._values is None else sums._values + values)
        return sums
