"""Parser for the environment variable TF_CONFIG: the tasks of a cluster, and which of them this process is.

Does not import TensorFlow.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional

from mnist_cnn.errors import InputError

JOBS = ("chief", "worker", "ps")
_ADDRESS = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Task:
    """One task of a cluster: one process. An evaluator takes no part in training; it has no cluster and no address."""

    cluster: Dict[str, List[str]]  # "host:port" of each task, by job
    job: str  # one of JOBS, or "evaluator"
    index: int  # position in cluster[job]

    @property
    def address(self) -> str:
        """The "host:port" at which the task listens."""
        return self.cluster[self.job][self.index]

    @property
    def device(self) -> str:
        """TensorFlow's name of the task, for tf.device()."""
        return f"/job:{self.job}/task:{self.index}"

    @property
    def chief(self) -> "Task":
        """The task that runs the training loop: the chief, or worker 0 if the cluster has no chief job."""
        return replace(self, job="chief" if "chief" in self.cluster else "worker", index=0)

    @property
    def all_tasks(self) -> List["Task"]:
        """All tasks of the cluster."""
        return [replace(self, job=job, index=i) for job in JOBS for i in range(len(self.cluster.get(job, [])))]

    @property
    def replicas(self) -> List["Task"]:
        """The tasks that compute: the chief, then the workers. Parameter servers only store weights."""
        return [task for task in self.all_tasks if task.job != "ps"]

    def __str__(self) -> str:
        return f"{self.job} {self.index} at {self.address}"


def parse_tf_config(text: str) -> Optional[Task]:
    """Parses a value of TF_CONFIG.

    Args:
      text: JSON, for example {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}.

    Returns:
      The task that this process is, or None if `text` describes no cluster.

    Raises:
      InputError: `text` is invalid; the message gives the invalid part.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"TF_CONFIG is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"TF_CONFIG must be a JSON object: {_EXAMPLE}")
    cluster, task = config.get("cluster"), config.get("task")
    if isinstance(task, dict) and task.get("type") == "evaluator":
        return Task({}, "evaluator", 0)
    if not cluster:
        return None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise InputError(f"TF_CONFIG needs both 'cluster' and 'task': {_EXAMPLE}")
    cluster = _parse_cluster(cluster)
    job, index = _rename_master(task.get("type")), task.get("index")
    if isinstance(index, str) and re.fullmatch("[0-9]{1,9}", index):  # as some launchers of clusters write it
        index = int(index)
    num_tasks = len(cluster.get(job, [])) if isinstance(job, str) else 0
    if type(index) is not int or index not in range(num_tasks):  # True and 1.0 are equal to 1, but are not indices
        present = ", ".join(f"{name} 0..{len(addresses) - 1}" for name, addresses in cluster.items())
        raise InputError(f"TF_CONFIG: the task {job} {index!r} is not in the cluster, which has {present}")
    return Task(cluster, job, index)


def _rename_master(job: Any) -> Any:
    """Returns "chief" for "master", which is an older name of this job."""
    return "chief" if job == "master" else job


def _parse_cluster(cluster: Dict[str, Any]) -> Dict[str, List[str]]:
    """Validates the addresses, renames master to chief, and removes the evaluator and jobs without any address.

    So the same cluster results for each task, whether its TF_CONFIG lists the evaluator or not.
    """
    cluster = {job: addresses for job, addresses in cluster.items() if addresses != [] and job != "evaluator"}
    if "master" in cluster and "chief" in cluster:
        raise InputError("TF_CONFIG lists both a chief and a master, which are two names of the same job")
    cluster = {_rename_master(job): addresses for job, addresses in cluster.items()}
    for job, addresses in cluster.items():
        if job not in JOBS:
            raise InputError(f"TF_CONFIG: unknown job {job!r}; the jobs of a cluster are {', '.join(JOBS)}")
        if not isinstance(addresses, list):
            raise InputError(f"TF_CONFIG: the addresses of {job} must be a list, and are {addresses!r}")
        for address in addresses:
            _check_address(job, address)
    all_addresses = [address for addresses in cluster.values() for address in addresses]
    duplicates = sorted({address for address in all_addresses if all_addresses.count(address) > 1})
    if duplicates:
        raise InputError(f"TF_CONFIG lists the address {duplicates[0]} twice: each task needs its own address")
    if len(cluster.get("chief", [])) > 1 or not ("chief" in cluster or "worker" in cluster):
        raise InputError("TF_CONFIG must list at most one chief, and at least one worker if there is no chief")
    return cluster


def _check_address(job: str, address: Any) -> None:
    match = _ADDRESS.match(address) if isinstance(address, str) else None
    if not match or match.group() != address or not 1 <= int(match.group(2)) <= 65535:
        raise InputError(
            f"TF_CONFIG: invalid address {address!r} of {job}; it must be HOST:PORT, with a port in 1..65535"
        )
