"""The served page: who gets in, what may be dropped, what is shown; and how the command ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import uvicorn
from live_work import FastWork, follower, text_of
from solutions import solution

from hpcpdf.cli.main import main
from hpcpdf.live.entry import Entry
from hpcpdf.live.follow import Follower
from hpcpdf.live.server import LARGEST, keep, live_state, make_app, safe_name
from hpcpdf.live.work import Work
from hpcpdf.pdf.gr import read_gr, write_gr
from hpcpdf.report.solve_report import pdf_digest

TOKEN = "secret"


@dataclass
class Served:
    port: int
    follower: Follower

    def ask(
        self, path: str, body: bytes | None = None, host: str | None = None, token: str = TOKEN
    ) -> tuple[int, bytes, dict[str, str]]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{token}/{path}", data=body)
        if host:
            request.add_header("Host", host)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), dict(error.headers)

    def state(self) -> dict:
        return dict(json.loads(self.ask("state")[1]))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "data"
    folder.mkdir()
    one = follower(folder, tmp_path / "out", FastWork(tmp_path / "log"))
    app = make_app(one, TOKEN, title="data: <Pt>")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    threads = [threading.Thread(target=server.run), threading.Thread(target=one.run)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 20.0
    # Until the folder of the answers is its own; one that held something before would be refused.
    while not (server.started and (one.out / "live.json").exists()):
        assert time.monotonic() < end
        time.sleep(0.01)
    yield Served(server.servers[0].sockets[0].getsockname()[1], one)
    server.should_exit = True
    one.stop()
    for thread in threads:
        thread.join(10.0)


def test_only_the_address_itself_opens_the_page(served: Served) -> None:
    status, html, headers = served.ask("")
    assert status == 200
    assert b"data: &lt;Pt&gt;" in html
    assert b"https://" not in html
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    for path in ("", "state", "trends.csv", "x/report.html"):
        assert served.ask(path, token="guess")[0] == 404
    assert served.ask("drop?name=a.gr", text_of(1).encode(), token="guess")[0] == 404
    assert served.ask("", host="evil.example")[0] == 400
    assert not list(served.follower.folder.iterdir())


def test_a_dropped_file_is_kept_and_solved(served: Served) -> None:
    folder = served.follower.folder
    answers = [served.ask(f"drop?name={name}", text_of(k).encode()) for k, name in enumerate(("T5K.gr", "T7K.gr"))]
    assert [json.loads(body) for _, body, _ in answers] == [{"name": "T5K.gr"}, {"name": "T7K.gr"}]
    # The same again is the same; another of this name is kept beside it.
    assert json.loads(served.ask("drop?name=T5K.gr", text_of(0).encode())[1]) == {"name": "T5K.gr"}
    assert json.loads(served.ask("drop?name=T5K.gr", text_of(9).encode())[1]) == {"name": "T5K-2.gr"}
    end = time.monotonic() + 20.0
    while len(served.state()["rows"]) < 3:
        assert time.monotonic() < end
        time.sleep(0.05)
    state = served.state()
    assert state["column"] == "temperature_K"
    assert state["motifs"] == ["fcc"]
    assert {row["name"] for row in state["rows"]} == {"T5K", "T5K-2", "T7K"}
    unchanged = json.loads(served.ask(f"state?since={state['version']}")[1])
    assert unchanged == {"version": state["version"]}
    csv = served.ask("trends.csv")[1].decode().splitlines()
    assert csv[0].startswith("name,temperature_K,rw")
    assert len(csv) == 4
    assert sorted(path.name for path in folder.glob("*")) == ["T5K-2.gr", "T5K.gr", "T7K.gr"]


def test_what_is_no_answer_is_not_shown(served: Served) -> None:
    out = served.follower.out
    (out / "a").mkdir(parents=True, exist_ok=True)
    (out / "a" / "report.html").write_text("here")
    (out / "a" / "secret.txt").write_text("no")
    (out.parent / "data" / "report.html").write_text("no")
    assert served.ask("a/report.html")[1] == b"here"
    for path in ("a/secret.txt", "a/none.html", "../data/report.html", "..%2Fdata/report.html", "%2e%2e/live.json"):
        assert served.ask(path)[0] == 404
    assert served.ask("a/..%2Fa%2Freport.html")[0] == 404


def test_too_much_is_refused(served: Served) -> None:
    status, body, _ = served.ask("drop?name=a.gr", b"1" * (LARGEST + 1))
    assert (status, json.loads(body)) == (400, {"error": "larger than 20 MB"})
    assert served.ask("drop?name=a.txt", b"1")[0] == 400
    assert served.ask("drop", b"1")[0] == 400
    assert not list(served.follower.folder.iterdir())


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a.gr", "a.gr"),
        ("../../etc/a.gr", "a.gr"),
        ("C:\\data\\Pt 300K.GR", "Pt 300K.GR"),
        ("...a.gr", "a.gr"),
        ("a\x00b\n<c>.gr", "a_b__c_.gr"),
        ("größe.gr", "gr__e.gr"),
        ("x" * 300 + ".gr", "x" * 120 + ".gr"),
        ("--out.gr", "out.gr"),
        ("a.b.FQ ", "a.b.FQ"),
        ("a.sq", "a.sq"),
    ],
)
def test_names_are_made_safe(name: str, kept: str) -> None:
    assert safe_name(name) == kept


@pytest.mark.parametrize("name", ["", ".gr", "-.gr", "a.txt", "../.gr", "a.gr/", "gr", "a.gr.part"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match=r"ends in \.gr, \.fq, \.sq"):
        safe_name(name)


def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    assert [keep(tmp_path, "a.gr", text) for text in (b"1", b"2", b"1", b"3")] == ["a.gr", "a-2.gr", "a.gr", "a-3.gr"]
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"1", b"2", b"3"]


def test_files_that_are_not_in_the_trends_are_told() -> None:
    row = {"rw": 0.1, "p_fcc": 0.995, "p_hcp": 0.005}
    mixed = {"rw": 0.2, "p_fcc": 0.6, "p_ico": 0.4, "size_A": 31.0, "weight_fcc": 0.9}
    state = live_state(
        7,
        [
            Entry("a_1K.gr", "solved", row=row),
            Entry("b_2K.gr", "failed", message="torn"),
            Entry("c_3K.gr", "solved", False, row=row),
            Entry("d_4K.gr", "solved", row=mixed),
        ],
    )
    assert [one["temperature_K"] for one in state["rows"]] == [1.0, 3.0, 4.0]
    assert [(one["name"], one["state"], one["message"]) for one in state["files"]] == [
        ("b_2K.gr", "failed", "torn"),
        ("c_3K.gr", "solved", ""),
    ]
    assert state["motifs"] == ["fcc", "ico"]
    # A motif that a file does not have has no share in it; one structure has no sizes.
    assert [(one["p_ico"], one["weight_fcc"], one["size_A"]) for one in state["rows"]] == [
        *[(0.0, None, None)] * 2,
        (0.4, 0.9, 31.0),
    ]


def test_the_work_of_a_process_begins_from_its_neighbour(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, str | None]] = []

    def solve(pdf, **options):
        asked.append((options["effort"], options["neighbour"] and options["neighbour"].element))
        return solution()[0]

    monkeypatch.setattr("hpcpdf.reconstruct.solve.solve", solve)
    write_gr(tmp_path / "a.gr", solution()[1])
    work = Work({"element": "Pt", "r_range": (1.5, 20.0), "effort": "normal"})
    row = work.solve(tmp_path / "a.gr", tmp_path / "out" / "a", None)
    work.solve(tmp_path / "a.gr", tmp_path / "out" / "b", tmp_path / "out" / "a")
    work.solve(tmp_path / "a.gr", tmp_path / "out" / "c", tmp_path / "out" / "none")
    assert asked == [("normal", None), ("quick", "Pt"), ("normal", None)]
    assert work.recall(tmp_path / "a.gr", tmp_path / "out" / "a") == row
    assert row["verdict"] == solution()[0].verdict


class Serving:
    """``hpcpdf serve`` as a process."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [str(Path(sys.executable).with_name("hpcpdf")), "serve", str(folder), "--element", "Pt", *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.address = next((line.strip() for line in self.process.stdout if line.startswith("http")), "")
        assert self.address

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def until(self, true: Callable[[dict], bool], seconds: float = 120.0) -> dict:
        end = time.monotonic() + seconds
        while True:
            with urllib.request.urlopen(f"{self.address}state", timeout=20) as answer:
                state = json.loads(answer.read())
            if true(state):
                return dict(state)
            assert time.monotonic() < end, state
            time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once(number: signal.Signals, code: int, tmp_path: Path) -> None:
    write_gr(tmp_path / "a.gr", solution()[1])
    with Serving(tmp_path, "--effort", "thorough") as serving:
        serving.until(lambda state: [file["state"] for file in state["files"]] == ["solving"])
        start = time.monotonic()
        serving.process.send_signal(number)
        _, said = serving.process.communicate(timeout=20)
        seconds = time.monotonic() - start
    # Two seconds on a machine that has them to give.
    assert seconds < 2.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert serving.process.returncode == code
    assert said.count("\n") == 1
    assert said.startswith("hpcpdf: ")
    assert not (tmp_path / "hpcpdf" / "a").exists()


