"""Profiles: layers, what is refused and how it is said, and the sbatch text that they lead to."""

from __future__ import annotations

import pytest
import submitit

from hpcpdf.errors import ConfigError
from hpcpdf.launch.profiles import Profile, load_profile, profile_names


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write profiles into the user's own folder."""
    monkeypatch.setenv("HPCPDF_PROFILES", str(tmp_path))

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.toml").write_text(text)
        return name

    return write


def script(profile: Profile, tmp_path, **ask) -> str:
    executor = submitit.SlurmExecutor(folder=tmp_path)
    executor.update_parameters(**profile.submit_parameters(**ask))
    return executor._make_submission_file_text("python work.py", "")


@pytest.fixture(autouse=True)
def _slurm_seems_installed(monkeypatch):
    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", classmethod(lambda cls: 2))


def test_profiles_that_come_with_the_package_are_complete(monkeypatch, tmp_path):
    monkeypatch.setenv("HPCPDF_PROFILES", str(tmp_path / "absent"))
    assert profile_names() == ["cpu-cluster", "gpu-cluster", "local"]
    for name in profile_names():
        profile = load_profile(name)
        assert profile.name == name
        assert not profile.partition
        for stage in ("default", "generate", "train", "reconstruct", "evaluate", "report"):
            assert f"--time={profile.request(stage).minutes}" in script(profile, tmp_path, stage=stage)


def test_own_profile_changes_what_it_names_and_keeps_the_rest(own):
    own("site", 'base = "gpu-cluster"\npartition = "batch"\n[train]\npartition = "gpu"\nnodes = 3\n')
    profile, below = load_profile("site"), load_profile("gpu-cluster")
    assert profile.name == "site"
    assert profile.request("generate").partition == "batch"
    train = profile.request("train")
    assert (train.partition, train.nodes) == ("gpu", 3)
    assert train.gpus_per_node == below.request("train").gpus_per_node
    assert profile.request("train").minutes == below.request("train").minutes
    assert "site" in profile_names()


def test_own_file_of_a_shipped_name_lies_on_top_of_it(own):
    minutes = load_profile("cpu-cluster").request("generate").minutes
    own("cpu-cluster", 'account = "mine"\n')
    profile = load_profile("cpu-cluster")
    assert profile.account == "mine"
    assert profile.request("generate").minutes == minutes
    own("cpu-cluster", 'base = "cpu-cluster"\naccount = "mine"\n')
    assert load_profile("cpu-cluster") == profile


def test_layers_may_be_several_and_empty_text_takes_back(own):
    own("a", 'base = "cpu-cluster"\nconstraint = "fast"\nmodules = ["x"]\noptions = {comment = "c"}\n')
    own("b", 'base = "a"\nmodules = ["y"]\noptions = {nice = 5}\n[report]\nconstraint = ""\n')
    profile = load_profile("b")
    assert profile.modules == ("y",)
    assert profile.options == {"comment": "c", "nice": 5}
    assert profile.submit_parameters("train")["constraint"] == "fast"
    assert "constraint" not in profile.submit_parameters("report")


