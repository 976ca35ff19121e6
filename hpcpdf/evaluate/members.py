"""The members of a study: which trainings it consists of, and where each lives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hpcpdf.config import RunConfig, StudySection, changed_config
from hpcpdf.errors import ConfigError
from hpcpdf.stage import DONE

MEMBERS = "members"
"""Folder of the members inside a study's folder."""
SCORES = "scores"
"""Folder of a member's last stage."""


@dataclass(frozen=True)
class Member:
    """One training of a study.

    Attributes
    ----------
    name
        Of its folder below ``<out>/members``.
    config
        Its complete configuration.
    """

    name: str
    config: RunConfig

    @property
    def folder(self) -> Path:
        return self.config.run.out

    @property
    def finished(self) -> bool:
        """Whether its last stage is."""
        return (self.folder / SCORES / DONE).exists()


def members(config: RunConfig) -> list[Member]:
    """The members of a study, the most wanted first.

    Raises
    ------
    ConfigError
        If a variant cannot be applied, or gives a member that is there already.
    """
    study = config.study
    found: dict[str, RunConfig] = {}

    def add(split: str, kind: str, seed: int, *changes: str) -> None:
        name = "-".join([split, kind, f"seed{seed}", *(_slug(change) for change in changes)])
        base = [f"dataset.split={split}", f"model.kind={kind}", f"run.seed={seed}"]
        changed = changed_config(config, [*base, *changes])
        variant = tuple(change for change in changes if change in study.variants)
        shared = StudySection(n_samples=study.n_samples, pairs=study.pairs, steps=study.steps, variants=variant)
        run = changed.run.model_copy(update={"out": config.run.out / MEMBERS / name})
        member = changed.model_copy(update={"study": shared, "run": run})
        same = next((other for other, one in found.items() if _same(one, member)), None)
        if same is not None:
            raise ConfigError(f"study: {name} would be the same as {same}; leave it out")
        found[name] = member

    for split in study.splits:
        for seed in study.seeds:
            for kind in study.models:
                add(split, kind, seed)
    if study.models:
        first = (study.splits[0], study.models[0], study.seeds[0])
        for count in study.satellites:
            if count != config.model.satellites:
                add(*first, f"model.satellites={count}")
        for change in study.variants:
            for kind in study.models:
                add(study.splits[0], kind, study.seeds[0], change)
    return [Member(name, one) for name, one in found.items()]


def _same(one: RunConfig, other: RunConfig) -> bool:
    return one.model_copy(update={"run": other.run, "study": other.study}) == other and one.run.seed == other.run.seed


def _slug(change: str) -> str:
    key, _, value = change.partition("=")
    return re.sub(r"[^A-Za-z0-9.]+", "", f"{key.rsplit('.', 1)[-1]}{value}")
