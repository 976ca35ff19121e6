"""Tests against the real diffpy.srreal, where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest


def _installed() -> bool:
    try:
        metadata.version("diffpy.srreal")
    except metadata.PackageNotFoundError:
        return False
    return True


def needs_diffpy(test: Callable[..., Any]) -> Any:
    """Mark a test `diffpy`, and skip it without diffpy.srreal."""
    reason = "diffpy.srreal is not installed (conda-forge)"
    return pytest.mark.diffpy(pytest.mark.skipif(not _installed(), reason=reason)(test))
