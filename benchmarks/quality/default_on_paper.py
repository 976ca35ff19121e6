"""The shipped model on the published test split: best of 100 samples, no refinement beyond the fit.

    hpcpdf generate examples/paper-sites.toml
    python benchmarks/quality/default_on_paper.py runs/paper-sites

It has not seen this data set; its own training set holds these ideal shapes among some 100 000 others.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import h5py
import numpy as np

from hpcpdf.config import ReconstructSection
from hpcpdf.dataset.reader import open_dataset
from hpcpdf.model.store import load_model
from hpcpdf.reconstruct.batch import read_results, reconstruct_file
from hpcpdf.stage import Context, provenance, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder with the published data set")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("default-on-paper.json"))
    options = parser.parse_args()
    dataset = open_dataset(options.run / "dataset" / "dataset.h5")
    arrays = dataset.load("test", ("pdf", "z", "params", "n_atoms"))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "test.h5"
        with h5py.File(source, "w") as file:
            file["r"] = dataset.r
            for name in ("pdf", "z", "params"):
                file[name] = arrays[name]
        section = ReconstructSection(n_samples=options.samples)
        out = reconstruct_file(source, Path(folder) / "out.h5", load_model(), section, Context(), seed=1)
        found = read_results(out)
    spread = np.nanstd(found["rw_samples"], axis=1)
    right = found["n_atoms"] == arrays["n_atoms"]
    summary = {
        "pdfs": len(right),
        "samples": options.samples,
        "rw_median": np.median(found["rw"]),
        "rw_mean": found["rw"].mean(),
        "rw_max": found["rw"].max(),
        "atoms_exact": right.mean(),
        "rw_of_samples_std_median": np.median(spread),
        "rw_of_samples_std_min": spread.min(),
        "rw_of_samples_p10_p50_p90": np.median(np.nanpercentile(found["rw_samples"], [10, 50, 90], axis=1), axis=1),
        "provenance": {key: value for key, value in provenance().items() if key not in ("host", "command")},
    }
    write_json(options.out, summary)
    for key, value in summary.items():
        print(f"{key:28s} {value}")


if __name__ == "__main__":
    main()
