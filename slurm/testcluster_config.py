"""Configuration files of the one-machine test cluster. Each setting that is not obvious says why it is there."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """What the cluster claims to be.

    Attributes
    ----------
    nodes
        Number of virtual nodes, named n1, n2, ...
    cpus, gpus
        Of each node. GPUs are character devices: they schedule and set CUDA_VISIBLE_DEVICES, nothing more.
    accounting
        Whether slurmdbd and MariaDB run.
    """

    nodes: int
    cpus: int
    gpus: int
    accounting: bool

    @property
    def names(self) -> list[str]:
        """Names of the nodes."""
        return [f"n{number}" for number in range(1, self.nodes + 1)]


def slurm_conf(folder: Path, shape: Shape, ports: dict[str, int]) -> str:
    """Text of slurm.conf.

    Parameters
    ----------
    folder
        Of the cluster; holds every file of it.
    shape
        Nodes and what they have.
    ports
        TCP port of "slurmctld", "slurmdbd" and every node, by name.
    """
    lines = [
        "ClusterName=testcluster",
        f"SlurmctldHost={socket.gethostname().split('.')[0]}(127.0.0.1)",
        f"SlurmctldPort={ports['slurmctld']}",
        "SlurmUser=root",
        "SlurmdUser=root",
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool.%n",
        f"SlurmctldPidFile={folder}/run/slurmctld.pid",
        f"SlurmdPidFile={folder}/run/slurmd.%n.pid",
        f"SlurmctldLogFile={folder}/log/slurmctld.log",
        f"SlurmdLogFile={folder}/log/slurmd.%n.log",
        f"TmpFS={folder}/tmp.%n",
        "AuthType=auth/munge",
        "CryptoType=crypto/munge",
        # A requeued job waits until its old credential has run out, 120 s by default.
        f"AuthInfo=socket={folder}/munge/sock,cred_expire=5",
        # No cgroups: they need a systemd or a delegated hierarchy.
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        # Nodes may claim more than the machine has.
        "SlurmdParameters=config_overrides",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        # Otherwise a job that names no memory takes all of a node.
        "DefMemPerCPU=500",
        "GresTypes=gpu",
        # As on many sites: whoever wants MPI says which plugin.
        "MpiDefault=none",
        "MailProg=/bin/true",
        "ReturnToService=2",
        "JobRequeue=1",
        "KillWait=5",
        "SlurmdTimeout=10",
        "MinJobAge=600",
        "MessageTimeout=30",
        "TreeWidth=64",
        # Jobs of a second each should not wait for a scheduler that looks twice a minute.
        "SchedulerParameters=sched_interval=1,bf_interval=1",
        # Ids that another cluster's jobs had meet what those left: submitit's files, shared memory of killed MPI ranks.
        f"FirstJobId={secrets.randbelow(60_000_000) + 1}",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        # Whoever asked for a signal before the time limit gets it at preemption too.
        "SlurmctldParameters=preempt_send_user_signal",
    ]
    if shape.accounting:
        lines += [
            "AccountingStorageType=accounting_storage/slurmdbd",
            "AccountingStorageHost=127.0.0.1",
            f"AccountingStoragePort={ports['slurmdbd']}",
            # Without it sacct looks for munge's socket in the usual place.
            f"AccountingStoragePass={folder}/munge/sock",
            "AccountingStorageTRES=gres/gpu",
        ]
    gres = f" Gres=gpu:{shape.gpus}" if shape.gpus else ""
    lines += [
        f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[name]} "
        f"CPUs={shape.cpus} RealMemory=8000{gres} State=UNKNOWN"
        for name in shape.names
    ]
    lines += [
        "PartitionName=normal Nodes=ALL Default=YES MaxTime=UNLIMITED PriorityTier=10 PreemptMode=OFF",
        "PartitionName=low Nodes=ALL MaxTime=UNLIMITED PriorityTier=1 PreemptMode=REQUEUE GraceTime=20",
    ]
    return "\n".join(lines) + "\n"


def gres_conf(folder: Path, shape: Shape) -> str:
    """Text of gres.conf; entries without a device file would not set CUDA_VISIBLE_DEVICES."""
    return "".join(
        f"NodeName={name} Name=gpu File={folder}/dev/nvidia{number}\n"
        for name in shape.names
        for number in range(shape.gpus)
    )


def slurmdbd_conf(folder: Path, ports: dict[str, int], password: str) -> str:
    """Text of slurmdbd.conf, which must be readable by its user alone."""
    return (
        "AuthType=auth/munge\n"
        f"AuthInfo=socket={folder}/munge/sock\n"
        "DbdHost=localhost\n"
        "DbdAddr=127.0.0.1\n"
        f"DbdPort={ports['slurmdbd']}\n"
        "SlurmUser=root\n"
        f"LogFile={folder}/log/slurmdbd.log\n"
        f"PidFile={folder}/run/slurmdbd.pid\n"
        "StorageType=accounting_storage/mysql\n"
        "StorageHost=127.0.0.1\n"
        f"StoragePort={ports['mariadbd']}\n"
        "StorageUser=slurm\n"
        f"StoragePass={password}\n"
    )


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner may read."""
    data = content.encode() if isinstance(content, str) else content
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as handle:
        handle.write(data)
