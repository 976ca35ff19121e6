"""Pair distribution functions: parameters, simulation, files, agreement factors, fits."""
