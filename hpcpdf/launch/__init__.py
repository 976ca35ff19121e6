"""Pipelines: the stages in order, locally or on a batch system."""
