"""Trained models on disk: weights as safetensors, everything else in its header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from hpcpdf.config import ModelSection
from hpcpdf.errors import DataError
from hpcpdf.model.base import ConditionalModel
from hpcpdf.model.dense_2020 import Cvae2020, Dae2020
from hpcpdf.model.site_cvae import SiteCvae
from hpcpdf.stage import atomic_path

FORMAT = "hpcpdf-model"
FORMAT_VERSION = 1
DEFAULT = Path(__file__).parent / "weights" / "default.safetensors"
"""The model that ships with the package."""

_KINDS: dict[str, type[ConditionalModel]] = {kind.kind: kind for kind in (SiteCvae, Cvae2020, Dae2020)}


def build(section: ModelSection, length: float) -> ConditionalModel:
    """A new model of the kind and size that `section` names; `length` in Å per unit of the sphere."""
    return _KINDS[section.kind](section, length)


def save_model(model: ConditionalModel, path: str | Path, *, half: bool = False, **metadata: Any) -> None:
    """Write a model atomically.

    Parameters
    ----------
    model
        Trained model.
    path
        Target, usually ``*.safetensors``.
    half
        Store 16-bit floats: half the size for shipping.
    **metadata
        JSON data kept in the header: configuration, provenance, metrics.
    """
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "model": json.dumps(model.section.model_dump(mode="json")),
        "length": repr(model.length),
        "fingerprint": json.dumps(model.fingerprint()),
        "metadata": json.dumps(metadata),
    }
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(state, header))


def load_model(path: str | Path | None = None, device: str | torch.device = "cpu") -> ConditionalModel:
    """Read a model; None reads the one that ships with the package.

    Raises
    ------
    DataError
        If the file is missing, damaged, not a model of this package, or of another version.
    """
    path = DEFAULT if path is None else Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise DataError(f"{path}: no such model file")
    try:
        with safe_open(path, framework="pt") as handle:
            header = handle.metadata() or {}
            state = {key: handle.get_tensor(key).float() for key in handle.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: not a readable model file: {error}") from None
    if header.get("format") != FORMAT:
        raise DataError(f"{path}: safetensors, but not an hpcpdf model")
    if header.get("format_version") != str(FORMAT_VERSION):
        raise DataError(
            f"{path}: model format version {header.get('format_version')}, this hpcpdf reads {FORMAT_VERSION}; "
            "train it again or install the matching version"
        )
    try:
        section, length = ModelSection.model_validate_json(header["model"]), float(header["length"])
        fingerprint = json.loads(header["fingerprint"])
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: damaged header ({type(error).__name__} in it); train it again") from None
    model = build(section, length)
    if model.fingerprint() != fingerprint:
        raise DataError(f"{path}: made for other site templates than this version's; train it again")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise DataError(f"{path}: weights do not fit the model: {detail}; train it again") from None
    return model.to(device).eval()


def model_metadata(path: str | Path | None = None) -> dict[str, Any]:
    """Metadata stored beside the weights."""
    with safe_open(DEFAULT if path is None else path, framework="np") as handle:
        return dict(json.loads((handle.metadata() or {}).get("metadata", "{}")))


def parameter_count(model: ConditionalModel) -> int:
    """Number of trainable numbers."""
    return int(np.sum([p.numel() for p in model.parameters()]))
