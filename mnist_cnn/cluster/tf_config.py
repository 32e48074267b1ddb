"""Which task of which cluster this process is, as `TF_CONFIG` says. Knows nothing of TensorFlow."""

import json
import re
from typing import Dict, List, NamedTuple

from mnist_cnn.errors import InputError

JOBS = ("chief", "worker", "ps")
_ADDRESS = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


class Task(NamedTuple):
    cluster: Dict[str, List[str]]  # for each job the addresses of its tasks, "host:port"
    job: str
    index: int

    @property
    def address(self):
        return self.cluster[self.job][self.index]

    @property
    def device(self):
        """TensorFlow's name for it."""
        return f"/job:{self.job}/task:{self.index}"

    @property
    def chief(self):
        """The Task that has the run: the chief, or where the cluster names none, worker 0."""
        return self._replace(job="chief" if "chief" in self.cluster else "worker", index=0)

    @property
    def all_tasks(self):
        """All Tasks of the cluster."""
        return [self._replace(job=job, index=i) for job in JOBS for i in range(len(self.cluster.get(job, [])))]

    @property
    def replicas(self):
        """The Tasks that compute: the chief, then the workers. Parameter servers only hold weights."""
        return [task for task in self.all_tasks if task.job != "ps"]

    def __str__(self):
        return f"{self.job} {self.index} at {self.address}"


def parse_tf_config(text):
    """The Task that a value of `TF_CONFIG` describes, or None where it names no cluster.

    Raises InputError, which says what of it is wrong.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"TF_CONFIG is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError("TF_CONFIG holds no JSON object: " + _EXPECTED)
    cluster, task = config.get("cluster"), config.get("task")
    if not cluster:
        return None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise InputError("TF_CONFIG has not both a cluster and a task: " + _EXPECTED)
    for job, addresses in cluster.items():
        if job not in JOBS:
            raise InputError(f"TF_CONFIG names the job {job!r}: a cluster's are {', '.join(JOBS)}")
        if not isinstance(addresses, list):
            raise InputError(f"TF_CONFIG gives {job} {addresses!r}: it must be a list of addresses")
        for address in addresses:
            _check_address(job, address)
    cluster = {job: addresses for job, addresses in cluster.items() if addresses}
    addresses = sum(cluster.values(), [])
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise InputError(f"TF_CONFIG names {twice[0]} twice: each task has an address of its own")
    if len(cluster.get("chief", [])) > 1 or not ("chief" in cluster or "worker" in cluster):
        raise InputError("TF_CONFIG must name one chief at most, and without one a worker at least")
    job, index = task.get("type"), task.get("index")
    if not isinstance(job, str) or job not in cluster or index not in range(len(cluster[job])):
        named = ", ".join(f"{job} 0..{len(addresses) - 1}" for job, addresses in cluster.items())
        raise InputError(f"TF_CONFIG: this task, {job} {index!r}, is not in its cluster, which has {named}")
    return Task(cluster, job, int(index))


_EXPECTED = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'


def _check_address(job, address):
    match = _ADDRESS.match(address) if isinstance(address, str) else None
    if not match or match.group() != address or not 1 <= int(match.group(2)) <= 65535:
        raise InputError(
            f"TF_CONFIG gives {job} the address {address!r}: it must be HOST:PORT, with a port in 1..65535"
        )
