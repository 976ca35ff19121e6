"""What one sample is: a cluster, its instrument parameters and its PDF."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from hpcpdf.clusters.cluster import Cluster
from hpcpdf.clusters.generate import make_cluster
from hpcpdf.clusters.reference import paper_clusters
from hpcpdf.config import FAMILIES, PdfSection, RunConfig
from hpcpdf.dataset.schema import PARAMS, Arrays, Layout
from hpcpdf.errors import ConfigError
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.simulate import simulate_pdf
from hpcpdf.stage import sample_rng

ClusterSource: TypeAlias = Callable[[int], Cluster]

_PARAMETER_STREAM = 1
"""Keeps a sample's instrument parameters apart from the stream its cluster is drawn from."""


def cluster_source(config: RunConfig) -> ClusterSource:
    """Function from sample id to cluster.

    Raises
    ------
    ConfigError
        If the paper recipe is asked for more clusters than it has.
    """
    if config.clusters.recipe == "families":
        return partial(make_cluster, config.clusters, config.run.seed)
    clusters = paper_clusters(config.run.seed)
    if config.clusters.n > len(clusters):
        raise ConfigError(
            f"clusters.n = {config.clusters.n}: recipe 'paper' has {len(clusters)}; lower n or set recipe = 'families'"
        )
    return clusters.__getitem__


def draw_params(pdf: PdfSection, seed: int, sample_id: int) -> NDArray[np.float64]:
    """Instrument and sample parameters of one sample, in the order of `PARAMS`.

    Every parameter takes one number from the stream, varied or not, so fixing one leaves the others as they were.
    """
    bounds = np.array([_interval(getattr(pdf, name)) for name in PARAMS])
    low, high = bounds.T
    place = sample_rng(seed, sample_id, _PARAMETER_STREAM).random(len(PARAMS))
    result: NDArray[np.float64] = low + (high - low) * place
    return result


def _interval(value: float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)


def fill_samples(
    config: RunConfig, layout: Layout, source: ClusterSource, ids: Iterable[int], arrays: Arrays
) -> Iterable[int]:
    """Compute samples into the rows of `arrays`, yielding each id when its row is done.

    Parameters
    ----------
    ids
        Sample ids; the k-th fills row k.
    arrays
        As from `Layout.empty`.
    """
    for row, sample_id in enumerate(ids):
        cluster = source(sample_id)
        n = cluster.n_atoms
        params = draw_params(config.pdf, config.run.seed, sample_id)
        arrays["sample_id"][row] = sample_id
        arrays["positions"][row, :n] = cluster.positions
        arrays["n_atoms"][row] = n
        arrays["family"][row] = FAMILIES.index(cluster.family)
        arrays["sites"][row, :n] = cluster.shape.sites
        arrays["z"][row] = atomic_numbers[cluster.element]
        arrays["nn"][row] = cluster.nn
        arrays["params"][row] = params
        arrays["shape_key"][row] = cluster.shape.key
        arrays["pdf"][row] = _pdf(cluster.positions, params, config.pdf)
        yield sample_id


def _pdf(positions: NDArray[np.float64], params: NDArray[np.float64], pdf: PdfSection) -> NDArray[np.float64]:
    values = dict(zip(PARAMS, params.tolist(), strict=True))
    g: NDArray[np.float64] = simulate_pdf(
        positions,
        PdfParams(rmin=0.0, rmax=pdf.rmax, rstep=pdf.rstep, **values),
        transform="exact",
        # Tables pay when several structures share their parameters; here each sample has its own.
        accuracy="direct",
        n_threads=1,
    )[1]
    return g
