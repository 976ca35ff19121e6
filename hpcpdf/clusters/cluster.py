"""A cluster: a shape filled with atoms of one element at a given distance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ase import Atoms

from hpcpdf.clusters.template import Floats, Shape, template

DISTANCE_STEP = 1e-4
"""Clusters whose shortest distances differ by less than about this (Å) are duplicates when their shapes are equal."""


@dataclass(frozen=True)
class Cluster:
    """Atoms of one element on the sites of a shape.

    Attributes
    ----------
    shape
        Occupied sites.
    element
        Chemical symbol.
    nn
        Nearest-neighbour distance of the template, Å.
    """

    shape: Shape
    element: str
    nn: float

    @property
    def positions(self) -> Floats:
        """(n, 3) canonical positions, Å; the canonical origin of the shape at zero."""
        return self.shape.positions * self.nn

    @property
    def atoms(self) -> Atoms:
        """The cluster for ASE."""
        return Atoms([self.element] * self.n_atoms, positions=self.positions)

    @property
    def family(self) -> str:
        """Name of the family."""
        return self.shape.family

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.shape.n_atoms

    @property
    def distance_key(self) -> tuple[str, int]:
        """Names the list of interatomic distances: its form, and its shortest distance in steps of 1e-4 Å.

        Clusters of the same list have the same normalised PDF, whatever their element.
        """
        frame, sites = template(self.family), self.shape.sites
        between = frame.distances[sites[:, None], sites[None, :]]
        shortest = float(between[between > 0.0].min(initial=1e9)) if len(sites) > 1 else 0.0
        return self.shape.key, round(shortest * self.nn / DISTANCE_STEP)


def unique(clusters: Iterable[Cluster]) -> list[Cluster]:
    """The first of each set of clusters that share a list of interatomic distances, in the order given."""
    kept: dict[tuple[str, int], Cluster] = {}
    for cluster in clusters:
        kept.setdefault(cluster.distance_key, cluster)
    return list(kept.values())
