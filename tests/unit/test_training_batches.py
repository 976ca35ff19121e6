"""Ranks share batches and random numbers so that together they do what one does."""

from __future__ import annotations

import pytest
import torch
from small_model import clusters, new_model, tensors

from hpcpdf.stage import Context
from hpcpdf.training.batches import DRAW_BLOCK, Batches
from hpcpdf.training.sums import Sums

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return new_model(hidden=8, latent=3)


@pytest.fixture(scope="module")
def data(model):
    found = tensors(model, clusters(25, max_atoms=15))
    return {name: tensor.repeat(12, *[1] * (tensor.ndim - 1)) for name, tensor in found.items()}


def shares(model, data, size, world, step, **more):
    return [Batches(data, size, CPU, seed=7, rank=r, world=world).share(model, step, **more) for r in range(world)]


@pytest.mark.parametrize("world", [2, 3, 4, 7])
@pytest.mark.parametrize("size", [300, 2 * DRAW_BLOCK + 5, 6])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_shares_of_all_ranks_make_up_the_batch_of_one(model, data, world, size, noise):
    order = Batches(data, size, CPU, seed=7).order(2)
    (alone,) = shares(model, data, size, 1, 0, order=order, epoch=2, noise=noise)
    parts = shares(model, data, size, world, 0, order=order, epoch=2, noise=noise)
    assert sum(part.n for part in parts) == alone.n == alone.batch == size
    assert {part.batch for part in parts} == {size}
    for name, expected in alone.data.items():
        found = torch.cat([part.data[name] for part in parts if part.n])
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6, msg=name)
    assert torch.equal(torch.cat([part.data["latent"] for part in parts if part.n]), alone.data["latent"])


def test_a_last_batch_smaller_than_the_ranks_leaves_some_without_weight(model, data):
    """300 = 42 * 7 + 6."""
    parts = shares(model, data, 7, 7, 42, epoch=0, order=torch.arange(300))
    assert sorted(part.n for part in parts) == [0, 1, 1, 1, 1, 1, 1]
    assert all(len(part.data["x"]) == 1 for part in parts)


def test_draws_are_of_the_epoch_step_and_sample(model, data):
    batches = Batches(data, 100, CPU, seed=7)
    order = torch.arange(300)

    def latent(epoch: int, step: int) -> torch.Tensor:
        return batches.share(model, step, order=order, epoch=epoch).data["latent"]

    again = latent(0, 0)
    assert torch.equal(latent(0, 0), again)
    for other in (latent(0, 1), latent(1, 0), batches.share(model, 0).data["latent"]):
        assert not torch.equal(other, again)
    assert not torch.equal(Batches(data, 100, CPU, seed=8).share(model, 0, epoch=0).data["latent"], again)


def test_every_sample_comes_once_an_epoch_in_another_order(data):
    batches = Batches(data, 64, CPU, seed=7)
    assert batches.count == 5
    first, second = batches.order(0), batches.order(1)
    assert torch.equal(first.sort().values, torch.arange(300))
    assert not torch.equal(first, second)


def test_validation_rows_are_in_torch_memory(model, data):
    """Matrix products may round differently in memory of another alignment."""
    whole = Batches(data, 7, CPU, seed=1)
    share = whole.share(model, 3)
    assert share.data["x"].data_ptr() % 64 == 0
    assert torch.equal(share.data["x"], data["x"][21:28])


def test_sums_come_back_to_their_ranks():
    sums = Sums()
    sums.add(torch.tensor(3.0), {"kl": torch.tensor(1.0)}, 0.25)
    sums.add(torch.tensor(1.0), {"kl": torch.tensor(2.0)}, 0.75)
    state = sums.state()
    assert state == {"loss": 1.5, "kl": 1.75}
    states = [state, {"loss": 8.0, "kl": 9.0}]
    assert [Sums.of_rank(states, Context(rank, 2)).state() for rank in (0, 1)] == states
    other = [Sums.of_rank(states, Context(rank, 3)).state() for rank in range(3)]
    assert other == [{"loss": 9.5, "kl": 10.75}, {}, {}]
    assert Sums.of_rank([{}], Context()).state() == {}
