"""Colours that colour-blind readers tell apart (Okabe and Ito), for figures and pages alike."""

from __future__ import annotations

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
