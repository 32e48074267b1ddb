"""Slurm's and Kubernetes' environments: the tasks that they describe, and what is refused with the reason."""

import json

import pytest
from helpers import one_line_error

from mnist_cnn import InputError
from mnist_cnn.cluster.resolvers import expand_hosts, resolve_task

STEP = {
    "SLURM_STEP_NODELIST": "n[1-2],m5,o[3-4,6,7-9]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x3),2,1(x5)",
    "SLURM_STEP_NUM_TASKS": "10",
    "SLURM_PROCID": "4",
}
JOB = {
    "SLURM_JOB_NODELIST": "a,b",
    "SLURM_TASKS_PER_NODE": "1(x2)",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
}
POD = {
    "JOB_COMPLETION_INDEX": "1",
    "HOSTNAME": "mnist-1",
    "MNIST_CNN_TASKS": "3",
    "MNIST_CNN_SERVICE": "mnist-tasks",
}
TF_CONFIG = json.dumps({"cluster": {"worker": ["x:1", "y:1"]}, "task": {"type": "worker", "index": 0}})


@pytest.mark.parametrize(
    "text, hosts",
    [
        ("n[1-2],m5,o[3-4,6,7-9]", "n1 n2 m5 o3 o4 o6 o7 o8 o9"),  # of tensorflow issue 36159
        ("t02n[13,41-43]", "t02n13 t02n41 t02n42 t02n43"),
        ("localhost", "localhost"),
        ("n1,n2", "n1 n2"),
        ("n[08-11]", "n08 n09 n10 n11"),
        ("n[8-11]", "n8 n9 n10 n11"),
        ("rack[1-2]-node[3,5]", "rack1-node3 rack1-node5 rack2-node3 rack2-node5"),
        ("gpu[1-2].example.org", "gpu1.example.org gpu2.example.org"),
        ("n10,n2", "n10 n2"),  # Slurm's order
    ],
)
def test_a_host_list_is_expanded_in_its_order(text, hosts):
    assert expand_hosts(text) == hosts.split()


@pytest.mark.parametrize(
    "source, environ, addresses, index",
    [
        ("slurm", STEP, "n1:2222 n2:2222 m5:2222 o3:2222 o3:2223 o4:2222 o6:2222 o7:2222 o8:2222 o9:2222", 4),
        ("slurm", {**STEP, **{k: v for k, v in JOB.items() if k != "SLURM_PROCID"}}, None, 4),  # the step's come first
        ("slurm", JOB, "a:2222 b:2222", 1),
        ("slurm", {**JOB, "SLURM_NODEID": "1"}, "a:2222 b:2222", 1),
        ("auto", STEP, None, 4),
        ("kubernetes", POD, "mnist-0.mnist-tasks:2222 mnist-1.mnist-tasks:2222 mnist-2.mnist-tasks:2222", 1),
        ("auto", POD, "mnist-0.mnist-tasks:2222 mnist-1.mnist-tasks:2222 mnist-2.mnist-tasks:2222", 1),
        ("kubernetes", {**POD, "HOSTNAME": "a-b-1", "MNIST_CNN_TASKS": "2"}, None, 1),
        ("auto", {**POD, **STEP, "TF_CONFIG": TF_CONFIG}, "x:1 y:1", 0),
        ("auto", {**POD, **STEP}, None, 4),
        ("tf-config", {**POD, **STEP, "TF_CONFIG": TF_CONFIG}, "x:1 y:1", 0),
        ("slurm", {**JOB, "TF_CONFIG": TF_CONFIG}, "a:2222 b:2222", 1),
    ],
)
def test_a_task_is_found_from_its_environment(source, environ, addresses, index):
    task = resolve_task(source, environ)
    assert (task.job, task.index, list(task.cluster)) == ("worker", index, ["worker"])
    if addresses:
        assert task.cluster["worker"] == addresses.split()


@pytest.mark.parametrize(
    "source, environ",
    [
        ("tf-config", {}),
        ("tf-config", STEP),  # one process inside an allocation stays one process
        ("tf-config", POD),
        ("auto", {}),
        ("auto", JOB),  # a batch script
        ("auto", {"TF_CONFIG": ""}),
    ],
)
def test_a_process_without_a_cluster_stays_one_process(source, environ):
    assert resolve_task(source, environ) is None


