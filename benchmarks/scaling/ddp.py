"""What training's own machinery costs: batches beside a DataLoader, a step beside a plain loop, and ranks.

    python benchmarks/scaling/ddp.py --out benchmarks/scaling/ddp.json

The network and batch of ``examples/default-model.toml`` in float32, one thread a process. Ways take turns within a
round, the two loops after every step, so that what else the machine does meets all of them; every figure is the median
over rounds, with its range.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hpcpdf.config import ModelSection, TrainingSection, load_config
from hpcpdf.dataset.generate import run as generate
from hpcpdf.dataset.reader import open_dataset
from hpcpdf.launch.doctor import available_cpus
from hpcpdf.model.base import ConditionalModel
from hpcpdf.model.store import build, parameter_count
from hpcpdf.stage import Context, provenance, write_json
from hpcpdf.training.batches import Batches
from hpcpdf.training.checkpoint import save_checkpoint
from hpcpdf.training.loop import Trainer
from hpcpdf.training.ranks import context_from_launcher
from hpcpdf.training.train import pdf_batch, training_arrays

SETTINGS = ["clusters.max_atoms=200", "pdf.biso=[0.1,1.8]", "dataset.fractions=[0.01,0.01]"]
SIZES = ModelSection(kind="site-cvae", latent=16, hidden=640)
SECTION = TrainingSection(batch=384, max_epochs=1, noise=0.03)
SEED = 1
WARM = 3  # steps of a process that do not count


class Timed(Trainer):
    """Notes the time of every step, and how much of it goes into its batch; lets another have a turn after each."""

    other: Iterator[object] = iter(())

    def run(self, context: Context) -> dict[str, Any]:
        self.steps_took: list[float] = []
        self.batches_took: list[float] = []
        return super().run(context)

    def _run_epoch(self) -> bool:
        share = self._train.share

        def timed(*given: Any, **more: Any) -> Any:
            start = time.perf_counter()
            found = share(*given, **more)
            self.batches_took.append(time.perf_counter() - start)
            return found

        self._train.share = timed  # type: ignore[method-assign]
        self._last = time.perf_counter()
        return super()._run_epoch()

    def _go_on(self) -> bool:
        goes_on = super()._go_on()
        self.steps_took.append(time.perf_counter() - self._last)
        next(self.other, None)
        self._last = time.perf_counter()
        return goes_on


class Rows(Dataset[dict[str, Tensor]]):
    """The usual data set: one sample at a time out of an HDF5 file."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, None
        with h5py.File(path) as file:
            self._n = len(file["x"])

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if self._file is None:
            self._file = h5py.File(self._path)
        return {name: torch.as_tensor(self._file[name][index]) for name in ("x", "nn", "family", "sites")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=8000, help="clusters")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--scratch", type=Path, help="folder for data")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.worker:
        worker(options.worker)
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        data = make_data(Path(scratch), options.n)
        result = {
            "what": f"site-cvae of {parameter_count(model())} parameters, {len(data['x'])} samples, "
            f"batch {SECTION.batch}, float32, one thread a process",
            "batches": batches(data, Path(scratch), options.rounds),
            "step": steps(data, Path(scratch), options.rounds),
            "ranks": ranks(Path(scratch), options.ranks, options.rounds),
            "processor": processor(),
            "cores": available_cpus(),
            "load": os.getloadavg()[1],
            "torch": torch.__version__,
            "h5py": h5py.__version__,
            "provenance": provenance(),
        }
    print(json.dumps(result, indent=2))
    if options.out:
        write_json(options.out, result)


def model() -> ConditionalModel:
    torch.manual_seed(SEED)
    return build(SIZES, 60.0)


def make_data(scratch: Path, n: int) -> dict[str, Tensor]:
    """Inputs and targets of simulated clusters, also in an HDF5 file and in one for ranks."""
    config = load_config(None, [*SETTINGS, f"clusters.n={n}", f"run.out={scratch}/run", f"run.seed={SEED}"])
    generate(config, Context())
    arrays = open_dataset(config.run.out / "dataset").load("train")
    network = model()
    data = {**network.inputs(pdf_batch(arrays)), **network.targets(training_arrays(arrays))}
    with h5py.File(scratch / "rows.h5", "w") as file:
        for name, tensor in data.items():
            file[name] = tensor.numpy()
    torch.save(data, scratch / "data.pt")
    return data


def batches(data: dict[str, Tensor], scratch: Path, rounds: int) -> dict[str, Any]:
    """Time of a batch, without computing anything on it."""
    network, resident = model(), Batches(data, SECTION.batch, torch.device("cpu"), seed=SEED)

    def ours(noise: float) -> float:
        start = time.perf_counter()
        order = resident.order(0)
        for step in range(resident.count):
            resident.share(network, step, order=order, noise=noise)
        return (time.perf_counter() - start) / resident.count

    def loader(workers: int) -> float:
        found = DataLoader(Rows(scratch / "rows.h5"), SECTION.batch, shuffle=True, num_workers=workers)
        start = time.perf_counter()
        count = sum(1 for _ in found)
        return (time.perf_counter() - start) / count

    ways: dict[str, Callable[[], float]] = {
        "resident": lambda: ours(0.0),
        "resident, with noise": lambda: ours(SECTION.noise),
        "loader": lambda: loader(0),
        f"loader, {available_cpus()} workers": lambda: loader(available_cpus()),
    }
    check_rows(data, scratch)
    for way in ways.values():
        way()
    took = in_turns(ways, rounds)
    faster = {
        f"{name} / {ours}": spread([slow / fast for slow, fast in zip(took[name], took[ours], strict=True)])
        for name in ways
        for ours in ways
        if name.startswith("loader") and ours.startswith("resident")
    }
    return {"milliseconds": {name: spread(values, 1e3) for name, values in took.items()}, "times faster": faster}


