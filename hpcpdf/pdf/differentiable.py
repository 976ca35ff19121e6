"""PDFs that torch can differentiate with respect to the atoms, so that a PDF can be a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hpcpdf.errors import ConfigError
from hpcpdf.pdf.kernel import NodeKernel, Positions
from hpcpdf.pdf.params import PdfParams


class DifferentiablePdf(nn.Module):
    """G(r) of batches of clusters of one element, differentiable once with respect to the positions.

    It computes in float64 on the processor wherever the positions are, and returns what it was given: their dtype, on
    their device. G agrees with `simulate_pdf` to about 1e-7 of its maximum (see `NodeKernel`).

    Parameters
    ----------
    params
        Instrument and sample.
    r : array_like, shape (R,), optional
        Points of G in Å. Default: the grid of `params`.
    n_threads : int, optional
        As in `simulate_pdf`.

    Raises
    ------
    ConfigError
        If r lies outside the range of `params`.

    Examples
    --------
    >>> pdf = DifferentiablePdf(PdfParams(qmin=0.8, qmax=25.0, biso=0.3))
    >>> positions = torch.tensor([[[0.0, 0.0, 0.0], [2.8, 0.0, 0.0]]], requires_grad=True)
    >>> pdf(positions).square().sum().backward()
    >>> positions.grad.shape
    torch.Size([1, 2, 3])
    """

    def __init__(self, params: PdfParams, r: ArrayLike | None = None, *, n_threads: int | None = None) -> None:
        super().__init__()
        self.kernel = NodeKernel(params, r, n_threads=n_threads)
        self._matrix = self.kernel.matrix()

    def forward(self, positions: Tensor, n_atoms: Tensor | ArrayLike | None = None) -> Tensor:
        """G(r) of a batch.

        Parameters
        ----------
        positions : Tensor, shape (B, N, 3)
            Å.
        n_atoms : integers, shape (B,), optional
            Rows that are atoms; those behind may hold anything and have the gradient 0. Default: all N.

        Returns
        -------
        Tensor, shape (B, R)
            Å^-2.

        Raises
        ------
        ConfigError
            For other shapes or types, numbers of atoms out of range, or atoms that are not finite.
        """
        if positions.ndim != 3 or positions.shape[2] != 3 or not positions.is_floating_point():
            kind = f"{str(positions.dtype).removeprefix('torch.')} of shape {tuple(positions.shape)}"
            raise ConfigError(f"positions: expected real numbers of the shape (B, N, 3), got {kind}")
        n_clusters, most = positions.shape[:2]
        given = n_atoms.detach().cpu() if isinstance(n_atoms, Tensor) else n_atoms
        counts = np.full(n_clusters, most) if given is None else np.asarray(given)
        whole = counts.dtype.kind in "iu" and counts.shape == (n_clusters,)
        if not whole or (counts < 1).any() or (counts > most).any():
            raise ConfigError(f"n_atoms: expected {n_clusters} whole numbers from 1 to {most}")
        apply: Callable[..., Tensor] = _Pdf.apply
        return apply(positions, counts, self.kernel, self._matrix)


class _Pdf(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, counts: NDArray[np.intp], kernel: NodeKernel, matrix: NDArray[np.float64]
    ) -> Tensor:
        rows = positions.detach().cpu().double().numpy()
        clusters = Positions.of([row[:n] for row, n in zip(rows, counts, strict=True)])
        if not np.isfinite(clusters.positions).all():
            raise ConfigError("positions: an atom is NaN or infinite; say with n_atoms which rows are atoms")
        g = kernel.histogram(clusters) @ matrix / counts[:, None]
        ctx.clusters, ctx.counts, ctx.kernel, ctx.matrix, ctx.shape = clusters, counts, kernel, matrix, positions.shape
        return torch.from_numpy(g).to(positions)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None]:
        misfit = slope.detach().cpu().double().numpy()
        _, moved = ctx.kernel.gather(ctx.clusters, misfit @ ctx.matrix.T / ctx.counts[:, None])
        gradient = np.zeros(ctx.shape)
        gradient[np.arange(ctx.shape[1]) < ctx.counts[:, None]] = moved
        return torch.from_numpy(gradient).to(slope), None, None, None
