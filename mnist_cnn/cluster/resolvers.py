"""Which task of a cluster this process is, as the environment of a scheduler describes it.

Does not import TensorFlow.
"""

import itertools
import re
import socket
from typing import Iterator, List, Mapping, Optional

from mnist_cnn.cluster.tf_config import Task, parse_tf_config
from mnist_cnn.errors import InputError

SOURCES = "tf-config", "auto", "slurm", "kubernetes"
DEFAULT_PORT = 2222  # as in TensorFlow's documentation of clusters, and TFJob's
MAX_TASKS = 10_000

_NUMBER = re.compile("[0-9]{1,9}")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_HOST_PARTS = re.compile(r"([^\[\],\s]+)|\[([0-9,-]+)\]")


def resolve_task(source: str, environ: Mapping[str, str], port: int = DEFAULT_PORT) -> Optional[Task]:
    """Finds out which task this process is.

    Args:
      source: one of SOURCES. "auto" takes the first that is there: TF_CONFIG, a Slurm step, a Kubernetes Indexed Job.
      environ: the environment variables.
      port: of the first task on each host. With Slurm, further tasks of a host have the ports that follow.

    Returns:
      The task, or None for a process without a cluster.

    Raises:
      InputError: the environment is not that of the source, or invalid.
    """
    if source == "auto":
        # A batch script is no step: it is one process, which starts the steps.
        found = {"tf-config": "TF_CONFIG", "slurm": "SLURM_STEP_NUM_TASKS", "kubernetes": "JOB_COMPLETION_INDEX"}
        source = next((name for name, variable in found.items() if environ.get(variable)), "tf-config")
    if source == "slurm":
        return resolve_slurm(environ, port)
    if source == "kubernetes":
        return resolve_indexed_job(environ, port)
    return parse_tf_config(environ["TF_CONFIG"]) if environ.get("TF_CONFIG") else None


def resolve_slurm(environ: Mapping[str, str], port: int) -> Task:
    """Finds out which task of a Slurm step, or else of a Slurm job, this process is. All are workers.

    The addresses are those of TensorFlow's SlurmClusterResolver, except that hosts keep Slurm's order, which is also
    that of SLURM_PROCID: sorted by name, n10 would come before n2, and tasks would listen at each other's addresses.

    Args:
      environ: the environment variables.
      port: of the first task on each host.

    Raises:
      InputError: a variable is missing or invalid, or they contradict each other.
    """
    names = "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NUM_TASKS"
    if not environ.get(names[0]):
        names = "SLURM_JOB_NODELIST", "SLURM_TASKS_PER_NODE", "SLURM_NTASKS"
    hosts = expand_hosts(_get(environ, names[0], "start each task with srun"), names[0])
    counts = _expand_counts(_get(environ, names[1], "start each task with srun"), names[1])
    num_tasks = _get_number(environ, names[2], "start each task with srun")
    index = _get_number(environ, "SLURM_PROCID", "start each task with srun")
    if len(hosts) != len(counts) or sum(counts) != num_tasks:
        raise InputError(
            f"{names[0]} has {len(hosts)} hosts, {names[1]} {len(counts)} with {sum(counts)} tasks, and {names[2]} is "
            f"{num_tasks}: they contradict each other"
        )
    if index >= num_tasks:
        raise InputError(f"SLURM_PROCID is {index}, and {names[2]} is {num_tasks}: it must be smaller")
    of_host = [number for number, count in enumerate(counts) for _ in range(count)]
    if environ.get("SLURM_NODEID") not in (None, "", str(of_host[index])):
        raise InputError(
            f"SLURM_PROCID {index} is on host {environ['SLURM_NODEID']:.20} instead of {of_host[index]}: start the "
            "tasks with srun --distribution=block"
        )
    if port + max(counts) - 1 > 65535:
        raise InputError(f"cluster-port is {port}: with {max(counts)} tasks on a host, the last would be above 65535")
    addresses = [f"{host}:{port + offset}" for host, count in zip(hosts, counts) for offset in range(count)]
    if len(set(addresses)) < len(addresses):
        raise InputError(f"{names[0]} lists a host twice")
    return Task({"worker": addresses}, "worker", index)


