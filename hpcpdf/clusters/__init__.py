"""Cluster shapes: generators, families, canonical form, duplicates."""
