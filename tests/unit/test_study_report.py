"""The report of a study: figures that can be read, numbers as in the files, and what is missing told."""

from __future__ import annotations

import csv
import html as html_text
import json
import re
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import study_cases
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.stats import binomtest

from hpcpdf.config import load_config
from hpcpdf.errors import DataError
from hpcpdf.evaluate.table import PAPER
from hpcpdf.report import study_figures, study_report, study_tables, study_text
from hpcpdf.report.study_data import Study, read_study
from hpcpdf.report.study_drawings import Drawing, drawings
from hpcpdf.report.study_structures import strip_figure
from hpcpdf.stage import Context

MEMBERS = (
    *study_cases.names(seeds=(1, 2))[:8],
    "paper-cvae-2020-seed1-satellites4",
    "paper-dae-2020-seed1-orderarbitrary",
)
FIGURES = ("pearson", "factors", "latent", "strip-1", "strip-2", "validity", "fits", "atoms", "satellites")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Figure]]:
    """A study with its report, and the figures as they were saved."""
    folder = study_cases.write_study(tmp_path_factory.mktemp("study") / "paper", MEMBERS)
    kept: dict[str, Figure] = {}

    def keep(study: Study) -> Iterator[Drawing]:
        for one in drawings(study):
            kept[one.name] = one.figure
            yield one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_report, "drawings", keep)
        study_report.write_study(folder)
    return folder, kept


@pytest.fixture(scope="module")
def out(drawn: tuple[Path, dict[str, Figure]]) -> Path:
    return drawn[0]


@pytest.fixture(scope="module")
def figures(drawn: tuple[Path, dict[str, Figure]]) -> dict[str, Figure]:
    return drawn[1]


@pytest.fixture(scope="module")
def study(out: Path) -> Study:
    return read_study(out)


def page_of(folder: Path) -> str:
    return (folder / "report" / "report.html").read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """What a reader sees: tags and scripts taken away."""
    shown = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.S)
    return re.sub(r"\s+", " ", html_text.unescape(re.sub(r"<[^>]+>", " ", shown))).replace("R w", "R_w")


def copy(out: Path, to: Path) -> Path:
    """The study without its report."""
    return Path(shutil.copytree(out, to, ignore=shutil.ignore_patterns("report")))


