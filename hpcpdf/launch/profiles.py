"""What a job gets on a cluster, said once for each site in a small TOML file.

Three profiles come with the package: `local`, `cpu-cluster` and `gpu-cluster`. A site's own is a file
``~/.config/hpcpdf/profiles/NAME.toml`` (or in the folder that ``HPCPDF_PROFILES`` names) that says what differs:

    base = "gpu-cluster"
    partition = "batch"
    account = "materials"
    modules = ["cuda/12"]

    [train]
    partition = "gpu"
    nodes = 2
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from hpcpdf.config import Section, explain, read_toml
from hpcpdf.errors import ConfigError

FOLDER = "HPCPDF_PROFILES"
"""Environment variable that names the folder of the user's own profiles."""

Count = Annotated[int, Field(ge=1)]
Word = Annotated[str, Field(pattern=r"^\S*$")]
"""A value for one option of sbatch; empty takes back what a lower layer says."""


class Request(Section):
    """What one job asks for. None: as the profile says for all stages, else as the cluster does by itself."""

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    """Features that a machine must have."""
    nodes: Count | None = None
    """Machines; of each job of an array."""
    tasks_per_node: Count | None = None
    """Ranks on each machine."""
    cpus_per_task: Count | None = None
    """Processors of a rank, which it uses with as many threads."""
    gpus_per_node: Annotated[int, Field(ge=0)] | None = None
    mem_per_cpu: Annotated[str, Field(pattern=r"^(\d+[KMGT]?)?$")] | None = None
    """Main memory for each processor, such as 2G."""
    exclusive: bool | None = None
    """Whether no other job may use the machines."""
    minutes: Count | None = None
    """Time limit."""


