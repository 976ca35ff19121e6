"""Kernels beside their peers, timed by pytest-benchmark: `nox -s bench`, or `pytest benchmarks/micro --benchmark-only`.

A peer's answer is compared with ours before either is timed.
"""

from __future__ import annotations

import pytest

from hpcpdf.launch.bench import cases, check_peer

CASES = {case.name: case for case in cases()}
PEERS = [(case, peer) for case in CASES.values() for peer in case.peers]


@pytest.mark.parametrize("name", CASES)
def test_ours(benchmark, name):
    case = CASES[name]
    benchmark.group = name
    benchmark.extra_info["items"] = case.count
    answer = benchmark(case.run, 1)
    assert len(answer)


@pytest.mark.parametrize(("case", "peer"), PEERS, ids=[f"{case.name}-{peer.name}" for case, peer in PEERS])
def test_peer(benchmark, case, peer):
    check_peer(case, peer)
    benchmark.group = case.name
    benchmark.extra_info["items"] = case.count
    benchmark(peer.run)
