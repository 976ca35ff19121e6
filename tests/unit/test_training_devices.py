"""Devices and threads of ranks, without the devices: torch's answers are given."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch

from hpcpdf import ConfigError
from hpcpdf.config import TrainingSection
from hpcpdf.errors import LaunchError
from hpcpdf.stage import Context
from hpcpdf.training import devices
from hpcpdf.training.devices import choose_device, pick_device


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that torch sees some GPUs."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=f"uuid-{device.index}")
        )

    return pretend


@pytest.fixture
def threads():
    """Threads are as before afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Gathered(Context):
    """One of several ranks, the others' answers given."""

    others: list[tuple[str, str, str]]

    def gather(self, value):
        return [value, *self.others]


def gathered(*others: tuple[str, str, str]) -> Gathered:
    context = Gathered(0, 1 + len(others))
    context.others = list(others)
    return context


@pytest.mark.parametrize(
    ("count", "wanted", "local_rank", "device"),
    [
        (0, "auto", 0, "cpu"),
        (4, "auto", 0, "cuda:0"),
        (4, "cuda", 3, "cuda:3"),
        (4, "cpu", 3, "cpu"),
        (1, "auto", 3, "cuda:0"),  # the batch system shows each rank its own
    ],
)
def test_pick_device(gpus, count, wanted, local_rank, device):
    gpus(count)
    assert pick_device(wanted, local_rank) == torch.device(device)


def test_more_ranks_than_gpus(gpus):
    gpus(2)
    with pytest.raises(LaunchError, match="rank 2 of this node has no GPU, torch sees 2; start at most 2 ranks a node"):
        pick_device("auto", 2)


def test_no_gpu_where_one_is_asked_for(gpus):
    gpus(0)
    with pytest.raises(ConfigError, match="torch sees no CUDA device"):
        pick_device("cuda")


def test_ranks_that_share_a_gpu(gpus, monkeypatch):
    gpus(1)
    monkeypatch.setattr(devices.platform, "node", lambda: "a")
    choose_device(TrainingSection(), gathered(("b", "cuda", "uuid-0"), ("a", "cuda", "uuid-1")))
    with pytest.raises(LaunchError, match="ranks 0 and 2 share one GPU of a; start one rank for each GPU"):
        choose_device(TrainingSection(), gathered(("b", "cuda", "uuid-0"), ("a", "cuda", "uuid-0")))


def test_nodes_with_and_without_gpus(gpus):
    gpus(1)
    with pytest.raises(LaunchError, match=r"some ranks have GPUs and others none \(b, c\)"):
        choose_device(TrainingSection(), gathered(("c", "cpu", ""), ("b", "cpu", "")))


@pytest.mark.usefixtures("threads")
def test_ranks_of_a_node_divide_its_processors(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(devices.platform, "node", lambda: "a")
    monkeypatch.setattr(devices, "_processors", lambda: 8)
    context = gathered(("a", "cpu", ""), ("b", "cpu", ""))
    choose_device(TrainingSection(device="cpu"), context)
    assert torch.get_num_threads() == 4
    choose_device(TrainingSection(device="cpu", threads=2), context)
    assert torch.get_num_threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    choose_device(TrainingSection(device="cpu"), context)
    assert torch.get_num_threads() == 2, "what the environment says has been read when torch was loaded"


def test_one_process_says_what_it_trains_on(caplog):
    with caplog.at_level(logging.INFO):
        choose_device(TrainingSection(device="cpu"), Context())
    assert "training on CPU, " in caplog.text
