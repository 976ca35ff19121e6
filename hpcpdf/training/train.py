"""The training stage: data set → model folder."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.config import RunConfig
from hpcpdf.dataset.reader import open_dataset
from hpcpdf.dataset.schema import Arrays
from hpcpdf.errors import ConfigError, LaunchError
from hpcpdf.model.base import TrainingArrays
from hpcpdf.model.features import PdfBatch
from hpcpdf.model.store import build, parameter_count, save_model
from hpcpdf.stage import Context, is_finished, mark_finished, provenance, relevant, stop_on_signals
from hpcpdf.training.loop import Data, Trainer

log = logging.getLogger(__name__)


def run(config: RunConfig, context: Context) -> Path:
    """Train the configured model on ``<run.out>/dataset``; leaves ``<run.out>/model``.

    Finished training is not repeated; interrupted training goes on from its checkpoint.
    """
    folder = config.run.out / "model"
    settings = relevant(config, "clusters", "pdf", "dataset", "model", "training")
    if is_finished(folder, settings):
        log.info("%s: already trained", folder)
        return folder
    section = config.training
    if section.threads is not None:
        torch.set_num_threads(section.threads)
    device = pick_device(section.device)
    dataset = open_dataset(config.run.out / "dataset" / "dataset.h5")
    train, validation = dataset.load("train"), dataset.load("validation")
    if len(train["n_atoms"]) == 0 or len(validation["n_atoms"]) == 0:
        raise ConfigError(
            f"{config.run.out}: {len(train['n_atoms'])} training and {len(validation['n_atoms'])} validation clusters; "
            "raise clusters.n"
        )
    torch.manual_seed(config.run.seed)
    model = build(config.model, length=unit_length(train, validation))
    log.info(
        "%s: %d parameters, %d + %d clusters, device %s",
        model.kind,
        parameter_count(model),
        len(train["n_atoms"]),
        len(validation["n_atoms"]),
        device,
    )

    def resident(arrays: Arrays) -> Data:
        data = {**model.inputs(pdf_batch(arrays)), **model.targets(training_arrays(arrays))}
        return {name: tensor.to(device) for name, tensor in data.items()}

    model.to(device)
    train_data, validation_data = resident(train), resident(validation)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(model, train_data, validation_data, section, folder, config.run.seed)
    with stop_on_signals(context):
        summary = trainer.run(context)
    if not summary["finished"]:
        raise LaunchError(
            f"{folder}: stopped by a signal after epoch {summary['epochs']}; run the same command again to go on"
        )
    save_model(
        model, folder / "model.safetensors", config=config.model_dump(mode="json"), provenance=provenance(), **summary
    )
    mark_finished(folder, settings, summary=summary, parameters=parameter_count(model))
    return folder


def pick_device(wanted: str) -> torch.device:
    """CUDA when asked for or available; a clear error when asked for and missing."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ConfigError("training.device = cuda, but torch sees no CUDA device; use device = 'cpu' or 'auto'")
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")


def unit_length(*splits: Arrays) -> float:
    """Radius of the unit sphere, Å: the largest distance of the whole data set."""
    largest = 0.0
    for arrays in splits:
        reach = np.nanmax(arrays["positions"], axis=1) - np.nanmin(arrays["positions"], axis=1)
        largest = max(largest, float(np.linalg.norm(reach, axis=1).max()))
    return largest


def expected_nn(z: np.ndarray) -> np.ndarray:
    """Nearest-neighbour distances (Å) that the metallic radii of atomic numbers `z` suggest."""
    from ase.data import chemical_symbols

    unique, inverse = np.unique(z, return_inverse=True)
    values = np.array([2.0 * metallic_radius(chemical_symbols[number]) for number in unique])
    return np.asarray(values[inverse])


def pdf_batch(arrays: Arrays) -> PdfBatch:
    """The networks' view of a split's PDFs."""
    return PdfBatch(
        arrays["pdf"].astype(np.float64),
        arrays["params"][:, 0].copy(),
        arrays["params"][:, 1].copy(),
        expected_nn(arrays["z"]),
    )


def training_arrays(arrays: Arrays) -> TrainingArrays:
    """The networks' view of a split's structures."""
    return TrainingArrays(
        positions=arrays["positions"],
        n_atoms=arrays["n_atoms"].astype(np.int64),
        family=arrays["family"].astype(np.int64),
        sites=arrays["sites"],
        z=arrays["z"].astype(np.int64),
    )
