"""Run configuration: one TOML file, checked as a whole before anything starts."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hpcpdf.errors import ConfigError

Family = Literal["fcc", "sc", "bcc", "hcp", "octahedron", "decahedron", "icosahedron"]
FAMILIES: tuple[Family, ...] = get_args(Family)

Span = tuple[float, float]
"""A closed interval; drawn from uniformly, per sample."""

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class Section(BaseModel):
    """A frozen part of the configuration that rejects keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RunSection(Section):
    """Where a run lives and what it is seeded with."""

    out: Path = Path("runs/default")
    seed: Annotated[int, Field(ge=0)] = 0


class ClustersSection(Section):
    """Which clusters are generated.

    ``recipe="paper"`` is the published FCC data set (3137 clusters unless `n` asks for fewer);
    ``recipe="families"`` draws `n` clusters evenly from `families`.
    """

    recipe: Literal["paper", "families"] = "families"
    families: tuple[Family, ...] = FAMILIES
    n: Annotated[int, Field(ge=1)] = 3137
    min_atoms: Annotated[int, Field(ge=2)] = 5
    max_atoms: Annotated[int, Field(ge=2, le=1000)] = 200
    elements: tuple[str, ...] = ()
    """Symbols to draw from; empty: all 28 transition metals of the reference."""
    nn_spread: Annotated[float, Field(ge=0.0, le=0.1)] = 0.03
    """Half width of the relative spread of the nearest-neighbour distance."""

    @model_validator(mode="after")
    def _ordered(self) -> ClustersSection:
        if self.min_atoms > self.max_atoms:
            raise ValueError(f"min_atoms = {self.min_atoms} is above max_atoms = {self.max_atoms}")
        if not self.families:
            raise ValueError("families is empty; name at least one")
        return self


class PdfSection(Section):
    """Instrument and sample parameters: a number, or [low, high] drawn per sample. Units Å, 1/Å, Å^2."""

    rmax: Annotated[float, Field(gt=1.0)] = 30.1
    rstep: Annotated[float, Field(gt=0.0)] = 0.1
    qmin: float | Span = 0.8
    qmax: float | Span = 25.0
    qdamp: float | Span = 0.04
    qbroad: float | Span = 0.0
    delta1: float | Span = 0.0
    delta2: float | Span = 0.0
    biso: float | Span = 0.3

    @field_validator("qmin", "qmax", "qdamp", "qbroad", "delta1", "delta2", "biso")
    @classmethod
    def _interval(cls, value: float | Span) -> float | Span:
        low, high = value if isinstance(value, tuple) else (value, value)
        if not 0.0 <= low <= high:
            raise ValueError(f"expected a number >= 0 or [low, high] with 0 <= low <= high, got {value}")
        return value

    @model_validator(mode="after")
    def _some_signal(self) -> PdfSection:
        qmin = self.qmin[1] if isinstance(self.qmin, tuple) else self.qmin
        qmax = self.qmax[0] if isinstance(self.qmax, tuple) else self.qmax
        if qmin >= qmax:
            raise ValueError(f"qmin reaches {qmin} but qmax can be {qmax}; expected qmin < qmax")
        return self


class DatasetSection(Section):
    """How the data set is stored and split."""

    shard_size: Annotated[int, Field(ge=1)] = 512
    split: Literal["paper", "shape"] = "shape"
    fractions: tuple[Fraction, Fraction] = (0.1, 0.1)
    """Validation and test shares of the ``shape`` split. ``paper`` keeps the ratio 2400 : 600 : 137."""

    @model_validator(mode="after")
    def _something_left(self) -> DatasetSection:
        if sum(self.fractions) >= 1.0:
            raise ValueError(f"fractions = {list(self.fractions)} leave nothing to train on; expected a sum below 1")
        return self


class ModelSection(Section):
    """Which network."""

    kind: Literal["site-cvae", "cvae-2020", "dae-2020"] = "site-cvae"
    latent: Annotated[int, Field(ge=1)] = 16
    hidden: Annotated[int, Field(ge=8)] = 512
    satellites: Annotated[int, Field(ge=0)] = 11
    order: Literal["canonical", "arbitrary"] = "canonical"
    """Order of the atoms that the dense networks learn; ``arbitrary`` is there to show what an order is worth."""
    pdf_scale: Literal["standard", "maximum"] = "standard"
    """How the dense networks read a PDF: divided by its maximum, and with ``standard`` each point r also brought to
    zero mean and unit spread over the training split. ``maximum`` is there to show what that is worth."""


