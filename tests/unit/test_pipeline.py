"""The order of stages, what is skipped, and what is refused, with stages that only leave a mark."""

from __future__ import annotations

import json

import pytest

from hpcpdf.config import load_config
from hpcpdf.errors import ConfigError, DataError, LaunchError
from hpcpdf.launch import pipeline
from hpcpdf.launch.settings import load_target, to_toml
from hpcpdf.stage import Context, is_finished, mark_finished, relevant

SECTIONS = {"dataset": ("clusters", "pdf", "dataset"), "model": ("clusters", "model", "training")}


class FakeStage:
    """Stands in for a stage module: counts the work it really does."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.worked = 0

    def run(self, config, context):
        folder = config.run.out / self.folder
        settings = relevant(config, *SECTIONS.get(self.folder, ("reconstruct",)))
        if not is_finished(folder, settings):
            self.worked += 1
            folder.mkdir(parents=True, exist_ok=True)
            mark_finished(folder, settings)
        return folder


@pytest.fixture
def stages(monkeypatch):
    fakes = {stage.module: FakeStage(stage.folder) for stage in pipeline.STAGES}
    monkeypatch.setattr(pipeline, "import_module", fakes.__getitem__)
    return {stage.name: fakes[stage.module] for stage in pipeline.STAGES}


def _config(tmp_path, *overrides):
    return load_config(None, [f"run.out={tmp_path / 'run'}", *overrides])


def test_all_stages_run_once_in_order(tmp_path, stages):
    said = []
    results = pipeline.run_pipeline(_config(tmp_path), Context(), say=said.append)
    assert list(results) == ["generate", "train", "reconstruct", "evaluate", "report"]
    assert [path.name for path in results.values()] == [stage.folder for stage in pipeline.STAGES]
    pipeline.run_pipeline(_config(tmp_path), Context(), say=said.append)
    assert {fake.worked for fake in stages.values()} == {1}
    assert sum("finished already" in line for line in said) == 5


def test_the_resolved_configuration_is_saved_and_read_back(tmp_path, stages):
    config = _config(tmp_path, "clusters.n=12")
    pipeline.run_pipeline(config, Context(), say=lambda line: None)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["clusters"]["n"] == 12
    assert load_target(tmp_path / "run") == config


def test_a_moved_run_folder_is_read_where_it_is(tmp_path, stages):
    pipeline.run_pipeline(_config(tmp_path), Context(), say=lambda line: None)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert load_target(tmp_path / "moved").run.out == tmp_path / "moved"


def test_other_settings_in_a_used_folder_are_refused_before_any_work(tmp_path, stages):
    config = _config(tmp_path)
    pipeline.run_pipeline(config, Context(), pipeline.named(["generate", "train"]), say=lambda line: None)
    saved = (tmp_path / "run" / "config.json").read_text()
    with pytest.raises(ConfigError, match=r"model: was made with other settings \(training\.batch\)"):
        pipeline.run_pipeline(_config(tmp_path, "training.batch=7"), Context(), say=lambda line: None)
    assert stages["reconstruct"].worked == 0
    assert (tmp_path / "run" / "config.json").read_text() == saved


def test_a_later_section_may_change_before_its_stage_ran(tmp_path, stages):
    pipeline.run_pipeline(_config(tmp_path), Context(), pipeline.named(["generate"]), say=lambda line: None)
    pipeline.run_pipeline(_config(tmp_path, "training.batch=7"), Context(), say=lambda line: None)
    assert stages["generate"].worked == 1
    assert stages["train"].worked == 1


def test_only_the_first_rank_speaks_and_writes(tmp_path, stages):
    said = []
    pipeline.run_pipeline(_config(tmp_path), Context(rank=1, world=2), pipeline.named(["generate"]), say=said.append)
    assert not said
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_stage_that_stops_early_ends_the_run(tmp_path, stages, monkeypatch):
    monkeypatch.setattr(stages["train"], "run", lambda config, context: config.run.out / "model")
    with pytest.raises(LaunchError, match="train stopped before its end"):
        pipeline.run_pipeline(_config(tmp_path), Context(), say=lambda line: None)
    assert stages["generate"].worked == 1
    assert stages["reconstruct"].worked == 0


def test_a_stage_is_refused_before_what_it_needs(tmp_path, stages):
    with pytest.raises(DataError, match=r"run/dataset: train needs what generate makes"):
        pipeline.run_pipeline(_config(tmp_path), Context(), pipeline.named(["train"]), say=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(ConfigError, match="is a file, expected a folder"):
        pipeline.plan(_config(tmp_path))


def test_unknown_stage_names_the_known_ones():
    with pytest.raises(ConfigError, match="expected one of generate, train"):
        pipeline.named(["genrate"])


def test_toml_round_trip_of_every_kind_of_value(tmp_path):
    config = _config(tmp_path, "pdf.qmin=[0,2]", "training.max_minutes=1.5", 'clusters.elements=["Pt","Au"]')
    path = tmp_path / "shown.toml"
    path.write_text(to_toml(config))
    assert load_config(path) == config