class Profile(Request):
    """How jobs are submitted at a site; a stage's own section wins over what is said for all."""

    name: str = ""
    nodes: Count = 1
    tasks_per_node: Count = 1
    cpus_per_task: Count = 1
    gpus_per_node: Annotated[int, Field(ge=0)] = 0
    exclusive: bool = False
    minutes: Count = 60

    mpi: Annotated[str, Field(pattern=r"^\w+$")] = "pmi2"
    """Plugin by which srun starts MPI ranks; ``srun --mpi=list`` names them, ``hpcpdf doctor`` tries it."""
    modules: tuple[Word, ...] = ()
    """Environment modules loaded at the start of every job."""
    setup: tuple[str, ...] = ()
    """Shell lines at the start of every job, after the modules."""
    scratch: Annotated[str, Field(pattern=r'^[^"`\n]*$')] = ""
    """Fast folder on each machine for temporary files (TMPDIR of the ranks); may hold shell variables such as $USER."""
    array_parallelism: Count = 100
    """Most jobs of an array that run at the same time."""
    signal_seconds: Annotated[int, Field(ge=30)] = 120
    """How long before its time limit a job is asked to save its work and queue again."""
    mail: Word = ""
    """Address that is told when a job ends or fails."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Other options of sbatch, without their dashes: ``{reservation = "course"}``."""

    generate: Request = Request()
    train: Request = Request()
    reconstruct: Request = Request()
    evaluate: Request = Request()
    report: Request = Request()

    @field_validator("options")
    @classmethod
    def _only_others(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key, value in options.items():
            if key in _TAKEN:
                raise ValueError(f"{key} is set by hpcpdf or by a key of its own; remove it here")
            if not re.fullmatch("[a-z][a-z-]*", key) or not isinstance(value, str | int) or value is False:
                raise ValueError(
                    f"{key}: expected long options without dashes in front, with text, whole numbers or true"
                )
        return options

    def request(self, stage: str = "default") -> Request:
        """What a job of a stage asks for; ``default``: what is said for all stages.

        Raises
        ------
        ConfigError
            If there is no such stage.
        """
        shared = {key: getattr(self, key) for key in Request.model_fields}
        if stage == "default":
            return Request(**shared)
        own = getattr(self, stage, None)
        if not isinstance(own, Request):
            raise ConfigError(f"profile {self.name}: no stage {stage!r}; expected one of {', '.join(_STAGES)}")
        return Request(**{**shared, **{key: value for key, value in own if value is not None}})

    def submit_parameters(
        self,
        stage: str = "default",
        *,
        nodes: int | None = None,
        tasks: int | None = None,
        gpus: int | None = None,
        cpus: int | None = None,
        minutes: int | None = None,
        mpi: bool = True,
    ) -> dict[str, Any]:
        """Keyword arguments of ``submitit.SlurmExecutor.update_parameters`` (``slurm_`` before each for AutoExecutor).

        Parameters
        ----------
        stage
            Whose section to use.
        nodes, tasks, gpus, cpus, minutes
            Instead of what the profile says: machines, ranks on all of them together, graphics processors on each
            machine, processors of a rank, time limit.
        mpi
            Whether the ranks meet through MPI.

        Raises
        ------
        ConfigError
            If `tasks` cannot be spread evenly over the machines.
        """
        ask = self.request(stage)
        machines = ask.nodes if nodes is None else nodes
        per_node, rest = (ask.tasks_per_node, 0) if tasks is None else divmod(tasks, machines or 1)
        if rest or not per_node:
            raise ConfigError(
                f"profile {self.name}: {tasks} ranks on {machines} nodes; expected a multiple of {machines}"
            )
        threads = ask.cpus_per_task if cpus is None else cpus
        graphics = ask.gpus_per_node if gpus is None else gpus
        given = {
            "partition": ask.partition,
            "account": ask.account,
            "qos": ask.qos,
            "constraint": ask.constraint,
            "mem_per_cpu": ask.mem_per_cpu,
            "gpus_per_node": graphics,
            "mail_user": self.mail,
            "mail_type": "END,FAIL" if self.mail else "",
        }
        return {
            **{key: value for key, value in given.items() if value},
            "nodes": machines,
            "ntasks_per_node": per_node,
            "cpus_per_task": threads,
            "time": ask.minutes if minutes is None else minutes,
            "array_parallelism": self.array_parallelism,
            "signal_delay_s": self.signal_seconds,
            "setup": self._setup(machines or 1, threads or 1),
            # A rank that dies must not leave the others waiting; and srun does not take over sbatch's cpus-per-task.
            "srun_args": [
                "--kill-on-bad-exit=1",
                f"--cpus-per-task={threads}",
                f"--mpi={self.mpi if mpi else 'none'}",
            ],
            "additional_parameters": {
                "requeue": True,
                **({"exclusive": True} if ask.exclusive else {}),
                **self.options,
            },
            # Sites that check these keys know none called submitit.
            "wckey": None,
        }

    def _setup(self, machines: int, threads: int) -> list[str]:
        lines = [f"module load {module}" for module in self.modules] + list(self.setup)
        if self.scratch:
            everywhere = "" if machines == 1 else f"srun --ntasks={machines} --ntasks-per-node=1 "
            lines += [f'export TMPDIR="{self.scratch}"', f'{everywhere}mkdir -p "$TMPDIR"']
        return [*lines, f"export OMP_NUM_THREADS={threads}"]


_TAKEN = {
    "account",
    "array",
    "constraint",
    "cpus-per-task",
    "dependency",
    "error",
    "exclusive",
    "gpus-per-node",
    "job-name",
    "mail-type",
    "mail-user",
    "mem-per-cpu",
    "nodes",
    "ntasks",
    "ntasks-per-node",
    "output",
    "partition",
    "qos",
    "requeue",
    "signal",
    "time",
    "wckey",
}
_STAGES = tuple(key for key, field in Profile.model_fields.items() if field.annotation is Request)


def profile_names() -> list[str]:
    """Names of all profiles, the user's own and those that come with the package."""
    return sorted({path.stem for folder in (own_folder(), _built_in()) for path in folder.glob("*.toml")})


def own_folder() -> Path:
    """Folder of the user's own profiles; it need not exist."""
    named = os.environ.get(FOLDER)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "hpcpdf/profiles"


def load_profile(name: str) -> Profile:
    """Read a profile with all that it builds on.

    Parameters
    ----------
    name
        Of a profile, or the path of a file that ends in ``.toml``.

    Raises
    ------
    ConfigError
        If there is no such profile, or one of its files is wrong; every wrong key is named at once.
    """
    layers: list[tuple[Path, dict[str, Any]]] = []
    path: Path | None = _find(name, above=None)
    while path is not None:
        if path in [seen for seen, _ in layers]:
            raise ConfigError(f"{path}: base leads back to this file; base it on {', '.join(_shipped())}")
        data = read_toml(path)
        base = data.pop("base", None)
        _check(path, data)
        layers.append((path, data))
        path = _below(path, base)
    merged: dict[str, Any] = {}
    for _, data in reversed(layers):
        merged = _merge(merged, data)
    return Profile.model_validate({**merged, "name": Path(name).stem})


def _find(name: str, above: Path | None) -> Path:
    """File of a profile; `above` asks for it as its base, and gets the package's own if it has the same name."""
    if name.endswith(".toml"):
        return Path(name)
    for folder in (own_folder(), _built_in()):
        path = folder / f"{name}.toml"
        if path.exists() and path != above:
            return path
    asked = "" if above is None else f"{above}: base: "
    raise ConfigError(
        f"{asked}no profile {name!r}; there are {', '.join(profile_names())}; your own go into {own_folder()}"
    )


def _below(path: Path, base: Any) -> Path | None:
    if base is None:
        # The user's file of a shipped name changes what is shipped.
        shipped = path.parent == own_folder() and path.stem in _shipped()
        return _built_in() / path.name if shipped else None
    if not isinstance(base, str) or not base:
        raise ConfigError(f"{path}: base: expected the name of a profile (got {base!r})")
    return _find(base, above=path)


def _check(path: Path, data: Mapping[str, Any]) -> None:
    if "name" in data:
        raise ConfigError(f"{path}: name: a profile is called as its file; remove this key")
    try:
        Profile.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, Profile)}") from None


def _merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; anything else replaces what is below."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _shipped() -> list[str]:
    return sorted(path.stem for path in _built_in().glob("*.toml"))


def _built_in() -> Path:
    """Profiles beside this file; in an editable installation those of the checkout."""
    installed = Path(__file__).with_name("site_profiles")
    return installed if installed.is_dir() else Path(__file__).parents[2] / "slurm/profiles"