@pytest.mark.parametrize(
    "source, environ, reason",
    [
        ("slurm", {}, "SLURM_JOB_NODELIST is not set: start each task with srun"),
        ("slurm", {**STEP, "SLURM_PROCID": ""}, "SLURM_PROCID is not set"),
        ("slurm", {**STEP, "SLURM_PROCID": "-1"}, "SLURM_PROCID is -1: it must be a whole number"),
        ("slurm", {**STEP, "SLURM_PROCID": "1" * 5000}, "it must be a whole number"),
        ("slurm", {**STEP, "SLURM_PROCID": "10"}, "SLURM_PROCID is 10, and SLURM_STEP_NUM_TASKS is 10"),
        ("slurm", {**STEP, "SLURM_STEP_NUM_TASKS": "9"}, "they contradict each other"),
        ("slurm", {**STEP, "SLURM_STEP_TASKS_PER_NODE": "1(x10)"}, "they contradict each other"),
        ("slurm", {**STEP, "SLURM_STEP_TASKS_PER_NODE": "1(y3)"}, "must be numbers of tasks as Slurm writes them"),
        ("slurm", {**STEP, "SLURM_STEP_TASKS_PER_NODE": "0,1(x9)"}, "must be numbers of tasks as Slurm writes them"),
        ("slurm", {**STEP, "SLURM_STEP_TASKS_PER_NODE": "9(x99999)"}, "more than 10,000 tasks"),
        ("slurm", {**STEP, "SLURM_STEP_NODELIST": "n[1-"}, "must be hosts as Slurm writes them"),
        ("slurm", {**STEP, "SLURM_STEP_NODELIST": "n[1-2]]"}, "must be hosts as Slurm writes them"),
        ("slurm", {**STEP, "SLURM_STEP_NODELIST": "n1,,n2"}, "must be hosts as Slurm writes them"),
        ("slurm", {**STEP, "SLURM_STEP_NODELIST": "n1 n2"}, "must be hosts as Slurm writes them"),
        ("slurm", {**STEP, "SLURM_STEP_NODELIST": "n[2-1]"}, "range '2-1'"),
        ("slurm", {**STEP, "SLURM_STEP_NODELIST": "n[1-2-3]"}, "range '1-2-3'"),
        ("slurm", {**STEP, "SLURM_STEP_NODELIST": "n[1,]"}, "the range ''"),
        ("slurm", {**STEP, "SLURM_STEP_NODELIST": "n[0-999999999]"}, "more than 10,000 hosts"),
        ("slurm", {**STEP, "SLURM_STEP_NODELIST": "n[0-9999][0-9999]"}, "more than 10,000 hosts"),
        ("slurm", {**STEP, "SLURM_STEP_NODELIST": "http://n[1-9]"}, "no host name"),
        ("slurm", {**JOB, "SLURM_JOB_NODELIST": "a,a"}, "lists a host twice"),
        ("slurm", {**JOB, "SLURM_NODEID": "0"}, "srun --distribution=block"),
        ("kubernetes", {}, "JOB_COMPLETION_INDEX is not set: set completionMode: Indexed"),
        ("kubernetes", {**POD, "JOB_COMPLETION_INDEX": "one"}, "JOB_COMPLETION_INDEX is one: it must be a whole"),
        ("kubernetes", {**POD, "JOB_COMPLETION_INDEX": "3"}, "the index must be smaller"),
        ("kubernetes", {**POD, "MNIST_CNN_TASKS": ""}, "MNIST_CNN_TASKS is not set: set it to the Job's completions"),
        ("kubernetes", {**POD, "MNIST_CNN_TASKS": "99999999"}, "at most 10,000 tasks"),
        ("kubernetes", {**POD, "MNIST_CNN_SERVICE": ""}, "MNIST_CNN_SERVICE is not set: set it to the name"),
        ("kubernetes", {**POD, "MNIST_CNN_SERVICE": "a b"}, "must be the name of a service"),
        ("kubernetes", {**POD, "HOSTNAME": "mnist-2"}, "HOSTNAME is mnist-2: in an Indexed Job, it is"),
        ("kubernetes", {**POD, "HOSTNAME": "mnist"}, "HOSTNAME is mnist: in an Indexed Job, it is"),
        ("auto", {"TF_CONFIG": "{"}, "TF_CONFIG is not valid JSON"),
    ],
)
def test_an_invalid_environment_is_refused_with_the_reason(source, environ, reason):
    with pytest.raises(InputError) as error:
        resolve_task(source, environ)
    (line,) = str(error.value).splitlines()
    assert reason in line and len(line) < 400


def test_ports_above_65535_are_refused():
    with pytest.raises(InputError, match="with 2 tasks on a host, the last would be above 65535"):
        resolve_task("slurm", STEP, 65535)


@pytest.mark.parametrize(
    "flags, reason",
    [
        (["--cluster", "slurm"], "SLURM_JOB_NODELIST is not set: start each task with srun"),
        (["--cluster", "kubernetes"], "JOB_COMPLETION_INDEX is not set: set completionMode: Indexed in the manifest"),
        (["--cluster", "slurm", "--cluster-port", 0], "cluster-port is 0: it must be a whole number, in 1..65535"),
        (["--cluster-port", 5000], "--cluster-port is for --cluster auto, slurm or kubernetes"),
    ],
)
def test_a_wrong_cluster_is_a_one_line_error(script, flags, reason):
    done = script("train.py", *flags, SLURM_STEP_NODELIST="", SLURM_JOB_NODELIST="", JOB_COMPLETION_INDEX="")
    assert reason in one_line_error(done, 2)
