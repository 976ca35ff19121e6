"""Bound-constrained minimisation and trilateration."""
