"""Benchmarks compare answers before times, and say on what machine."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hpcpdf.errors import SolverError
from hpcpdf.launch import bench
from hpcpdf.launch.bench import Case, Peer, check_peer

CASE = Case("sum", "sums", 10, lambda threads: np.arange(4.0), True, (Peer("plain", lambda: np.arange(4.0), 1e-12),))


@pytest.mark.parametrize("case", bench.cases(), ids=lambda case: case.name)
def test_every_peer_gives_our_answer(case):
    assert case.peers
    for peer in case.peers:
        assert check_peer(case, peer) <= peer.tolerance


def test_a_wrong_peer_is_refused():
    wrong = replace(CASE.peers[0], run=lambda: np.arange(4.0) + 0.5)
    with pytest.raises(SolverError, match=r"sum: plain differs by 1.7e-01"):
        check_peer(CASE, wrong)


def test_a_peer_of_nan_is_refused():
    with pytest.raises(SolverError):
        check_peer(CASE, replace(CASE.peers[0], run=lambda: np.full(4, np.nan)))


def test_result_holds_machine_rates_and_ratios(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "cases", lambda: [CASE])
    said: list[str] = []
    result = bench.measure(peers=True, rounds=3, say=said.append)
    bench.write(result, tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text()) == result
    assert {"processor", "built_for", "offers", "threads", "versions"} <= set(result["machine"])
    (timing,) = result["timings"]
    assert timing["rate"]["1 thread"] > 0
    (ratio,) = timing["ratios"]
    assert ratio["low"] <= ratio["median"] <= ratio["high"]
    assert ratio["rounds"] == 3
    assert any("plain" in line for line in said)


def test_peers_are_left_out_unless_asked_for(monkeypatch):
    monkeypatch.setattr(bench, "cases", lambda: [CASE])
    assert bench.measure(peers=False, rounds=1, say=lambda line: None)["timings"][0]["ratios"] == []
