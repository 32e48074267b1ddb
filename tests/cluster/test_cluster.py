"""Clusters of real processes: what a run on one comes to, what it survives, and that nobody waits for ever."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from functools import partial

import pytest
from conftest import ROOT, environment

from mnist_cnn import InputError
from mnist_cnn.cluster import tf_config
from mnist_cnn.run_dir import directory

sys.path.insert(0, str(ROOT / "scripts"))
from launch_local import free_addresses  # noqa: E402

TRAIN = [sys.executable, str(ROOT / "scripts/train.py")]
LAUNCH = [sys.executable, str(ROOT / "scripts/launch_local.py")]


def tf_config_of(cluster, job, index):
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


class Cluster:
    """Tasks as processes; `shells` are what each task's command is run by, for tasks on hosts of their own."""

    def __init__(self, cluster, flags, shells=None):
        self.cluster, self.flags, self.shells, self.processes = cluster, list(map(str, flags)), shells or {}, []

    def start(self, job, index, python=sys.executable):
        process = subprocess.Popen(
            [*self.shells.get((job, index), []), python, *TRAIN[1:], *self.flags],
            env={**environment(), "TF_CONFIG": tf_config_of(self.cluster, job, index)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        self.processes.append(process)
        return process

    def kill(self):
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def clusters():
    """Makes a Cluster; whatever the test leaves of it is killed."""
    with contextlib.ExitStack() as stack:

        def make(*arguments):
            cluster = Cluster(*arguments)
            stack.callback(cluster.kill)
            return cluster

        yield make


def ended(process, within=120):
    """The (status, stderr) of a process that ends within some seconds."""
    _, error = process.communicate(timeout=within)
    return process.returncode, error


def wait_for(condition, process, within=120):
    give_up_at = time.monotonic() + within
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up_at, f"nothing for {within} s"
        time.sleep(0.01)


def has_step(run, step):
    records = [record.stem for record in run.glob("checkpoints/step-*.json")]
    return any(int(name[len("step-") :]) >= step for name in records)


def variables(run, step):
    """The bytes of all variables, Adam's included."""
    folder = run / "checkpoints"
    return [(folder / f"step-{step}.{suffix}").read_bytes() for suffix in ("index", "data-00000-of-00001")]


TWO = {"worker": ["a.example:2222", "10.0.0.2:2222"]}


@pytest.mark.parametrize(
    "text, what",
    [
        ('{"cluster": {', "not valid JSON"),
        ("[]", "no JSON object"),
        (json.dumps({"cluster": TWO}), "a cluster and a task"),
        (tf_config_of(TWO, "worker", 2), r"worker 2, is not in its cluster, which has worker 0\.\.1"),
        (tf_config_of(TWO, "worker", -1), "worker -1, is not in"),
        (tf_config_of(TWO, "ps", 0), "ps 0, is not in"),
        (tf_config_of({"worker": ["a:1"], "evaluator": ["b:1"]}, "worker", 0), "job 'evaluator'"),
        (tf_config_of({"worker": "a:1"}, "worker", 0), "must be a list"),
        (tf_config_of({"worker": ["a"]}, "worker", 0), "'a': it must be HOST:PORT"),
        (tf_config_of({"worker": ["a:0"]}, "worker", 0), "'a:0'"),
        (tf_config_of({"worker": ["a:65536"]}, "worker", 0), "'a:65536'"),
        (tf_config_of({"worker": ["http://a:1"]}, "worker", 0), "'http://a:1'"),
        (tf_config_of({"worker": [5]}, "worker", 0), "address 5"),
        (tf_config_of({"worker": ["a:1", "a:1"]}, "worker", 0), "a:1 twice"),
        (tf_config_of({"chief": ["a:1", "b:1"]}, "chief", 0), "one chief at most"),
        (tf_config_of({"ps": ["a:1"]}, "ps", 0), "a worker at least"),
        ("[" * 100000, "not valid JSON"),
    ],
)
def test_a_tf_config_that_is_not_valid_is_refused_with_what_is_wrong(text, what):
    with pytest.raises(InputError, match=what):
        tf_config.parse_tf_config(text)


def test_the_chief_is_the_one_named_or_worker_0():
    assert tf_config.parse_tf_config(tf_config_of(TWO, "worker", 1)).chief.address == "a.example:2222"
    assert tf_config.parse_tf_config(tf_config_of({**TWO, "chief": ["c:1"]}, "worker", 0)).chief.address == "c:1"


def test_a_bad_tf_config_is_one_line_before_anything_is_loaded(script):
    done = script("train.py", TF_CONFIG=tf_config_of(TWO, "worker", 7))
    assert done.returncode == 2 and "worker 7, is not in its cluster" in done.stderr
    assert done.stderr.startswith("train.py: error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["{}", '{"cluster": {}}', '{"task": {"type": "worker", "index": 0}}'])
def test_a_tf_config_without_a_cluster_is_none(text):
    assert tf_config.parse_tf_config(text) is None


def test_without_a_tf_config_nothing_of_clusters_is_imported(python, tmp_path):
    code = f"""
import sys; sys.argv = ["train.py", "--dataset", "sample", "--max-steps", "1", "--run-dir", {str(tmp_path / "run")!r}]
sys.path.insert(0, "scripts")
import train
try:
    train.main()
except SystemExit as end:
    assert end.code == 0
print([name for name in sys.modules if name in ("mnist_cnn.cluster", "mnist_cnn.tf_config")])
"""
    assert python(code).splitlines()[-1] == "[]"


@pytest.mark.slow
def test_the_costs_are_the_same_for_any_number_of_workers(mnist_dir, tmp_path):
    # An epoch of 100 steps, to the 4 digits that history.csv has and more.
    flags = ["--data-dir", str(mnist_dir), "--batch-size", "100", "--epochs", "1", "--max-steps", "100"]
    flags += ["--checkpoint-secs", "1000"]
    costs = []
    for workers in (None, 1, 2, 3):
        run = tmp_path / str(workers)
        command = [*LAUNCH, "--workers", str(workers), "--"] if workers else TRAIN
        done = subprocess.run(
            [*command, *flags, "--run-dir", str(run)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        state = directory.read_json(run / "checkpoints", "step-100.json")["state"]
        costs.append(state["epoch_cost"] / 100)
    print(costs)
    assert 0.3 < costs[0] < 1.5
    assert costs == pytest.approx([costs[0]] * 4, rel=0.01)


SMALL = ["--dataset", "sample", "--epochs", 3, "--cluster-timeout", 20]  # 120 steps
LAST = 120


def two_workers():
    return {"worker": free_addresses(2)}


def trained(run):
    return variables(run, LAST), [(row["avg_cost"], row["validation_accuracy"]) for row in directory.read_history(run)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run of SMALL on two workers comes to, and what it prints."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    done = subprocess.run(
        [*LAUNCH, "--workers", "2", "--ps", "1", "--", *map(str, SMALL), "--run-dir", str(run)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert done.returncode == 0, done.stderr
    return trained(run), done.stdout.replace("[chief] ", "")


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_a_worker_that_is_killed_and_started_again_costs_no_bit(clusters, undisturbed, tmp_path):
    run = tmp_path / "run"
    cluster = clusters(two_workers(), [*SMALL, "--run-dir", run])
    chief, worker = cluster.start("worker", 0), cluster.start("worker", 1)
    wait_for(lambda: has_step(run, 40), chief)
    worker.kill()
    worker = cluster.start("worker", 1)
    out, error = chief.communicate(timeout=60)
    assert chief.returncode == 0 and "answers no more" in error, error
    assert ended(worker) == (0, "")
    assert (trained(run), out) == undisturbed


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_a_chief_that_is_killed_and_started_again_costs_no_bit(clusters, undisturbed, tmp_path):
    run = tmp_path / "run"
    cluster = clusters(two_workers(), [*SMALL, "--run-dir", run, "--resume"])
    chief, worker = cluster.start("worker", 0), cluster.start("worker", 1)
    wait_for(lambda: has_step(run, 40), chief)
    chief.kill()
    chief.communicate()
    chief = cluster.start("worker", 0)
    out, error = chief.communicate(timeout=60)
    assert chief.returncode == 0, error
    assert ended(worker) == (0, "")
    assert (trained(run), out) == undisturbed


@pytest.mark.slow
def test_a_task_that_does_not_come_or_answers_no_more_is_not_waited_for_forever(clusters, tmp_path):
    flags = ["--dataset", "sample", "--cluster-timeout", 20, "--run-dir"]
    names = ["alone", "deaf", "mute", "left", "asleep"]
    alone, deaf, mute, left, asleep = (clusters(two_workers(), [*flags, tmp_path / name]) for name in names)

    # Its worker goes before a session with it is created, which TensorFlow tries for ever.
    in_creation, stopped = asleep.start("worker", 0), asleep.start("worker", 1)
    wait_for((tmp_path / "asleep").exists, in_creation)
    stopped.send_signal(signal.SIGSTOP)
    within_step, stopped = left.start("worker", 0), left.start("worker", 1)
    wait_for(lambda: has_step(tmp_path / "left", 40), within_step)
    stopped.send_signal(signal.SIGSTOP)
    no_worker, no_chief = alone.start("worker", 0), deaf.start("worker", 1)
    with socket.socket() as listening:  # takes connections, and never says a word
        host, port = mute.cluster["worker"][1].split(":")
        listening.bind((host, int(port)))
        listening.listen(10)
        no_answer = mute.start("worker", 0)
        for process, cluster, seconds in (
            (no_worker, alone, 20),
            (no_answer, mute, 20),
            (within_step, left, 20),
            (in_creation, asleep, 51),
        ):
            status, error = ended(process)
            address = cluster.cluster["worker"][1]
            assert status == 1 and f"the worker 1 at {address} did not answer for {seconds} s" in error, error
    status, error = ended(no_chief)
    assert status == 1 and f"the worker 0 at {deaf.cluster['worker'][0]}" in error, error


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_a_stop_is_heard_while_a_task_answers_no_more(clusters, tmp_path):
    cluster = clusters(two_workers(), ["--dataset", "sample", "--cluster-timeout", 20, "--run-dir", tmp_path / "run"])
    chief, worker = cluster.start("worker", 0), cluster.start("worker", 1)
    wait_for(lambda: has_step(tmp_path / "run", 40), chief)
    worker.send_signal(signal.SIGSTOP)
    time.sleep(1)  # it is within a step now, which will fail
    chief.send_signal(signal.SIGTERM)
    status, error = ended(chief)
    assert status == 143 and "stopped at once" in error and error.count("\n") == 1, error


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_1")
def test_workers_end_with_the_chief(clusters, tmp_path):
    killed, stopped = (clusters(two_workers(), [*SMALL, "--run-dir", tmp_path / n]) for n in ("0", "1"))
    pairs = [(cluster.start("worker", 0), cluster.start("worker", 1)) for cluster in (killed, stopped)]
    for (chief, _), signum, run in zip(pairs, (signal.SIGKILL, signal.SIGTERM), ("0", "1")):
        wait_for(lambda run=run: has_step(tmp_path / run, 0), chief)
        chief.send_signal(signum)
    assert ended(pairs[1][0])[0] == 143 and ended(pairs[1][1]) == (0, "")
    status, error = ended(pairs[0][1])
    assert status == 1 and f"nothing was heard from the worker 0 at {killed.cluster['worker'][0]} for 20 s" in error


@pytest.mark.slow
def test_a_port_that_is_taken_and_a_batch_too_small_to_share_are_one_line(clusters):
    cluster = clusters(two_workers(), ["--dataset", "sample", "--batch-size", 1])
    status, error = ended(cluster.start("worker", 0))
    assert status == 2 and "--batch-size is 1: with 2 tasks" in error and error.count("\n") == 1
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", int(cluster.cluster["worker"][1].split(":")[1])))
        taken.listen(1)
        status, error = ended(cluster.start("worker", 1))
    assert status == 2 and f"{cluster.cluster['worker'][1]} cannot listen" in error and error.count("\n") == 1


@pytest.mark.slow
def test_tasks_that_differ_are_named(clusters, tmp_path):
    cluster = clusters(two_workers(), ["--dataset", "sample", "--cluster-timeout", 20, "--run-dir", tmp_path / "run"])
    chief = cluster.start("worker", 0)
    cluster.cluster = {**cluster.cluster, "ps": free_addresses(1)}
    worker = cluster.start("worker", 1)
    status, error = ended(chief)
    assert status == 2 and f"worker 1 at {cluster.cluster['worker'][1]} has the cluster" in error, error
    status, error = ended(worker)
    assert status == 1 and "the worker 0 at" in error and "ended with an error" in error, error


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_another_tensorflow_is_named(clusters, other, tmp_path):
    # A chief of 1.15 hears what a worker of 2.21 is; the other way round they do not understand each other.
    cluster = clusters(two_workers(), ["--dataset", "sample", "--cluster-timeout", 60, "--run-dir", tmp_path / "run"])
    chief = cluster.start("worker", 0, other)
    cluster.start("worker", 1)
    status, error = ended(chief)
    assert status == 2 and re.search(r"worker 1 at 127\.0\.0\.1:\d+ has TensorFlow 2.*and the chief 1", error), error


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_1")
@pytest.mark.parametrize("how, status", [("a task is killed", 137), ("Ctrl-C", 130), ("Ctrl-C twice", 130)])
def test_launch_local_ends_all_tasks_with_the_status_of_the_one_that_failed(tmp_path, how, status):
    run = tmp_path / "run"
    launcher = subprocess.Popen(
        [*LAUNCH, "--workers", "2", "--", "--dataset", "sample", "--run-dir", str(run)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    wait_for(lambda: has_step(run, 0), launcher)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(launcher.pid)], stdout=subprocess.PIPE)
    tasks = [int(pid) for pid in children.stdout.split()]
    assert len(tasks) == 2
    if how == "a task is killed":
        os.kill(max(tasks), signal.SIGKILL)
    else:
        if how == "Ctrl-C twice":
            os.kill(min(tasks), signal.SIGSTOP)  # else one may be enough
            launcher.send_signal(signal.SIGINT)
            time.sleep(0.5)
        launcher.send_signal(signal.SIGINT)
    _, error = launcher.communicate(timeout=120)
    assert launcher.returncode == status, error
    assert all(re.match(r"\[chief\] |\[worker 1\] |launch_local.py: stopped", line) for line in error.splitlines())
    assert not [pid for pid in tasks if os.path.exists(f"/proc/{pid}")]


@pytest.fixture
def three_hosts(tmp_path):
    """Three network namespaces on one bridge: for each host its address and the command that begins a shell there.

    On the second and third the folder of the test is hidden: what belongs to the run must be written by the chief.
    """
    if not (shutil.which("ip") and shutil.which("unshare") and hasattr(os, "geteuid") and os.geteuid() == 0):
        pytest.skip("needs root and iproute2, for hosts of its own")
    tag = uuid.uuid4().hex[:6]
    subnet = f"10.{int(tag[:2], 16)}.{int(tag[2:4], 16)}"

    def ip(*words):
        return subprocess.run(["ip", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)

    made = ip("link", "add", f"br{tag}", "type", "bridge")
    if made.returncode:
        pytest.skip(f"needs network namespaces: {made.stderr.strip()}")
    try:
        ip("link", "set", f"br{tag}", "up")
        hosts = []
        for n in range(3):
            name, cable = f"h{n}{tag}", f"v{n}{tag}"
            assert ip("netns", "add", name).returncode == 0
            ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", cable, "master", f"br{tag}", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"{subnet}.{n + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            shell = ["ip", "netns", "exec", name]
            if n:
                shell += ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {tmp_path} && exec "$@"', "sh"]
            hosts.append((f"{subnet}.{n + 1}:2222", shell, partial(ip, "link", "set", cable)))
        yield hosts
    finally:
        for n in range(3):
            ip("netns", "del", f"h{n}{tag}")
        ip("link", "del", f"br{tag}")


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_1")
def test_on_three_hosts_kills_and_a_cut_cable_cost_no_bit(clusters, undisturbed, three_hosts, tmp_path):
    run = tmp_path / "run"
    addresses, shells, cables = zip(*three_hosts)
    tasks = [("worker", 0), ("worker", 1), ("ps", 0)]
    cluster = clusters(
        {"worker": list(addresses[:2]), "ps": list(addresses[2:])},
        [*SMALL, "--cluster-timeout", 40, "--run-dir", run, "--resume"],
        dict(zip(tasks, shells)),
    )
    chief, worker, ps = (cluster.start(*task) for task in tasks)
    wait_for(lambda: has_step(run, 40), chief)
    worker.kill()
    worker = cluster.start(*tasks[1])
    wait_for(lambda: has_step(run, 80), chief)
    chief.kill()
    assert "answers no more" in chief.communicate()[1]
    started = time.time()
    chief = cluster.start(*tasks[0])
    wait_for(lambda: (run / "config.json").stat().st_mtime > started, chief)  # it goes on from there
    assert cables[1]("down").returncode == 0
    time.sleep(20)
    assert cables[1]("up").returncode == 0
    out, error = chief.communicate(timeout=120)
    assert chief.returncode == 0 and "answers no more" in error, error
    assert ended(worker) == (0, "") and ended(ps) == (0, "")
    assert (trained(run), out) == undisturbed
