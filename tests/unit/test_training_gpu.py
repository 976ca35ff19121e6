"""Training on a GPU: data stay there, or come from the host in time; precision."""

from __future__ import annotations

import json

import pytest
import torch
from small_model import clusters, new_model, tensors

from hpcpdf.config import TrainingSection
from hpcpdf.stage import Context
from hpcpdf.training import batches
from hpcpdf.training.loop import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def losses(folder, device, model="site-cvae", **more):
    folder.mkdir()
    network = new_model(model, hidden=32, latent=3)
    items = clusters(60, max_atoms=20)
    data = tensors(network, items[:50]), tensors(network, items[50:])
    section = TrainingSection(batch=16, max_epochs=3, noise=0.02, **more)
    trainer = Trainer(network.to(device), *data, section, folder, seed=2)
    trainer.run(Context())
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return trainer, [record["train"]["loss"] for record in records]


@pytest.mark.parametrize("model", ["site-cvae", "cvae-2020", "dae-2020"])
def test_the_curve_is_that_of_the_cpu(tmp_path, model):
    """Draws are the same on both, so only rounding differs."""
    _, expected = losses(tmp_path / "cpu", "cpu", model)
    trainer, found = losses(tmp_path / "cuda", "cuda", model)
    assert trainer._train.resident
    assert found == pytest.approx(expected, rel=5e-3)


def test_data_that_do_not_fit_come_from_the_host(tmp_path, monkeypatch):
    _, resident = losses(tmp_path / "resident", "cuda")
    monkeypatch.setattr(batches, "_fits", lambda data, device: False)
    trainer, staged = losses(tmp_path / "staged", "cuda")
    assert not trainer._train.resident
    assert staged == pytest.approx(resident, rel=1e-4)


def test_bfloat16(tmp_path):
    _, full = losses(tmp_path / "full", "cuda")
    _, half = losses(tmp_path / "half", "cuda", precision="bfloat16")
    assert half != full
    assert half == pytest.approx(full, rel=0.05)
