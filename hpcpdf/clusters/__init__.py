"""Cluster shapes: site templates of the families, random and published shapes, canonical form, duplicates.

`template` holds the ideal sites of a family and their symmetry, `draw` random shapes on them, `reference` the published
ones, `generate` the clusters of a run, `canonical` the form and distance list of any coordinates.
"""
