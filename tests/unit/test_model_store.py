"""Models on disk: what comes back, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save
from small_model import clusters, new_model, pdf_batch

from hpcpdf import DataError
from hpcpdf.model.store import FORMAT_VERSION, load_model, model_metadata, parameter_count, save_model

KINDS = ["site-cvae", "cvae-2020", "dae-2020"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(new_model(hidden=8, latent=2), path, best_loss=1.5, config={"run": {"seed": 3}})
    return path


def rewritten(stored, target, *, drop=(), **changes):
    """A copy whose header differs."""
    with safe_open(stored, framework="pt") as handle:
        header = {key: value for key, value in {**handle.metadata(), **changes}.items() if key not in drop}
        state = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (not a mapping)
    target.write_bytes(save(state, header))
    return target


def refused(path) -> str:
    with pytest.raises(DataError) as caught:
        load_model(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind, tmp_path):
    model = new_model(kind, hidden=8, latent=2).eval()
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    again = load_model(path)
    assert type(again) is type(model)
    assert again.section == model.section
    assert again.length == model.length
    assert not again.training
    assert parameter_count(again) == parameter_count(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    batch = pdf_batch(clusters(1))
    one, other = (item.sample(batch, 3, torch.Generator().manual_seed(0)) for item in (model, again))
    for a, b in zip(one.structures, other.structures, strict=True):
        np.testing.assert_array_equal(a.distances, b.distances)


def test_a_folder_is_a_model_too(stored):
    assert load_model(stored.parent).section.latent == 2


def test_half_precision_is_half_the_size(stored, tmp_path):
    model = load_model(stored)
    small = tmp_path / "half.safetensors"
    save_model(model, small, half=True)
    assert small.stat().st_size < 0.6 * stored.stat().st_size
    again = load_model(small).state_dict()
    for name, value in model.state_dict().items():
        assert again[name].dtype == torch.float32
        torch.testing.assert_close(again[name], value, rtol=1e-3, atol=1e-6)


def test_metadata(stored):
    assert model_metadata(stored) == {"best_loss": 1.5, "config": {"run": {"seed": 3}}}


def test_missing_and_empty_and_text(tmp_path):
    assert "no such model file" in refused(tmp_path / "none.safetensors")
    for name, content in {"empty": b"", "text": b"r g\n1 2\n" * 50, "zeros": bytes(500)}.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert "not a readable model file" in refused(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_truncated(stored, tmp_path, share):
    path = tmp_path / "cut.safetensors"
    content = stored.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "not a readable model file" in refused(path)


def test_another_programs_weights(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(save({"w": torch.zeros(3)}))
    assert "not an hpcpdf model" in refused(path)


def test_another_version(stored, tmp_path):
    text = refused(rewritten(stored, tmp_path / "new.safetensors", format_version="99"))
    assert "version 99" in text
    assert f"reads {FORMAT_VERSION}" in text


def test_other_site_templates(stored, tmp_path):
    with safe_open(stored, framework="pt") as handle:
        digests = json.loads(handle.metadata()["fingerprint"])
    digests["fcc"] = "0" * 16
    text = refused(rewritten(stored, tmp_path / "sites.safetensors", fingerprint=json.dumps(digests)))
    assert "other site templates" in text


def test_weights_of_another_size(stored, tmp_path):
    section = json.dumps({**new_model(hidden=8, latent=2).section.model_dump(), "latent": 3})
    assert "size mismatch" in refused(rewritten(stored, tmp_path / "size.safetensors", model=section))


@pytest.mark.parametrize(
    "damage",
    [
        {"model": "{"},
        {"model": '{"kind": "perceptron"}'},
        {"length": "long"},
        {"fingerprint": "?"},
        {"drop": ("length",)},
        {"drop": ("model",)},
    ],
)
def test_damaged_header(stored, tmp_path, damage):
    assert "damaged header" in refused(rewritten(stored, tmp_path / "header.safetensors", **damage))
