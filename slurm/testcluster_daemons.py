"""Processes of the one-machine test cluster: found, started, waited for and stopped by their numbers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from testcluster_config import Shape, gres_conf, slurm_conf, slurmdbd_conf, write_private

HOSTS = Path("/etc/hosts")
PACKAGES = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "scontrol": "slurm-client", "munged": "munge"}
ACCOUNTING_PACKAGES = {
    "slurmdbd": "slurmdbd slurm-wlm-mysql-plugin",
    "sacctmgr": "slurm-client",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
MARK, NODE_MARK = "HPCPDF_TESTCLUSTER", "HPCPDF_TESTCLUSTER_DAEMON"
"""In the environment of daemons and, inherited from them, of job steps, to find them again."""
LONGEST_PATH = 60
"""Characters; unix sockets inside the folder must stay below 108."""


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says what to do."""


class Unavailable(ClusterError):
    """This machine or user cannot have a cluster: programs or permissions are missing."""


class Cluster:
    """A cluster in a folder of its own.

    Parameters
    ----------
    folder
        Absolute path; everything that the cluster writes is in it, but for one line in /etc/hosts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self._state = folder / "cluster.json"
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SRUN"))
        } | {"SLURM_CONF": str(self.conf), "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}

    def start(self, shape: Shape) -> None:
        """Start everything and return when every node is idle; on failure nothing is left.

        Raises
        ------
        ClusterError
            If something is missing or does not come up.
        """
        self._check(shape)
        names = ["slurmctld", *shape.names] + (["slurmdbd", "mariadbd"] if shape.accounting else [])
        ports = dict(zip(names, _free_ports(len(names)), strict=True))
        for name in (
            "log",
            "run",
            "state",
            "munge",
            "dev",
            "db",
            *(f"{d}.{n}" for d in ("spool", "tmp") for n in shape.names),
        ):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        self._save({"names": shape.names, "pids": {}})
        try:
            _edit_hosts(self.folder, shape.names)
            self.conf.write_text(slurm_conf(self.folder, shape, ports))
            (self.folder / "gres.conf").write_text(gres_conf(self.folder, shape))
            for number in range(shape.gpus):
                os.mknod(self.folder / f"dev/nvidia{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
            self._start_munge()
            if shape.accounting:
                self._start_accounting(ports)
            self._spawn("slurmctld", ["slurmctld", "-D"])
            self._wait("slurmctld", lambda: self._run("scontrol", "ping").returncode == 0)
            for name in shape.names:
                self._spawn(name, ["slurmd", "-D", "-N", name])
            self._wait("slurmd.n1", lambda: self._idle() == len(shape.names))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process of the cluster, wait for them, and remove the folder and the names of its nodes."""
        if not self._state.exists():
            raise ClusterError(f"{self.folder}: no cluster here; start one with `testcluster start {self.folder}`")
        pids = self._load()["pids"]
        last = [pids.pop(name) for name in ("slurmctld", "slurmdbd", "mariadbd", "munged") if name in pids]
        # Nodes first, then each service before the one that it talks to, then what jobs left.
        _end(pids.values())
        for pid in last:
            _end([pid])
        _end(self._processes(), patience=0.0)
        _edit_hosts(self.folder, [])
        shutil.rmtree(self.folder)

    def kill_node(self, name: str) -> None:
        """Kill the slurmd of a node, its job steps and their processes, without a word to the controller."""
        state = self._node_state(name)
        pid = state["pids"].pop(name, None)
        if pid is None:
            raise ClusterError(f"{name} is not running; start it with `testcluster start-node {self.folder} {name}`")
        # Whoever would tell the controller about the end of a process goes before that process.
        _end([pid], patience=0.0)
        while left := self._processes(name):
            _end({pid for pid in left if _is_step(pid)}, patience=0.0)
            _end(left, patience=0.0)
        self._save(state)

    def start_node(self, name: str) -> None:
        """Start the slurmd of a killed node and wait until the controller counts on it."""
        state = self._node_state(name)
        if _alive(state["pids"].get(name, 0)):
            raise ClusterError(f"{name} is running already")
        self._spawn(name, ["slurmd", "-D", "-N", name])
        up = ("idle", "mixed", "allocated", "completing")
        self._wait(
            f"slurmd.{name}", lambda: self._run("sinfo", "-h", "-n", name, "-o", "%T").stdout.split("\n")[0] in up
        )

    def _check(self, shape: Shape) -> None:
        """Refuse what cannot work, before anything is written."""
        if os.geteuid() != 0:
            raise Unavailable("needs root, to make device files and to name its nodes in /etc/hosts; use sudo")
        needed = PACKAGES | (ACCOUNTING_PACKAGES if shape.accounting else {})
        path = self._environment["PATH"]
        missing = [package for program, package in needed.items() if shutil.which(program, path=path) is None]
        if missing:
            raise Unavailable(f"missing programs; apt-get install {' '.join(dict.fromkeys(missing))}")
        if min(shape.nodes, shape.cpus) < 1 or shape.gpus < 0:
            raise ClusterError("--nodes and --cpus must be at least 1, --gpus at least 0")
        if len(str(self.folder)) > LONGEST_PATH:
            raise ClusterError(f"{self.folder}: choose a folder with a path of at most {LONGEST_PATH} characters")
        if self._state.exists():
            raise ClusterError(f"{self.folder}: holds a cluster; stop it with `testcluster stop {self.folder}`")
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ClusterError(f"{self.folder}: not empty; choose a new folder, `stop` removes it as a whole")

    def _start_munge(self) -> None:
        munge = self.folder / "munge"
        munge.chmod(0o755)
        write_private(munge / "key", secrets.token_bytes(128))
        files = {"key-file": "key", "socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={munge / name}" for option, name in files.items()]
        self._spawn("munged", ["munged", "--foreground", "--force", *options])
        self._wait("munged", (munge / "sock").exists)

    def _start_accounting(self, ports: dict[str, int]) -> None:
        data, password = self.folder / "db", secrets.token_hex(16)
        made = self._run("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db")
        if made.returncode:
            raise ClusterError(f"mariadb-install-db failed: {made.stderr.strip() or made.stdout.strip()}")
        script = self.folder / "init.sql"
        write_private(
            script,
            f"CREATE USER 'slurm'@'%' IDENTIFIED BY '{password}';\nGRANT ALL ON slurm_acct_db.* TO 'slurm'@'%';\n",
        )
        sock = self.folder / "db.sock"
        options = [f"--datadir={data}", f"--socket={sock}", f"--port={ports['mariadbd']}", f"--init-file={script}"]
        options += [f"--pid-file={self.folder}/run/mariadbd.pid", "--bind-address=127.0.0.1", "--user=root"]
        # What a power cut may lose does not matter here.
        options += ["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"]
        self._spawn("mariadbd", ["mariadbd", "--no-defaults", *options])
        self._wait("mariadbd", lambda: _listens(ports["mariadbd"]))
        write_private(self.folder / "slurmdbd.conf", slurmdbd_conf(self.folder, ports, password))
        self._spawn("slurmdbd", ["slurmdbd", "-D"])
        self._wait("slurmdbd", lambda: self._run("sacctmgr", "-n", "list", "cluster").returncode == 0)
        made = self._run("sacctmgr", "-i", "add", "cluster", "testcluster")
        if made.returncode:
            raise ClusterError(f"sacctmgr failed: {made.stderr.strip() or made.stdout.strip()}")

    def _spawn(self, name: str, command: list[str]) -> None:
        """Start a daemon in a session of its own and note its number."""
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._environment | {MARK: str(self.folder), NODE_MARK: name},
                start_new_session=True,
            )
        state = self._load()
        state["pids"][name] = process.pid
        self._save(state)

    def _wait(self, log: str, ready: Callable[[], bool], patience: float = 60.0) -> None:
        """Wait for a daemon; when it ends or takes too long, show what it said last."""
        deadline = time.monotonic() + patience
        while not ready():
            ended = [name for name, pid in self._load()["pids"].items() if not _alive(pid)]
            if ended or time.monotonic() > deadline:
                said: list[str] = []
                for path in sorted((self.folder / "log").glob(f"{ended[0] if ended else log}*")):
                    said += path.read_text(errors="replace").splitlines()[-4:]
                what = f"{ended[0]} ended" if ended else f"{log} not ready after {patience:.0f} s"
                raise ClusterError(f"{what}: {' | '.join(said) or 'it said nothing'}")
            time.sleep(0.05)

    def _idle(self) -> int:
        return self._run("sinfo", "-h", "-N", "-p", "normal", "-o", "%T").stdout.split().count("idle")

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)

    def _processes(self, node: str | None = None) -> set[int]:
        """Processes of the cluster, or of one node: daemons, job steps and all that was started by a job.

        Shells and programs that merely talk to the cluster are not among them.
        """
        mark = {f"{MARK}={self.folder}"} | ({f"{NODE_MARK}={node}"} if node else set())
        task = {f"SLURM_CONF={self.conf}"} | ({f"SLURMD_NODENAME={node}"} if node else set())
        logs = {str(self.folder / f"log/slurmd.{name}.log") for name in ([node] if node else self._load()["names"])}
        found, parents = set(), {}
        for pid in _numbers():
            process = Path(f"/proc/{pid}")
            # It may end while it is looked at.
            with contextlib.suppress(OSError):
                parents[pid] = _parent(pid)
                environment = set((process / "environ").read_bytes().decode(errors="replace").split("\0"))
                in_job = task <= environment and any(one.startswith("SLURM_JOB_ID=") for one in environment)
                # slurmstepd writes its title over its environment, but keeps the log of its slurmd open.
                step = _is_step(pid) and logs & {os.readlink(file) for file in (process / "fd").iterdir()}
                if mark <= environment or in_job or step:
                    found.add(pid)
        grown = True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            found |= more
            grown = bool(more)
        return found - {os.getpid()}

    def _node_state(self, name: str) -> dict[str, Any]:
        if not self._state.exists():
            raise ClusterError(f"{self.folder}: no cluster here")
        state = self._load()
        if name not in state["names"]:
            raise ClusterError(f"{name}: no such node; there are {', '.join(state['names'])}")
        return state

    def _load(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._state.read_text())
        return state

    def _save(self, state: dict[str, Any]) -> None:
        self._state.write_text(json.dumps(state))


