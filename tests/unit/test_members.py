"""Which trainings a study consists of."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcpdf.config import RunConfig, load_config
from hpcpdf.errors import ConfigError
from hpcpdf.evaluate.members import members

PAPER = Path(__file__).parents[2] / "examples" / "paper.toml"


def study(*changes: str) -> RunConfig:
    base = ("study.models=['cvae-2020','dae-2020']", "clusters.recipe='paper'", "run.out='somewhere'")
    return load_config(None, [*base, *changes])


def test_every_model_on_every_split_with_every_seed() -> None:
    found = members(study("study.splits=['paper','shape']", "study.seeds=[1,2,3]"))
    assert len({member.name for member in found}) == len(found) == 12
    for member in found:
        assert member.name == f"{member.config.dataset.split}-{member.config.model.kind}-seed{member.config.run.seed}"
        assert member.folder == Path("somewhere/members") / member.name
        assert not member.config.study.models, "a member is a single training"


def test_comparisons_change_one_thing_of_the_first_split_and_seed() -> None:
    found = members(study("study.seeds=[4,5]", "study.satellites=[0,11]", "study.variants=['training.kl_weight=0.5']"))
    extra = {member.name: member.config for member in found[4:]}
    assert set(extra) == {
        "paper-cvae-2020-seed4-satellites0",
        "paper-cvae-2020-seed4-klweight0.5",
        "paper-dae-2020-seed4-klweight0.5",
    }
    assert extra["paper-cvae-2020-seed4-satellites0"].model.satellites == 0
    assert extra["paper-dae-2020-seed4-klweight0.5"].training.kl_weight == 0.5
    assert extra["paper-dae-2020-seed4-klweight0.5"].study.variants == ("training.kl_weight=0.5",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("study.variants=['training.kl_weight=1.0']", "would be the same as paper-cvae-2020-seed1"),
        ("study.variants=['training.klweight=1.0']", "did you mean kl_weight"),
        ("study.seeds=[1,1]", "names one twice"),
        ("study.seeds=[]", "at least one"),
    ],
)
def test_what_makes_no_study_is_refused(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        members(study(change))


def test_the_published_study() -> None:
    found = members(load_config(PAPER))
    main = [member for member in found if member.config.model.satellites == 11 and not member.config.study.variants]
    assert [member.config.run.seed for member in main] == [1, 1, 2, 2, 3, 3] * 2
    assert sorted({member.config.model.satellites for member in found}) == [0, 4, 6, 8, 11, 16, 24]
    for member in main:
        section = member.config.training
        assert (member.config.model.latent, section.batch, section.patience) == (2, 20, 50)
    # The published rate, which the limit of epochs does not suit, stands beside the one that is used.
    published = [member.name for member in found if member.config.training.learning_rate == 1e-4]
    assert published == ["paper-cvae-2020-seed1-learningrate1e4", "paper-dae-2020-seed1-learningrate1e4"]
