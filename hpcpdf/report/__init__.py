"""Figures, structure files and HTML reports."""
