"""The training stage: data set → model folder."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.distance import pdist

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.config import RunConfig
from hpcpdf.dataset.reader import open_dataset
from hpcpdf.dataset.schema import Arrays
from hpcpdf.errors import ConfigError, LaunchError
from hpcpdf.model.base import ConditionalModel, TrainingArrays
from hpcpdf.model.features import PdfBatch
from hpcpdf.model.store import build, parameter_count, save_model
from hpcpdf.stage import Context, is_finished, mark_finished, provenance, relevant, stop_on_signals
from hpcpdf.training.batches import Data
from hpcpdf.training.devices import choose_device
from hpcpdf.training.loop import Trainer

log = logging.getLogger(__name__)


def run(config: RunConfig, context: Context) -> Path:
    """Train the configured model on ``<run.out>/dataset``; leaves ``<run.out>/model``.

    Finished training is not repeated; interrupted training goes on from its newest checkpoint, on any number of ranks.

    Raises
    ------
    LaunchError
        If a signal stopped it, on all ranks after the same step.
    """
    folder = config.run.out / "model"
    settings = relevant(config, "clusters", "pdf", "dataset", "model", "training")
    # Rank 0 looks: others may see a shared folder late.
    if context.gather(context.rank == 0 and is_finished(folder, settings))[0]:
        log.info("%s: already trained", folder)
        return folder
    with stop_on_signals(context):
        model, trainer = _prepared(config, folder, context)
        summary = trainer.run(context)
    if not summary["finished"]:
        raise LaunchError(
            f"{folder}: stopped by a signal in epoch {summary['epochs'] + 1}; run the same command again to go on"
        )
    if context.rank == 0:
        path = folder / "model.safetensors"
        save_model(model, path, config=config.model_dump(mode="json"), provenance=provenance(), **summary)
        mark_finished(folder, settings, summary=summary, parameters=parameter_count(model), ranks=context.world)
    context.gather(None)
    return folder


def _prepared(config: RunConfig, folder: Path, context: Context) -> tuple[ConditionalModel, Trainer]:
    """The model and its trainer, with the data in memory."""
    section = config.training
    if section.batch < context.world:
        raise ConfigError(
            f"training.batch = {section.batch} leaves nothing to do for some of {context.world} ranks; "
            "use fewer ranks, or a batch at least as large"
        )
    device = choose_device(section, context)
    dataset = open_dataset(config.run.out / "dataset" / "dataset.h5")
    train, validation = dataset.load("train"), dataset.load("validation")
    sizes = len(train["n_atoms"]), len(validation["n_atoms"])
    if 0 in sizes:
        raise ConfigError(f"{config.run.out}: {sizes[0]} training and {sizes[1]} validation clusters; raise clusters.n")
    torch.manual_seed(config.run.seed)
    model = build(config.model, length=unit_length(train, validation))
    log.info("%s: %d parameters, %d + %d clusters", model.kind, parameter_count(model), *sizes)

    def tensors(arrays: Arrays) -> Data:
        return {**model.inputs(pdf_batch(arrays)), **model.targets(training_arrays(arrays))}

    model.fit_inputs(pdf_batch(train))
    folder.mkdir(parents=True, exist_ok=True)
    data = tensors(train), tensors(validation)
    return model, Trainer(model.to(device), *data, section, folder, config.run.seed)


def unit_length(*splits: Arrays) -> float:
    """Radius of the unit sphere, Å: the largest distance between two atoms of the whole data set."""
    positions = [x for arrays in splits for x in arrays["positions"]]
    # No two atoms are further apart than the corners of the box around them.
    bounds = [float(np.linalg.norm(np.nanmax(x, axis=0) - np.nanmin(x, axis=0))) for x in positions]
    largest = 0.0
    for index in np.argsort(bounds)[::-1]:
        if bounds[index] <= largest:
            break
        atoms = positions[index].astype(np.float64)
        largest = max(largest, float(pdist(atoms[~np.isnan(atoms[:, 0])]).max()))
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
