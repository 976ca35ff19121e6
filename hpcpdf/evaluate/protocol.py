"""The scoring stage of a study's member: the published protocol, what improves on it, and where its correlation goes.

Leaves ``<run.out>/scores`` with

==================  =================================================================================================
scores.csv          figures of merit of every test PDF by every method
latent.csv          means of z: of the prior (z1 …) and of the encoder (p1 …)
intermediates.csv   structures on the ways between pairs of test PDFs, measured (not where all have one size)
satellites.csv      the solver's own error with this number of satellites
examples.json       best, typical and worst case; a few ways as structures
summary.json        sizes, epochs, times, error of the predicted distances
==================  =================================================================================================
"""

from __future__ import annotations

import logging
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from hpcpdf.config import RunConfig
from hpcpdf.evaluate.case import Case, open_case, unpadded, write_rows
from hpcpdf.evaluate.factors import mend_disorder, mend_ordering
from hpcpdf.evaluate.fitted_zoom import fit_zooms
from hpcpdf.evaluate.lookup import LookUp
from hpcpdf.evaluate.metrics import Scores, score
from hpcpdf.evaluate.nearest import RealClusters
from hpcpdf.evaluate.satellite_study import DistanceError, distance_error, solver_error
from hpcpdf.evaluate.ways import judge_ways, strips, write_ways
from hpcpdf.model.distances import AssignedDistances
from hpcpdf.model.store import model_metadata
from hpcpdf.pdf.fit import BOUNDS
from hpcpdf.pdf.metrics import best_scale, pearson
from hpcpdf.stage import Context, is_finished, mark_finished, relevant, write_json

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

ONE, BEST, LOOK_UP = "one sample", "best of many", "look-up"
ZOOM = ", zoom"
"""Methods; `ZOOM` is appended where the zoom is fitted."""
FACTORS = ("scale", "atom count", "disorder", "ordering", "latent")
"""Corrected one at a time, starting from `ONE`."""

SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Noise of the distances by which the solver is judged, Å."""

_LATENT_ROWS = 600


def run(config: RunConfig, context: Context) -> Path:
    """Judge ``<run.out>/model`` on the test split of ``<run.out>/dataset``; leaves ``<run.out>/scores``."""
    folder = config.run.out / "scores"
    settings = relevant(config, "clusters", "pdf", "dataset", "model", "training", "study")
    if is_finished(folder, settings):
        log.info("%s: already scored", folder)
        return folder
    start = time.monotonic()
    # Many small products: a pool of threads for each would only be in the way of the other members.
    with threadpool_limits(1):
        summary = _judge(open_case(config), config, folder)
    summary["scoring_seconds"] = round(time.monotonic() - start, 1)
    write_json(folder / "summary.json", summary)
    mark_finished(folder, settings)
    return folder


def _judge(case: Case, config: RunConfig, folder: Path) -> dict[str, Any]:
    training = case.dataset.load("train", ("positions", "pdf"))
    real = RealClusters(unpadded(training["positions"]), case.params, training["pdf"])
    samples = _one_sample(case)
    one = case.positions(samples)
    methods = _reconstructions(case, one, config.study.n_samples)
    log.info("%s: %d PDFs, mean correlation of one sample %.4f", folder, len(case), methods[ONE].pearson.mean())
    methods |= _look_ups(case, real, LookUp(case.dataset.r, training["pdf"]))
    posterior = case.model.structures(case.posterior(case.test))
    methods |= {"scale": methods[ONE + ZOOM], **_factors(case, samples, one, real, posterior)}
    names = [item.name for item in fields(Scores)]
    rows = case.dataset.rows("test")
    write_rows(
        folder / "scores.csv",
        ["method", "row", "n_atoms", *names],
        (
            [method, int(row), int(case.test["n_atoms"][i]), *(float(getattr(scores, name)[i]) for name in names)]
            for method, scores in methods.items()
            for i, row in enumerate(rows)
        ),
    )
    _write_latent(folder / "latent.csv", case)
    ways = judge_ways(case, real, config.study.pairs, config.study.steps)
    if ways is not None:
        write_ways(folder / "intermediates.csv", case, ways)
    examples = _examples(case, one, methods[ONE])
    write_json(folder / "examples.json", {"examples": examples, "strips": strips(case, ways) if ways else []})
    # Atoms in an arbitrary order have no partners in the true structure.
    known = config.model.order == "canonical"
    error = distance_error(posterior, case.truth) if known else DistanceError(0, np.nan, np.nan)
    _write_solver(folder / "satellites.csv", case, (error.between, error.outward))
    trained = model_metadata(config.run.out / "model" / "model.safetensors")
    return {
        "kind": case.model.kind,
        "split": config.dataset.split,
        "seed": config.run.seed,
        "satellites": config.model.satellites,
        "variant": ", ".join(config.study.variants),
        "epochs": trained["epochs"],
        "best_epoch": trained["best_epoch"],
        "training_seconds": round(trained["seconds"], 1),
        "unit_length": case.model.length,
        "distance_rmse": error.between,
        "satellite_distance_rmse": error.outward,
        "not_trilaterated": sum(not np.isfinite(x).all() for x in one),
        "ways": len(ways.ends) if ways else 0,
        "criteria": ways.criteria.__dict__ if ways else None,
    }


def _one_sample(case: Case) -> list[AssignedDistances]:
    """One structure for each PDF: z drawn from the prior, or its mean in the model without sampling."""
    return case.model.structures(_draw(case))


def _draw(case: Case) -> torch.Tensor:
    return case.model.latent_sample(*case.prior, torch.Generator().manual_seed(case.seed))


def _reconstructions(case: Case, one: list[Array], n_samples: int) -> dict[str, Scores]:
    best = _best_of(case, n_samples)
    return {
        ONE: _score(case, one, case.simulate(one)),
        ONE + ZOOM: _zoomed(case, one),
        BEST: _score(case, best, case.simulate(best)),
        BEST + ZOOM: _zoomed(case, best),
    }


def _best_of(case: Case, n_samples: int) -> list[Array]:
    """For each PDF the one of `n_samples` structures whose own PDF, nothing fitted, correlates best with it."""
    mean, spread = case.prior
    chosen = []
    for index in range(len(case)):
        seed = int(np.random.SeedSequence(case.seed, spawn_key=(1, index)).generate_state(1)[0])
        rows = mean[index].expand(n_samples, -1), spread[index].expand(n_samples, -1)
        latent = case.model.latent_sample(*rows, torch.Generator().manual_seed(seed))
        # The model without sampling has one answer.
        latent = latent[:1] if bool((latent == latent[0]).all()) else latent
        found = case.positions(case.model.structures(latent))
        agreement = np.nan_to_num(pearson(case.observed[index], case.simulate(found)), nan=-1.0)
        chosen.append(found[int(agreement.argmax())])
    return chosen


def _zoomed(case: Case, positions: list[Array]) -> Scores:
    fits = fit_zooms(positions, case.observed, case.params)
    zooms = np.nan_to_num(fits.zoom, nan=1.0)
    return _score(case, [x * zoom for x, zoom in zip(positions, zooms, strict=True)], fits.g_calc)


def _look_ups(case: Case, real: RealClusters, look_up: LookUp) -> dict[str, Scores]:
    """The training cluster whose PDF is most like the one in question, as it is and with the zoom fitted."""
    plain = [real.structures[i] for i in look_up.find(case.observed).index]
    stretched = [real.structures[i] for i in look_up.find(case.observed, zoom_range=BOUNDS["zoom"]).index]
    return {LOOK_UP: _score(case, plain, case.simulate(plain)), LOOK_UP + ZOOM: _zoomed(case, stretched)}


def _factors(
    case: Case,
    samples: list[AssignedDistances],
    one: list[Array],
    real: RealClusters,
    posterior: list[AssignedDistances],
) -> dict[str, Scores]:
    """What one correction alone makes of `ONE`; that of the scale is the fitted zoom."""
    counted = case.positions(case.model.structures(_draw(case), case.test["n_atoms"].astype(np.int64)))
    ideal = mend_disorder(one, real)
    known = case.positions(posterior)
    return {
        "atom count": _score(case, counted, case.simulate(counted)),
        "disorder": _score(case, ideal.positions, ideal.g_calc),
        "ordering": _score(case, one, mend_ordering(samples, case.params)),
        "latent": _score(case, known, case.simulate(known)),
    }


def _score(case: Case, positions: list[Array], g_calc: Array) -> Scores:
    """Figures of merit; a structure that is none has a PDF of zeros, which correlates with nothing."""
    scores = score(case.observed, g_calc, case.truth, positions)
    return Scores(**{**scores.__dict__, "pearson": np.nan_to_num(scores.pearson, nan=0.0)})


def _write_latent(path: Path, case: Case) -> None:
    width = case.prior[0].shape[1]
    rows = []
    for split in ("train", "validation", "test"):
        ids = case.dataset.rows(split)[:_LATENT_ROWS]
        part = case.dataset.take(ids)
        own = Case(case.dataset, case.model, part, case.seed)
        both = torch.cat([own.prior[0], own.posterior(part)], dim=1).tolist()
        rows += [[split, int(row), int(n), *z] for row, n, z in zip(ids, part["n_atoms"], both, strict=True)]
    names = [f"{letter}{k + 1}" for letter in "zp" for k in range(width)]
    write_rows(path, ["split", "row", "n_atoms", *names], rows)


def _write_solver(path: Path, case: Case, network: tuple[float, float]) -> None:
    """The solver's own error, at given noise and at the noise of the network's distances."""
    rows = []
    noise = [("solver", sigma, sigma) for sigma in SIGMAS]
    if np.isfinite(network[0]):
        noise.append(("solver, network's noise", *network))
    for source, sigma, outer in noise:
        found = solver_error(
            case.truth,
            case.model.n_satellites,
            sigma,
            length=case.model.length,
            params=case.params,
            seed=case.seed,
            sigma_satellites=outer if np.isfinite(outer) else sigma,
        )
        rows.append(
            [
                case.model.n_satellites,
                source,
                sigma,
                outer,
                float(np.nanmean(found.pearson)),
                float(np.nanstd(found.pearson)),
                float(np.nanmedian(found.rmsd)),
                int(np.isnan(found.rmsd).sum()),
            ]
        )
    header = ["satellites", "source", "sigma", "sigma_satellites", "pearson_mean", "pearson_std", "rmsd_median"]
    write_rows(path, [*header, "failed"], rows)


def _examples(case: Case, one: list[Array], scores: Scores) -> list[dict[str, Any]]:
    order = np.argsort(-scores.pearson, kind="stable")
    roles = {"best": order[0], "typical": order[len(order) // 2], "worst": order[-1]}
    curves = case.simulate(one)
    rows = case.dataset.rows("test")
    return [
        {
            "role": role,
            "row": int(rows[i]),
            "symbol": chemical_symbols[case.test["z"][i]],
            "n_true": len(case.truth[i]),
            "n_found": len(one[i]),
            "pearson": float(scores.pearson[i]),
            "rw": float(scores.rw[i]),
            "r": np.round(case.dataset.r, 6).tolist(),
            "g_obs": np.round(case.observed[i], 5).tolist(),
            "g_calc": np.round(curves[i] * best_scale(case.observed[i], curves[i]), 5).tolist(),
            "true": np.round(case.truth[i], 3).tolist(),
            "found": np.round(one[i], 3).tolist() if np.isfinite(one[i]).all() else [],
        }
        for role, i in roles.items()
    ]