def test_every_figure_is_there_as_bitmap_and_vectors(out: Path) -> None:
    for name in (*FIGURES, "learning"):
        assert (out / "report" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert b"/Subtype /Image" not in (out / "report" / f"{name}.pdf").read_bytes()


@pytest.mark.parametrize("name", [*FIGURES, "learning"])
def test_no_text_overlaps_or_is_cut_off(figures: dict[str, Figure], name: str) -> None:
    figure = figures[name]
    renderer = FigureCanvasAgg(figure).get_renderer()
    # Legends take their places when they are drawn.
    figure.draw_without_rendering()
    sheet = figure.bbox
    boxes = []
    for text in figure.findobj(Text):
        if not (text.get_visible() and text.get_text().strip()) or outside_view(figure, text):
            continue
        box = text.get_window_extent(renderer)
        assert min(box.x0 - sheet.x0, box.y0 - sheet.y0, sheet.x1 - box.x1, sheet.y1 - box.y1) > -1, text.get_text()
        assert text.get_fontsize() >= 6.5
        boxes.append((text.get_text(), box))
    assert len(boxes) > 8
    for (first, a), (second, b) in combinations(boxes, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide < 1 or high < 1, f"{first!r} over {second!r}"


def outside_view(figure: Figure, text: Text) -> bool:
    """Whether matplotlib does not draw it: a label of a tick outside the limits, or of a hidden axis."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [tick.label1 for tick in drawn_ticks(axis)] + [tick.label2 for tick in drawn_ticks(axis)]
            every = [tick.label1 for tick in (*axis.majorTicks, *axis.minorTicks)]
            every += [tick.label2 for tick in (*axis.majorTicks, *axis.minorTicks)]
            if any(text is one for one in every):
                return not axes.axison or not any(text is one for one in labels)
    return False


def drawn_ticks(axis: Axis) -> list:
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [tick for tick in ticks if low - 1e-9 <= tick.get_loc() <= high + 1e-9]


@pytest.mark.parametrize("name", ["pearson", "factors", "latent", "validity", "satellites", "learning"])
def test_axes_are_named(figures: dict[str, Figure], name: str) -> None:
    for axes in figures[name].axes:
        named_by_ticks = any(label.get_text().isalpha() or "," in label.get_text() for label in axes.get_yticklabels())
        assert axes.get_xlabel() or axes.get_label() == "<colorbar>"
        assert axes.get_ylabel() or named_by_ticks or len(axes.get_shared_y_axes().get_siblings(axes)) > 1


def test_page_opens_without_a_network_and_holds_every_part(out: Path) -> None:
    page = page_of(out)
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", page)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', page))
    text = text_of(page)
    for part in ("Table 1, paper split", "Table 1, shape split", "Choices that the reference leaves open"):
        assert part in text
    assert "How the members were made" in text
    assert "What is missing" not in text
    for name in MEMBERS:
        assert name in text


def test_table_1_says_what_its_file_says_beside_the_published(out: Path) -> None:
    text = text_of(page_of(out))
    table = json.loads((out / "study" / "table1.json").read_text())["splits"]
    for split in ("paper", "shape"):
        for row in table[split]["rows"]:
            column = row["columns"]["pearson"]
            cell = f"{column['mean']:.4f} ± {column['std']:.3f} {', '.join(f'{v:.3f}' for v in column['seeds'])}"
            assert cell in text
        for test in table[split]["tests"]:
            assert f"{test['difference']:+.4f}, p = {test['p_value']:.2g}".replace("-0", "−0") in text
    for row in PAPER:
        assert f"{row.columns['pearson'].mean:.4f} ± {row.columns['pearson'].std:.2f}" in text


def test_other_tables_say_what_their_files_say(out: Path) -> None:
    text = text_of(page_of(out))
    for name in ("satellites", "factors"):
        with (out / "study" / f"{name}.csv").open(newline="") as handle:
            for row in csv.DictReader(handle):
                value = float(row.get("pearson_mean") or row["pearson"])
                assert (f"{value:.4f}" if value != int(value) else f"{value:g}") in text
    for model in json.loads((out / "study" / "interpolation.json").read_text())["models"].values():
        assert all(f"{100 * share:.1f} %" in text for share in (model["valid"], *model["criteria"].values()))


def test_distributions_show_every_pdf_and_the_published_means(study: Study, figures: dict[str, Figure]) -> None:
    paper = figures["pearson"].axes[0]
    scores = [m.scores["one sample"]["pearson"] for m in study.main("paper", "cvae-2020")]
    points = paper.lines[0]
    np.testing.assert_array_equal(points.get_xdata(), np.concatenate(scores))
    marks = {float(line.get_xdata()[0]) for line in paper.lines if line.get_marker() == "D"}
    assert marks == {row.columns["pearson"].mean for row in PAPER}
    other = figures["pearson"].axes[1]
    assert not [line for line in other.lines if line.get_marker() == "D"]


def test_validity_is_that_of_all_pairs_and_seeds(study: Study) -> None:
    points = study_figures.valid_by_fraction(study, "paper", "dae-2020")
    members = study.main("paper", "dae-2020")
    middle = [m.intermediates["valid"][m.intermediates["fraction"] == 0.5] for m in members]
    fraction, share, low, high = points[len(points) // 2]
    assert fraction == 0.5
    assert share == pytest.approx(np.mean(middle))
    assert (low, high) == study_figures.wilson(share, 2 * study_cases.PAIRS)
    criteria = study_figures.criteria_met(study, "paper")
    assert list(criteria) == list(study_cases.CRITERIA)
    inside = [m.intermediates["ok_spread"].reshape(-1, len(points))[:, 1:-1] for m in members]
    assert criteria["spread"]["dae-2020"] == pytest.approx(np.mean(inside))
    for successes, n in ((0, 12), (7, 12), (60, 60)):
        wanted = binomtest(successes, n).proportion_ci(method="wilson")
        assert study_figures.wilson(successes / n, n) == pytest.approx((wanted.low, wanted.high), abs=1e-6)


def test_sentences_follow_the_numbers(study: Study) -> None:
    means = [float(m.scores["one sample"]["pearson"].mean()) for m in study.main("paper", "cvae-2020")]
    published = PAPER[1].columns["pearson"].mean
    side = "above" if np.mean(means) >= published else "below"
    sentence = study_text.reached(study)[0]
    assert sentence.startswith(f"CVAE, paper split: mean Pearson {np.mean(means):.4f} (2 seeds, ")
    assert f"{side} the published {published:.4f}" in sentence
    test = {"first": "cvae-2020", "second": "dae-2020", "n": 60, "difference": 0.1, "p_permutation": 0.2}
    assert "no difference beyond chance" in study_text.significance(test)
    assert "more with the CVAE" in study_text.significance({**test, "p_permutation": 0.01})
    assert "more with the DAE" in study_text.significance({**test, "p_permutation": 0.01, "difference": -0.1})
    assert "cannot be tested" in study_text.significance({**test, "p_permutation": None})


def test_variants_are_beside_the_member_that_differs_in_nothing_else(study: Study) -> None:
    rows = [[cell["text"] for cell in row] for row in study_tables.variants_view(study)["rows"]]
    assert [row[2] for row in rows] == ["as described", "model.order=arbitrary"]
    assert [row[-1] == "–" for row in rows] == [False, True]
    pearson = [float(row[5].split(" ")[0]) for row in rows]
    assert float(rows[1][6].replace("−", "-")) == pytest.approx(pearson[1] - pearson[0], abs=1.1e-4)


def test_exploded_and_single_atoms_are_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, none, torn, collapsed = (
        np.zeros((1, 3)),
        np.zeros((0, 3)),
        rng.normal(0, 30, (90, 3)),
        rng.normal(0, 1e-3, (4, 3)),
    )
    steps = [
        {"fraction": f, "valid": False, "positions": x.tolist(), "n_atoms": len(x), "rw_nearest": None}
        for f, x in zip((0.0, 0.25, 0.5, 1.0), (one, none, torn, collapsed), strict=True)
    ]
    figure = strip_figure(["CVAE"], [{"symbols": ["Pt", "Pt"], "steps": steps}])
    figure.savefig(tmp_path / "strip.png")
    assert sum("invalid" in text.get_text() for text in figure.axes[0].texts) == 4
    assert "no structure" in [text.get_text() for text in figure.axes[0].texts]


def test_same_results_keep_the_report_and_a_new_member_makes_another(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_report, "drawings", lambda _: iter(()))
    members = ["paper-cvae-2020-seed1"]
    folder = study_cases.write_study(tmp_path / "paper", members)
    first = study_report.write_study(folder)
    before = first.stat().st_mtime_ns
    assert study_report.write_study(folder).stat().st_mtime_ns == before
    shutil.copytree(out / "members" / MEMBERS[1], folder / "members" / MEMBERS[1])
    again = study_report.write_study(folder)
    assert again.stat().st_mtime_ns != before
    assert "2 of 2" in text_of(again.read_text(encoding="utf-8"))


def test_missing_members_are_told_with_the_command_that_goes_on(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "paper"
    for name in MEMBERS[:3]:
        copy(out / "members" / name, folder / "members" / name)
    (folder / "members" / MEMBERS[1] / "scores" / "provenance.json").unlink()
    (folder / "members" / MEMBERS[2] / "model" / "provenance.json").unlink()
    (folder / "members" / MEMBERS[2] / "scores" / "provenance.json").unlink()
    report = study_report.write_study(folder, expected=MEMBERS[:4], command="hpcpdf run mine.toml")
    text = text_of(report.read_text(encoding="utf-8"))
    assert f"{MEMBERS[1]} : trained, not scored" in text
    assert f"{MEMBERS[2]} : in training, 100 epochs done" in text
    assert f"{MEMBERS[3]} : not started" in text
    assert "1 of 4" in text
    assert "hpcpdf run mine.toml" in text
    assert "Not collected yet: Table 1, interpolation, factors." in text
    assert (folder / "report" / "pearson.pdf").exists()


def test_nothing_finished_is_a_report_too(tmp_path: Path) -> None:
    (tmp_path / "paper" / "members").mkdir(parents=True)
    config = load_config(
        None,
        [f"run.out={tmp_path / 'paper'}", "study.models=['cvae-2020']", "study.splits=['paper']", "study.seeds=[1]"],
    )
    report = study_report.run(config, Context(rank=1, world=2))
    assert not report.exists()
    text = text_of(study_report.run(config, Context()).read_text(encoding="utf-8"))
    assert "paper-cvae-2020-seed1 : not started" in text
    assert "0 of 1" in text
    with pytest.raises(DataError, match="no such folder"):
        study_report.write_study(tmp_path / "nowhere")


def test_a_split_of_one_size_has_no_ways_and_a_report(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "paper"
    for name in MEMBERS:
        member = folder / "members" / name
        copy(out / "members" / name, member)
        (member / "scores" / "intermediates.csv").unlink()
        examples = json.loads((member / "scores" / "examples.json").read_text())
        (member / "scores" / "examples.json").write_text(json.dumps(examples | {"strips": []}))
    text = text_of(study_report.write_study(folder).read_text(encoding="utf-8"))
    assert "Latent space" in text
    assert "Validity along the way" not in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (f"members/{MEMBERS[0]}/scores/summary.json", "{}"),
        (f"members/{MEMBERS[0]}/scores/summary.json", "{"),
        (f"members/{MEMBERS[0]}/scores/scores.csv", "method,row\none sample,1\n"),
        (f"members/{MEMBERS[0]}/scores/latent.csv", "split,row,n_atoms,z1\ntest,1,13,0.5\n"),
        (f"members/{MEMBERS[0]}/scores/intermediates.csv", "pair,fraction,valid\n0,0.5,perhaps\n"),
        (f"members/{MEMBERS[0]}/scores/examples.json", "[]"),
        (f"members/{MEMBERS[0]}/model/metrics.jsonl", "no\n"),
        ("study/table1.json", '{"splits": 3}'),
        ("study/satellites.csv", "satellites,source\n4\n"),
        ("study/factors.csv", "split\n"),
    ],
)
def test_damaged_files_are_named(out: Path, tmp_path: Path, name: str, content: str) -> None:
    folder = tmp_path / "paper"
    copy(out / "members" / MEMBERS[0], folder / "members" / MEMBERS[0])
    copy(out / "study", folder / "study")
    (folder / name).write_text(content)
    with pytest.raises(DataError) as caught:
        read_all(folder)
    assert Path(name).name in str(caught.value)
    assert "\n" not in str(caught.value)


def read_all(folder: Path) -> None:
    """Read what the figures read only when they are drawn, too."""
    for member in read_study(folder).members:
        assert member.latent
        assert member.intermediates
        assert member.examples
        assert member.history