def check_rows(data: dict[str, Tensor], scratch: Path) -> None:
    """Both ways give the same samples."""
    found = next(iter(DataLoader(Rows(scratch / "rows.h5"), 64)))
    share = Batches(data, 64, torch.device("cpu"), seed=SEED).share(model(), 0)
    assert all(torch.equal(tensor, share.data[name]) for name, tensor in found.items())


def steps(data: dict[str, Tensor], scratch: Path, rounds: int) -> dict[str, Any]:
    """Time of a step beside a plain loop's, what of it is the batch, and the time of a checkpoint."""
    few = {name: tensor[: SECTION.batch] for name, tensor in data.items()}
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            plain = Plain(data)
            trainer = Timed(model(), data, few, SECTION, Path(folder), SEED)
            trainer.other = iter(plain)
            trainer.run(Context())
            loss = json.loads((Path(folder) / "metrics.jsonl").read_text())["train"]["loss"]
            start = time.perf_counter()
            state = {"model": trainer.model.state_dict(), "optimizer": trainer.optimizer.state_dict(), "settings": ""}
            save_checkpoint(Path(folder), 1, {**state, "best_state": trainer.best_state})
            found["checkpoint"].append(time.perf_counter() - start)
        if abs(loss / plain.loss - 1.0) > 0.05:
            raise SystemExit(f"the loops do not learn the same: loss {loss} and {plain.loss}")
        ours, theirs = trainer.steps_took[WARM:], plain.took[WARM:]
        found["ours"].append(median(ours))
        found["plain"].append(median(theirs))
        found["ratio"].append(median(a / b for a, b in zip(ours, theirs, strict=True)))
        found["batch"].append(sum(trainer.batches_took[WARM:]) / sum(ours))
    return {
        "milliseconds": {name: spread(found[name], 1e3) for name in ("ours", "plain", "checkpoint")},
        "ours / plain": spread(found["ratio"]),
        "batch, share of a step": spread(found["batch"]),
        "loss after the last epoch": {"ours": loss, "plain": plain.loss},
    }


class Plain:
    """The loop as one would write it down; iterating does one step at a time."""

    def __init__(self, data: dict[str, Tensor]) -> None:
        self._data = data
        self.took: list[float] = []
        self.loss = 0.0

    def __iter__(self) -> Iterator[None]:
        data, network = self._data, model()
        optimizer = torch.optim.Adam(network.parameters(), lr=SECTION.learning_rate, fused=True)
        generator = torch.Generator().manual_seed(SEED)
        network.train()
        for rows in torch.randperm(len(data["x"]), generator=generator).split(SECTION.batch):
            start = time.perf_counter()
            batch = {name: tensor[rows] for name, tensor in data.items()}
            batch |= network.draw(len(rows), generator, noisy=True)
            loss, _ = network(network.augment(batch, SECTION.noise), SECTION.kl_weight / 5)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 100.0)
            optimizer.step()
            self.loss += loss.item() * len(rows) / len(data["x"])
            self.took.append(time.perf_counter() - start)
            yield


def ranks(scratch: Path, worlds: list[int], rounds: int) -> dict[str, Any]:
    """Time of a step of the same batch for several numbers of ranks, each a process of one thread."""
    ways = {str(world): lambda world=world: start_ranks(scratch, world) for world in worlds}
    took = in_turns(ways, max(3, rounds // 2))
    first = took[str(worlds[0])] if worlds else []
    return {
        "milliseconds": {name: spread(values, 1e3) for name, values in took.items()},
        f"times faster than {worlds[0]}" if worlds else "": {
            name: spread([a / b for a, b in zip(first, values, strict=True)]) for name, values in took.items()
        },
    }


def start_ranks(scratch: Path, world: int) -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(world):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
        environment |= {name: str(value) for name, value in place.items()}
        command = [sys.executable, __file__, "--worker", str(scratch)]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{world} ranks failed")
    return float(said[0])


def worker(scratch: Path) -> None:
    """One rank: rank 0 prints the median time of a step in seconds."""
    context = context_from_launcher()
    with context.together(), tempfile.TemporaryDirectory(dir=scratch) as own:
        data = torch.load(scratch / "data.pt", weights_only=True)
        folder = Path(context.gather(own)[0])
        few = {name: tensor[: SECTION.batch] for name, tensor in data.items()}
        trainer = Timed(model(), data, few, SECTION, folder, SEED)
        trainer.run(context)
        context.gather(None)
    if context.rank == 0:
        print(median(trainer.steps_took[WARM:]))


def in_turns(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            took[name].append(way())
    return took


def spread(values: list[float], scale: float = 1.0) -> dict[str, float]:
    low, middle, high = (round(scale * f(values), 4) for f in (min, median, max))
    return {"median": middle, "min": low, "max": high}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
