"""Clusters of a run, each made from its own random stream."""

from __future__ import annotations

from hpcpdf.clusters.cluster import Cluster
from hpcpdf.clusters.draw import draw_shape
from hpcpdf.clusters.elements import METALS, metallic_radius
from hpcpdf.config import ClustersSection
from hpcpdf.stage import sample_rng


def make_cluster(section: ClustersSection, seed: int, sample_id: int) -> Cluster:
    """Cluster number `sample_id` of the ``families`` recipe.

    Families take turns; shape, element and distance are drawn from the stream of the sample, so that it is the same
    on any rank. Two samples may turn out alike: `unique` removes duplicates.

    Parameters
    ----------
    section
        Families, bounds of the number of atoms, elements (empty: `METALS`), spread of the distance.
    seed
        Seed of the run.
    sample_id
        Number of the sample, from 0.

    Raises
    ------
    ConfigError
        If an element has no known metallic radius, or no cluster lies within the bounds.
    """
    rng = sample_rng(seed, sample_id)
    family = section.families[sample_id % len(section.families)]
    element = str(rng.choice(section.elements or METALS))
    stretch = 1.0 + section.nn_spread * rng.uniform(-1.0, 1.0)
    shape = draw_shape(family, rng, section.min_atoms, section.max_atoms)
    return Cluster(shape, element, 2.0 * metallic_radius(element) * stretch)