def test_file_by_path(tmp_path):
    (tmp_path / "one.toml").write_text('base = "local"\nqos = "short"\n')
    assert load_profile(str(tmp_path / "one.toml")).qos == "short"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('partion = "x"', "unknown key partion; did you mean partition?"),
        ("[train]\ngpus_per_nod = 2", "unknown key train.gpus_per_nod; did you mean gpus_per_node?"),
        ("[trian]\nnodes = 2", "unknown key trian; did you mean train?"),
        ("nodes = 0", "nodes: Input should be greater than or equal to 1 (got 0)"),
        ('mem_per_cpu = "2 GB"', "mem_per_cpu: "),
        ('partition = "a b"', "partition: "),
        ('name = "x"', "name: a profile is called as its file"),
        ("base = 3", "base: expected the name of a profile (got 3)"),
        ('base = "cpu-clutser"', "base: no profile 'cpu-clutser'; there are cpu-cluster, gpu-cluster, local, site"),
        ('base = "site"', "base: no profile 'site'"),
        ('options = {partition = "x"}', "options: partition is set by hpcpdf or by a key of its own"),
        ("options = {nice = 1.5}", "options: nice: expected long options"),
        ('options = {"--nice" = 1}', "options: --nice: expected long options"),
        ("nodes = ", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_said_with_file_key_and_fix(own, tmp_path, text, said):
    own("site", text)
    with pytest.raises(ConfigError) as error:
        load_profile("site")
    assert str(error.value).startswith(str(tmp_path / "site.toml"))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_all_wrong_keys_at_once(own):
    own("site", 'partion = "x"\nminuts = 5\n[train]\nnodes = -1\n')
    with pytest.raises(ConfigError, match=r"(?=.*partion)(?=.*minuts)(?=.*train\.nodes)"):
        load_profile("site")


def test_file_of_a_lower_layer_is_named(own, tmp_path):
    own("low", "minuts = 5\n")
    own("high", 'base = "low"\n')
    with pytest.raises(ConfigError, match=r"low\.toml: unknown key minuts"):
        load_profile("high")


def test_circle_and_unknown_name(own):
    own("a", 'base = "b"\n')
    own("b", 'base = "a"\n')
    with pytest.raises(ConfigError, match="leads back"):
        load_profile("a")
    with pytest.raises(ConfigError, match="no profile 'none'; there are a, b, cpu-cluster"):
        load_profile("none")


def test_sbatch_text(own, tmp_path):
    own(
        "site",
        'partition = "p"\naccount = "a"\nqos = "q"\nconstraint = "c"\nmem_per_cpu = "2G"\nexclusive = true\n'
        'mpi = "pmix"\nmodules = ["gcc/12", "hdf5"]\nsetup = ["ulimit -c 0"]\nscratch = "/scratch/$USER"\n'
        'mail = "me@example.org"\nsignal_seconds = 300\noptions = {reservation = "course"}\n'
        "[train]\nnodes = 2\ntasks_per_node = 4\ngpus_per_node = 4\ncpus_per_task = 8\nminutes = 90\n",
    )
    text = script(load_profile("site"), tmp_path, stage="train")
    flags = (
        "partition=p account=a qos=q constraint=c mem-per-cpu=2G exclusive nodes=2 ntasks-per-node=4 gpus-per-node=4 "
        "cpus-per-task=8 time=90 signal=USR2@300 mail-user=me@example.org mail-type=END,FAIL reservation=course requeue"
    )
    for flag in flags.split():
        assert f"#SBATCH --{flag}\n" in text
    assert "wckey" not in text
    wanted = [
        "module load gcc/12",
        "module load hdf5",
        "ulimit -c 0",
        'export TMPDIR="/scratch/$USER"',
        'srun --ntasks=2 --ntasks-per-node=1 mkdir -p "$TMPDIR"',
        "export OMP_NUM_THREADS=8",
    ]
    lines = text.splitlines()
    start = lines.index(wanted[0])
    assert lines[start : start + len(wanted)] == wanted
    command = next(line for line in lines if line.endswith("python work.py"))
    assert "--kill-on-bad-exit=1 --cpus-per-task=8 --mpi=pmix python work.py" in command


def test_job_may_ask_for_something_else_than_the_profile():
    profile = load_profile("cpu-cluster")
    found = profile.submit_parameters("train", nodes=3, tasks=6, gpus=1, cpus=5, minutes=7, mpi=False)
    assert {key: found[key] for key in ("nodes", "ntasks_per_node", "gpus_per_node", "cpus_per_task", "time")} == {
        "nodes": 3,
        "ntasks_per_node": 2,
        "gpus_per_node": 1,
        "cpus_per_task": 5,
        "time": 7,
    }
    assert "--mpi=none" in found["srun_args"]
    with pytest.raises(ConfigError, match="4 ranks on 3 nodes; expected a multiple of 3"):
        profile.submit_parameters(nodes=3, tasks=4)
    with pytest.raises(ConfigError, match="no stage 'trian'"):
        profile.submit_parameters("trian")
