"""Resolved configurations on disk and on the terminal."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hpcpdf.config import RunConfig, load_config
from hpcpdf.errors import ConfigError, DataError
from hpcpdf.stage import DONE, write_json

CONFIG = "config.json"
"""Name of the resolved configuration inside a run folder."""


def save_config(config: RunConfig) -> Path:
    """Write the resolved configuration into the run folder and return its path."""
    path = config.run.out / CONFIG
    write_json(path, config.model_dump(mode="json"))
    return path


def load_target(target: Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Configuration named by a TOML file, or by the folder of a run that was started from one.

    Raises
    ------
    ConfigError
        If the file is wrong, or the folder holds no run.
    """
    if not target.is_dir():
        return load_config(target, overrides)
    path = target / CONFIG
    try:
        saved = json.loads(path.read_text())
        config = RunConfig.model_validate(saved)
    except FileNotFoundError:
        raise ConfigError(f"{target}: not the folder of a run (it has no {CONFIG})") from None
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError):
        raise ConfigError(f"{path}: damaged; give the TOML file of the run instead") from None
    if overrides:
        raise ConfigError(f"--set cannot change the finished run in {target}; give its TOML file and another run.out")
    # A run folder may have been moved since.
    return config.model_copy(update={"run": config.run.model_copy(update={"out": target})})


def check_writable(folder: Path, name: str) -> None:
    """Refuse, before any work, a result folder that cannot be made.

    Parameters
    ----------
    folder
        Where results shall go.
    name
        The option or key that named it, for the message.

    Raises
    ------
    ConfigError
        If a file is in the way or writing is not permitted.
    """
    present = next(path for path in (folder, *folder.parents, Path()) if path.exists())
    if not present.is_dir():
        raise ConfigError(f"{name} {folder}: {present} is a file, expected a folder")
    try:
        with tempfile.TemporaryDirectory(dir=present, prefix=".hpcpdf."):
            pass
    except OSError as error:
        raise ConfigError(f"{name} {folder}: cannot write into {present} ({error.strerror})") from None


def check_finished(config: RunConfig, folders: Iterable[str]) -> list[str]:
    """Names of the stage folders that are finished, after checking that they were made with `config`.

    Raises
    ------
    ConfigError
        If one was made with other settings; nothing of it is replaced.
    """
    wanted = config.model_dump(mode="json")
    wanted["run"] = {"seed": config.run.seed}
    finished = []
    for name in folders:
        marker = config.run.out / name / DONE
        if not marker.exists():
            continue
        try:
            settings = json.loads(marker.read_text())["settings"]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            raise DataError(f"{marker}: damaged; delete {marker.parent} to make it again") from None
        changed = _differences(settings, wanted)
        if changed:
            raise ConfigError(
                f"{marker.parent}: was made with other settings ({', '.join(changed)}); "
                "choose another run.out or delete that folder"
            )
        finished.append(name)
    return finished


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    changed = []
    for section in sorted(found.keys() & wanted.keys()):
        old, new = found[section], wanted[section]
        if not isinstance(old, dict):
            continue
        changed += [f"{section}.{key}" for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return changed


def to_toml(config: RunConfig) -> str:
    """The configuration as TOML that :func:`hpcpdf.config.load_config` reads back to an equal one.

    Keys whose value is "not set" are shown as comments: TOML has no null.
    """
    lines: list[str] = []
    for section, values in config.model_dump(mode="json").items():
        lines += [f"[{section}]"]
        lines += [f"# {key} =" if value is None else f"{key} = {_toml(value)}" for key, value in values.items()]
        lines += [""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, float):
        return repr(value)
    # Booleans, integers and basic strings are written alike in JSON and TOML.
    return json.dumps(value)