def _numbers() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _status(pid: int) -> list[str]:
    """State and parent of a process; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return []


def _parent(pid: int) -> int:
    status = _status(pid)
    return int(status[1]) if status else 0


def _is_step(pid: int) -> bool:
    """Whether a process is the keeper of a job step."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("slurmstepd")
    except OSError:
        return False


def _alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent to notice its end does not."""
    return _status(pid)[:1] not in ([], ["Z"], ["X"])


def _end(pids: Iterable[int], patience: float = 10.0) -> None:
    """Ask processes to end, kill those that have not after `patience` seconds, and wait until they are gone.

    Raises
    ------
    ClusterError
        If one cannot be killed.
    """
    left = {pid for pid in pids if _alive(pid)}
    for sign, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
        if sign is signal.SIGTERM and not patience:
            continue
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            left = {pid for pid in left if _alive(pid)}
            time.sleep(0.02)
    if left:
        raise ClusterError(f"processes {sorted(left)} do not end; kill them by hand")


def _free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on, below those that the kernel hands out to outgoing connections."""
    free: list[int] = []
    for port in random.SystemRandom().sample(range(10_000, 32_000), 2000):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        free.append(port)
        if len(free) == count:
            return free
    raise ClusterError(f"no {count} free TCP ports between 10000 and 32000")


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _edit_hosts(folder: Path, names: list[str]) -> None:
    """Name the nodes of a cluster, or with no names take its line away; other clusters have lines of their own."""
    tag = f"# testcluster {folder}"
    with HOSTS.open("r+") as hosts:
        # In place and locked: in containers the file is a mount that cannot be replaced.
        fcntl.flock(hosts, fcntl.LOCK_EX)
        lines = [line for line in hosts.read().splitlines() if not line.endswith(tag)]
        if names:
            lines.append(f"127.0.0.1 {' '.join(names)} {tag}")
        hosts.seek(0)
        hosts.write("\n".join(lines) + "\n")
        hosts.truncate()
