"""Make the model that ships with the package from a finished run: weights in half precision, and what they are worth.

hpcpdf run examples/default-model.toml
python benchmarks/quality/ship_model.py runs/default-model
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hpcpdf.model.store import DEFAULT, load_model, model_metadata, save_model
from hpcpdf.stage import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run of examples/default-model.toml")
    run: Path = parser.parse_args().run
    weights = run / "model" / "model.safetensors"
    metadata = model_metadata(weights)
    metadata["config"]["run"]["out"] = "runs/default-model"
    metadata["provenance"].pop("host", None)
    metadata["provenance"].pop("command", None)
    save_model(load_model(weights), DEFAULT, half=True, **metadata)
    table = json.loads((run / "evaluate" / "table.json").read_text())
    write_json(DEFAULT.with_suffix(".json"), {**metadata, "evaluation": table})
    print(f"{DEFAULT}: {DEFAULT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
