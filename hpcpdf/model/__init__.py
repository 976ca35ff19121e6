"""Representations and conditional generative models."""
