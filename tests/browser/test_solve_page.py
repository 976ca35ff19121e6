"""The page of an answer in a browser, where there is one: no error, and the view does what its buttons say."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ase import Atoms
from ase.cluster import Octahedron
from report_cases import solved
from solutions import solution

from hpcpdf.report.solve_report import write_solution

_BROWSER = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)

pytestmark = pytest.mark.skipif(_BROWSER is None, reason="needs chromium")

# Colours of the canvas after each click tell whether the view was drawn anew; errors are caught from the first line on.
_BEFORE = "<script>window.seen = {errors: []}; onerror = (text) => { seen.errors.push(text); };</script>"
_AFTER = """<script>
  const canvas = document.getElementById("viewer");
  const click = (selector) => document.querySelector(selector).click();
  const shown = (id) => !document.getElementById(id).hidden;
  const look = () => ({picture: canvas.toDataURL().slice(-4000), legend: shown("legend"), scale: shown("scale"),
    surface: shown("surface")});
  seen.start = look();
  if (document.querySelector("[data-colour=certainty]")) { click("[data-colour=certainty]"); seen.certainty = look(); }
  click("[data-colour=element]"); seen.element = look();
  click("#ranking tbody tr:last-child"); seen.last = look();
  seen.steps = [...document.querySelectorAll("#steps .bar")].map((bar) => bar.textContent);
  seen.width = document.documentElement.scrollWidth;
  document.body.innerHTML = "";
  document.body.append(Object.assign(document.createElement("pre"), {id: "seen", textContent: JSON.stringify(seen)}));
</script>"""


def visit(page: Path, width: int = 1280) -> dict:
    text = page.read_text(encoding="utf-8")
    probed = page.with_name("probed.html")
    probed.write_text(text.replace("<head>", "<head>" + _BEFORE, 1).replace("</body>", _AFTER + "</body>", 1))
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--window-size={width},1400",
        "--virtual-time-budget=3000",
    ]
    command = [str(_BROWSER), *options, f"--user-data-dir={page.parent / 'browser'}", "--dump-dom", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    return dict(json.loads(html.unescape(found[1])))


def test_everything_is_drawn_and_the_buttons_work(tmp_path: Path) -> None:
    answer, pdf = solution()
    seen = visit(write_solution(answer, pdf, tmp_path / "out", answer.settings))
    assert seen["errors"] == []
    assert len({seen[name]["picture"] for name in ("start", "certainty", "element", "last")}) == 4
    assert seen["start"]["legend"]
    assert not seen["start"]["scale"]
    assert seen["certainty"]["scale"]
    assert not seen["certainty"]["legend"]
    assert [text.rstrip("0123456789.") for text in seen["steps"]] == [
        *("bound of the family", "rigid", "surface relaxed", "all atoms free"),
    ]
    assert seen["width"] <= 1280


@pytest.mark.parametrize("width", [1280, 560])
def test_candidates_alone(tmp_path: Path, width: int) -> None:
    candidates, pdf = solved()
    seen = visit(write_solution(candidates, pdf, tmp_path / "out", {}), width)
    assert seen["errors"] == []
    assert "certainty" not in seen
    assert len({seen[name]["picture"] for name in ("start", "element", "last")}) == 3
    assert seen["width"] <= width


def test_a_large_particle_is_drawn_by_its_surface(tmp_path: Path) -> None:
    candidates, pdf = solved()
    atoms = Octahedron("Pt", 19, 6, latticeconstant=3.92)
    large = replace(candidates[0], atoms=Atoms(atoms.symbols, positions=atoms.positions), family="fcc")
    seen = visit(write_solution([large, *candidates], pdf, tmp_path / "out", {}))
    assert seen["errors"] == []
    assert len({seen[name]["picture"] for name in ("start", "element", "last")}) == 3
    assert (seen["start"]["surface"], seen["last"]["surface"]) == (True, False)