def resolve_indexed_job(environ: Mapping[str, str], port: int) -> Task:
    """Finds out which pod of a Kubernetes Indexed Job this process is. All are workers.

    A pod's name in the cluster's DNS is JOB-INDEX.SERVICE, where SERVICE is a headless service: see
    https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication/.

    Args:
      environ: the environment variables JOB_COMPLETION_INDEX and HOSTNAME, which Kubernetes sets, and MNIST_CNN_TASKS
        and MNIST_CNN_SERVICE, which the manifest sets.
      port: of every pod.

    Raises:
      InputError: a variable is missing or invalid.
    """
    index = _get_number(environ, "JOB_COMPLETION_INDEX", "set completionMode: Indexed in the manifest")
    num_tasks = _get_number(environ, "MNIST_CNN_TASKS", "set it to the Job's completions in the manifest")
    service = _get(environ, "MNIST_CNN_SERVICE", "set it to the name of the headless service in the manifest")
    if not 1 <= num_tasks <= MAX_TASKS or index >= num_tasks:
        raise InputError(
            f"JOB_COMPLETION_INDEX is {index}, and MNIST_CNN_TASKS is {num_tasks}: the index must be smaller, and "
            f"there may be at most {MAX_TASKS:,} tasks"
        )
    host = environ.get("HOSTNAME") or socket.gethostname()
    job, _, suffix = host.rpartition("-")
    if suffix != str(index) or not _NAME.fullmatch(job):
        raise InputError(f"HOSTNAME is {host:.99}: in an Indexed Job, it is the Job's name and -{index}")
    if not _NAME.fullmatch(service):
        raise InputError(f"MNIST_CNN_SERVICE is {service:.99}: it must be the name of a service")
    return Task({"worker": [f"{job}-{i}.{service}:{port}" for i in range(num_tasks)]}, "worker", index)


def expand_hosts(text: str, name: str = "the host list") -> List[str]:
    """Expands a list of hosts as Slurm writes it: "n[1-2],m5,o[3-4,6]" are n1, n2, m5, o3, o4 and o6.

    Args:
      text: the list. Numbers keep their zeros: n[08-10] are n08, n09 and n10.
      name: what it is, for messages.

    Raises:
      InputError: it is invalid, or has more than MAX_TASKS hosts.
    """
    hosts: List[str] = []
    for item in re.split(r",(?![^\[]*\])", text):
        choices = []
        position = 0
        for match in _HOST_PARTS.finditer(item):
            if match.start() != position:
                break
            position = match.end()
            choices.append([match.group(1)] if match.group(1) else _expand_range(match.group(2), name))
        if position != len(item) or not item:
            raise InputError(f"{name} is {text:.99}: it must be hosts as Slurm writes them, such as n[1-2],m5")
        hosts += ["".join(parts) for parts in itertools.islice(itertools.product(*choices), MAX_TASKS + 1)]
        if len(hosts) > MAX_TASKS:
            raise InputError(f"{name} has more than {MAX_TASKS:,} hosts")
    for host in hosts:
        if not _NAME.fullmatch(host):
            raise InputError(f"{name} has the host {host:.99}, which is no host name")
    return hosts


def _expand_range(text: str, name: str) -> List[str]:
    return list(itertools.islice(_iterate_range(text, name), MAX_TASKS + 1))


def _iterate_range(text: str, name: str) -> Iterator[str]:
    for part in text.split(","):
        first, separator, last = part.partition("-")
        last = last if separator else first
        if not (_NUMBER.fullmatch(first) and _NUMBER.fullmatch(last) and int(first) <= int(last)):
            raise InputError(f"{name} has the range '{part:.99}': it must be a number, or two such as 08-11")
        for number in range(int(first), int(last) + 1):
            yield str(number).zfill(len(first))


def _expand_counts(text: str, name: str) -> List[int]:
    """Expands numbers of tasks as Slurm writes them: "2(x3),1" are 2, 2, 2 and 1."""
    counts: List[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,5})(?:\(x([0-9]{1,5})\))?", part)
        if not match or not 1 <= int(match.group(1)) <= MAX_TASKS:
            raise InputError(f"{name} is {text:.99}: it must be numbers of tasks as Slurm writes them, such as 2(x3),1")
        counts += [int(match.group(1))] * min(int(match.group(2) or 1), MAX_TASKS + 1)
        if sum(counts) > MAX_TASKS:
            raise InputError(f"{name} has more than {MAX_TASKS:,} tasks")
    return counts


def _get(environ: Mapping[str, str], name: str, remedy: str) -> str:
    if not environ.get(name):
        raise InputError(f"the environment variable {name} is not set: {remedy}")
    return environ[name]


def _get_number(environ: Mapping[str, str], name: str, remedy: str) -> int:
    text = _get(environ, name, remedy)
    if not _NUMBER.fullmatch(text):
        raise InputError(f"{name} is {text:.99}: it must be a whole number")
    return int(text)