@pytest.mark.slow
def test_real_files_are_solved_by_processes_and_not_again_after_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_gr(data / "Pt_300K.gr", solution()[1])
    options = ("--effort", "quick", "--at-once", "2", "--rmax", "12")
    with Serving(data, *options) as serving:
        first = serving.until(lambda state: len(state["rows"]) == 1)
        os.kill(serving.process.pid, signal.SIGKILL)
        serving.process.wait()
    answer = data / "hpcpdf" / "Pt_300K"
    made = (answer / "provenance.json").read_bytes()
    warmer = replace(solution()[1], g=1.01 * solution()[1].g)
    write_gr(data / "Pt_310K.gr", warmer)
    with Serving(data, *options) as serving:
        state = serving.until(lambda state: len(state["rows"]) == 2)
        assert b"<html" in _read(f"{serving.address}Pt_310K/report.html")
    assert state["rows"][0] == {**first["rows"][0], "temperature_K": 300.0}
    assert (answer / "provenance.json").read_bytes() == made
    assert json.loads((data / "hpcpdf" / "Pt_310K" / "provenance.json").read_text())["digest"] == pdf_digest(
        read_gr(data / "Pt_310K.gr")
    )


def _read(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=20) as answer:
        return bytes(answer.read())


def test_wrong_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: object) -> str:
        assert main(["serve", *map(str, arguments), "--element", "Pt"]) == 2
        return capsys.readouterr().err

    assert "no such folder" in said(tmp_path / "none")
    assert "is the folder of the measured files" in said(tmp_path, "--out", tmp_path)
    (tmp_path / "a.gr").write_text(text_of(1))
    assert "holds other files" in said(tmp_path, "--out", tmp_path.parent)
    assert main(["serve", str(tmp_path), "--element", "Pt", "--dry-run"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 1 files -> {tmp_path / 'hpcpdf'}\n"
    assert not (tmp_path / "hpcpdf").exists()
    monkeypatch.setattr("hpcpdf.launch.serving.find_spec", lambda name: None)
    assert 'pip install "hpcpdf[live]"' in said(tmp_path)
