"""hpcpdf doctor on a real Slurm: in order, with a wrong MPI plugin, with too much asked, without its controller."""

from __future__ import annotations

import pytest
from slurm_cluster import cluster

from hpcpdf.launch.doctor_slurm import check_profile, check_slurm
from hpcpdf.launch.profiles import load_profile

pytestmark = pytest.mark.slurm


def found(checks):
    return {check.subject: check for check in checks}


def profile(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(f'base = "local"\n{text}\n')
    return load_profile(str(path))


def test_in_order(slurm, tmp_path):
    checks = found([*check_slurm(), *check_profile(profile(tmp_path, 'partition = "low"'))])
    assert checks.pop("accounting").status == "note"
    assert {check.status for check in checks.values()} == {"ok"}
    assert checks["partitions"].found == "normal (2 of 2 nodes), low (2 of 2 nodes)"
    assert "two ranks met through pmi2" in checks["MPI in Slurm"].found


def test_wrong_plugin_is_found_and_the_right_one_named(slurm, tmp_path):
    check = found(check_profile(profile(tmp_path, 'mpi = "none"')))["MPI in Slurm"]
    assert (check.status, check.fix) == ("broken", 'set mpi = "pmi2" in the profile')
    assert "MPI sees 1" in check.found


def test_what_slurm_refuses_is_said_for_each_stage(slurm, tmp_path):
    text = "[train]\ngpus_per_node = 9\n[reconstruct]\npartition = 'none'"
    checks = [check for check in check_profile(profile(tmp_path, text)) if check.subject == "profile"]
    assert [check.status for check in checks] == ["broken", "broken"]
    assert checks[0].found.startswith("site, train: ")
    assert "invalid partition" in checks[1].found


def test_controller_and_accounting_that_have_gone():
    with cluster(1, "--accounting", "--gpus", "0") as own, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", own.env["SLURM_CONF"])
        assert found(check_slurm())["accounting"].status == "ok"
        own.end("slurmdbd")
        assert found(check_slurm())["accounting"].status == "broken"
        own.end("slurmctld")
        checks = list(check_slurm())
        assert [(check.subject, check.status) for check in checks] == [("Slurm", "broken")]
        assert "DOWN" in checks[0].found
