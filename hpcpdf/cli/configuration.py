"""`hpcpdf config`: show, check and describe configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hpcpdf.cli.options import Overrides

app = typer.Typer(
    help="Show, check or describe a configuration.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

ConfigFile = Annotated[Path | None, typer.Argument(metavar="[CONFIG.toml]", help="Configuration; none: the defaults.")]


@app.command(epilog="Example: hpcpdf config show > my.toml")
def show(config: ConfigFile = None, *, overrides: Overrides = None) -> None:
    """Print the complete configuration, defaults filled in, as TOML."""
    from hpcpdf.config import load_config
    from hpcpdf.launch.settings import to_toml

    typer.echo(to_toml(load_config(config, overrides or ())), nl=False)


@app.command(epilog="Example: hpcpdf config check my.toml --set run.seed=1")
def check(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="Configuration file.")],
    *,
    overrides: Overrides = None,
) -> None:
    """Check a configuration; every mistake is named at once."""
    from hpcpdf.config import load_config

    load_config(config, overrides or ())
    typer.echo(f"{config}: correct")


@app.command(epilog="Example: hpcpdf config schema > hpcpdf.schema.json")
def schema() -> None:
    """Print the JSON schema of the configuration, for editors that complete and check TOML."""
    from hpcpdf.config import RunConfig

    typer.echo(json.dumps(RunConfig.model_json_schema(), indent=2))