class TrainingSection(Section):
    """Optimiser, stopping and checkpoints."""

    batch: Annotated[int, Field(ge=1)] = 256
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate: constant, or falling to zero over `max_epochs` along a cosine."""
    max_epochs: Annotated[int, Field(ge=1)] = 200
    patience: Annotated[int, Field(ge=1)] = 50
    max_minutes: Annotated[float, Field(gt=0.0)] | None = None
    """Wall-clock limit; the best checkpoint so far is kept. None: no limit."""
    kl_weight: Annotated[float, Field(ge=0.0)] = 1.0
    noise: Annotated[float, Field(ge=0.0)] = 0.0
    """Largest relative amplitude of the noise added to the training PDFs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products; the parameters stay in float32."""
    threads: Annotated[int, Field(ge=1)] | None = None


class ReconstructSection(Section):
    """Sampling, ranking and refinement."""

    n_samples: Annotated[int, Field(ge=1)] = 100
    top: Annotated[int, Field(ge=1)] = 10
    refine: bool = False
    r_range: tuple[float, float] = (1.5, 20.0)
    split: Literal["train", "validation", "test"] = "test"
    limit: Annotated[int, Field(ge=1)] | None = None
    """At most this many PDFs of the split; None: all."""

    @model_validator(mode="after")
    def _range(self) -> ReconstructSection:
        if not 0.0 <= self.r_range[0] < self.r_range[1]:
            raise ValueError(f"r_range = {list(self.r_range)}: expected 0 <= low < high")
        return self


class StudySection(Section):
    """Several trainings side by side, judged by the published protocol. Without `models` a run is a single training.

    Every model is trained on every split with every seed. The first split and seed then serve the comparisons: the
    first model with other numbers of satellites, and every model with each of `variants`.
    """

    models: tuple[Literal["cvae-2020", "dae-2020"], ...] = ()
    splits: tuple[Literal["paper", "shape"], ...] = ("paper",)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (1,)
    satellites: tuple[Annotated[int, Field(ge=0)], ...] = ()
    variants: tuple[str, ...] = ()
    """Each one change of the configuration, written as for ``--set``, for example ``training.kl_weight=1.0``."""
    n_samples: Annotated[int, Field(ge=1)] = 100
    """Structures drawn for each PDF where the best of them is wanted."""
    pairs: Annotated[int, Field(ge=2)] = 60
    """Pairs of PDFs between which the latent space is crossed."""
    steps: Annotated[int, Field(ge=3)] = 9
    """Structures on each way, both ends included."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Members trained at the same time on this machine."""

    @model_validator(mode="after")
    def _distinct(self) -> StudySection:
        for name in ("models", "splits", "seeds", "satellites", "variants"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} = {list(values)}: names one twice")
        if self.models and not (self.splits and self.seeds):
            raise ValueError("splits and seeds need at least one value each")
        return self


class RunConfig(Section):
    """The whole pipeline."""

    run: RunSection = RunSection()
    clusters: ClustersSection = ClustersSection()
    pdf: PdfSection = PdfSection()
    dataset: DatasetSection = DatasetSection()
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    reconstruct: ReconstructSection = ReconstructSection()
    study: StudySection = StudySection()


def load_config(path: str | Path | None, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a TOML file, apply ``a.b=value`` overrides and check everything.

    Parameters
    ----------
    path
        TOML file; None starts from the defaults.
    overrides
        ``section.key=value`` strings; the value is parsed as TOML, else taken as a plain string.

    Raises
    ------
    ConfigError
        Naming the file and every offending key at once, with the nearest known key.
    """
    where = "command line" if path is None else str(path)
    data: dict[str, Any] = {}
    if path is not None:
        data = read_toml(Path(path))
    for text in overrides:
        _apply_override(data, text)
    return _checked(data, where)


def changed_config(config: RunConfig, overrides: Iterable[str]) -> RunConfig:
    """`config` with ``section.key=value`` changes.

    Raises
    ------
    ConfigError
        If a change is not possible.
    """
    data = config.model_dump(mode="json")
    changes = list(overrides)
    for text in changes:
        _apply_override(data, text)
    return _checked(data, ", ".join(changes))


def _checked(data: dict[str, Any], where: str) -> RunConfig:
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain(error, RunConfig)}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file.

    Raises
    ------
    ConfigError
        If it cannot be read or is not TOML.
    """
    try:
        with path.open("rb") as handle:
            return tomllib.load(handle)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, expected a TOML file") from None
    except PermissionError:
        raise ConfigError(f"{path}: no permission to read it") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file; expected TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _apply_override(data: dict[str, Any], text: str) -> None:
    key, separator, raw = text.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise ConfigError(f"--set {text}: expected section.key=value, for example --set run.seed=1")
    try:
        value: Any = tomllib.loads(f"value = {raw}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        value = raw.strip()
    node = data
    for part in parts[:-1]:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {text}: {part} is a value, not a section")
        node = child
    node[parts[-1]] = value


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """Everything that is wrong, in one line, with the nearest known key for each that is not known."""
    messages = []
    for item in error.errors():
        location = [str(part) for part in item["loc"] if not str(part).startswith(("float", "tuple", "function"))]
        name = ".".join(location)
        if item["type"] == "extra_forbidden":
            known = _known_keys(root, location[:-1])
            close = difflib.get_close_matches(location[-1], known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
            messages.append(f"unknown key {name}; {hint}")
        else:
            text = item["msg"].removeprefix("Value error, ")
            messages.append(f"{name}: {text} (got {item['input']!r})" if name else text)
    return "; ".join(dict.fromkeys(messages))


def _known_keys(root: type[BaseModel], location: list[str]) -> list[str]:
    model: Any = root
    for part in location:
        field = model.model_fields.get(part)
        if field is None:
            return []
        model = field.annotation
    fields: Mapping[str, Any] = getattr(model, "model_fields", {})
    return list(fields)
