"""Clusters of real processes: results, recovery from failures, and errors instead of waiting forever."""

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
from helpers import checkpoint_bytes, environment, script_command, start, wait_for

from mnist_cnn.cli.launch_local import free_addresses
from mnist_cnn.run_dir import directory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL and SIGSTOP"),
]

SMALL_RUN = ["--dataset", "sample", "--epochs", 3]  # LAST_STEP steps
LAST_STEP = 120


class Cluster:
    """Tasks as processes. `shells` are the command prefixes of tasks that run on other hosts."""

    def __init__(self, cluster, flags, shells=None):
        self.cluster, self.flags, self.shells, self.processes = cluster, flags, shells or {}, []

    def start(self, job, index, python=sys.executable):
        tf_config = json.dumps({"cluster": self.cluster, "task": {"type": job, "index": index}})
        command = [*self.shells.get((job, index), []), *script_command("train.py", *self.flags, python=python)]
        # Tasks must not connect to each other through a proxy: at this one, nothing listens.
        self.processes.append(start(command, env=environment(TF_CONFIG=tf_config, http_proxy="http://127.0.0.1:9")))
        return self.processes[-1]

    def kill(self):
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def clusters():
    """Creates a Cluster; its processes are killed after the test."""
    with contextlib.ExitStack() as stack:

        def create(*arguments):
            cluster = Cluster(*arguments)
            stack.callback(cluster.kill)
            return cluster

        yield create


def two_workers():
    return {"worker": free_addresses(2)}


def wait_for_exit(process, timeout=120):
    """Returns the (exit status, stderr) of a process."""
    _, stderr = process.communicate(timeout=timeout)
    return process.returncode, stderr


def run_command(command, **options):
    """Runs a command that must succeed, and returns its stdout."""
    done = subprocess.run(
        command,
        env=environment(),
        capture_output=True,
        text=True,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def has_checkpoint(run_dir, step):
    """Whether the run has a checkpoint of this or a later step."""
    names = [path.stem for path in run_dir.glob("checkpoints/step-*.json")]
    return any(int(name[len("step-") :]) >= step for name in names)


def result_of(run_dir):
    """The final variables, Adam's included, and the history of a SMALL_RUN."""
    history = [(row["avg_cost"], row["validation_accuracy"]) for row in directory.read_history(run_dir)]
    return checkpoint_bytes(run_dir, LAST_STEP), history


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Result and stdout of a SMALL_RUN on two workers and a parameter server."""
    run_dir = tmp_path_factory.mktemp("uninterrupted") / "run"
    stdout = run_command(
        script_command("launch_local.py", "--workers", 2, "--ps", 1, "--", *SMALL_RUN, "--run-dir", run_dir)
    )
    return result_of(run_dir), stdout.replace("[chief] ", "")


@pytest.mark.usefixtures("tensorflow_2")
def test_costs_are_equal_for_any_number_of_workers(mnist_dir, tmp_path):
    # One epoch has 550 steps, therefore the costs of 100 steps are compared by the checkpoint's sum of costs.
    flags = ["--data-dir", mnist_dir, "--batch-size", 100, "--epochs", 1, "--max-steps", 100, "--checkpoint-secs", 1000]
    costs = []
    for workers in (None, 1, 2, 3):
        run_flags = [*flags, "--run-dir", tmp_path / str(workers)]
        if workers:
            command = script_command("launch_local.py", "--workers", workers, "--", *run_flags)
        else:
            command = script_command("train.py", *run_flags)
        run_command(command, timeout=300)
        state = directory.read_json(tmp_path / str(workers) / "checkpoints", "step-100.json")["state"]
        costs.append(state["epoch_cost"] / 100)
    print(costs)
    assert 0.3 < costs[0] < 1.5
    assert costs == pytest.approx([costs[0]] * 4, rel=0.01)


@pytest.mark.long
@pytest.mark.usefixtures("tensorflow_2")
def test_a_killed_and_restarted_worker_leaves_the_result_bit_identical(clusters, uninterrupted, tmp_path):
    run_dir = tmp_path / "run"
    cluster = clusters(two_workers(), [*SMALL_RUN, "--run-dir", run_dir])
    chief, worker = cluster.start("worker", 0), cluster.start("worker", 1)
    wait_for(lambda: has_checkpoint(run_dir, 40), chief)
    worker.kill()
    worker = cluster.start("worker", 1)
    stdout, stderr = chief.communicate(timeout=120)
    assert chief.returncode == 0 and "NOTICE: lost connection to a task" in stderr, stderr
    assert wait_for_exit(worker) == (0, "")
    assert (result_of(run_dir), stdout) == uninterrupted


@pytest.mark.long
@pytest.mark.usefixtures("tensorflow_2")
def test_a_killed_and_restarted_parameter_server_leaves_the_result_bit_identical(clusters, uninterrupted, tmp_path):
    run_dir, addresses = tmp_path / "run", free_addresses(3)
    cluster = clusters({"worker": addresses[:2], "ps": addresses[2:]}, [*SMALL_RUN, "--run-dir", run_dir])
    chief, worker, server = cluster.start("worker", 0), cluster.start("worker", 1), cluster.start("ps", 0)
    wait_for(lambda: has_checkpoint(run_dir, 40), chief)
    server.kill()
    server = cluster.start("ps", 0)
    stdout, stderr = chief.communicate(timeout=120)
    assert chief.returncode == 0 and "NOTICE: lost connection to a task" in stderr, stderr
    assert wait_for_exit(worker) == wait_for_exit(server) == (0, "")
    assert (result_of(run_dir), stdout) == uninterrupted


@pytest.mark.long
@pytest.mark.usefixtures("tensorflow_2")
def test_a_parameter_server_that_is_killed_and_stays_away_is_named_and_the_run_can_be_resumed(clusters, tmp_path):
    run_dir, addresses = tmp_path / "run", free_addresses(3)
    flags = [*SMALL_RUN, "--run-dir", run_dir, "--cluster-timeout", 10]
    cluster = clusters({"worker": addresses[:2], "ps": addresses[2:]}, flags)
    chief, worker, server = cluster.start("worker", 0), cluster.start("worker", 1), cluster.start("ps", 0)
    wait_for(lambda: has_checkpoint(run_dir, 40), chief)
    server.kill()
    status, stderr = wait_for_exit(chief)
    assert status == 1 and f"ps 0 at {addresses[2]} did not respond for 10 s" in stderr, stderr
    assert f"to resume: --resume --run-dir {run_dir}" in stderr
    status, stderr = wait_for_exit(worker)
    assert status == 1 and len(stderr.splitlines()) == 1


@pytest.mark.usefixtures("tensorflow_2")
def test_a_killed_and_restarted_chief_leaves_the_result_bit_identical(clusters, uninterrupted, tmp_path):
    run_dir = tmp_path / "run"
    cluster = clusters(two_workers(), [*SMALL_RUN, "--run-dir", run_dir, "--resume"])
    chief, worker = cluster.start("worker", 0), cluster.start("worker", 1)
    wait_for(lambda: has_checkpoint(run_dir, 40), chief)
    chief.kill()
    chief.communicate()
    chief = cluster.start("worker", 0)
    stdout, stderr = chief.communicate(timeout=120)
    assert chief.returncode == 0, stderr
    assert wait_for_exit(worker) == (0, "")
    assert (result_of(run_dir), stdout) == uninterrupted


@pytest.mark.usefixtures("tensorflow_1")
def test_no_task_waits_forever_for_a_task_that_is_missing_or_does_not_respond(clusters, tmp_path):
    def create(name):
        return clusters(two_workers(), ["--dataset", "sample", "--cluster-timeout", 20, "--run-dir", tmp_path / name])

    # The worker stops before the chief has created a session with it, for which TensorFlow has no timeout.
    frozen_at_start = create("frozen_at_start")
    chief_in_creation, worker = frozen_at_start.start("worker", 0), frozen_at_start.start("worker", 1)
    wait_for((tmp_path / "frozen_at_start").exists, chief_in_creation)
    worker.send_signal(signal.SIGSTOP)

    frozen_in_step = create("frozen_in_step")
    chief_in_step, worker = frozen_in_step.start("worker", 0), frozen_in_step.start("worker", 1)
    wait_for(lambda: has_checkpoint(tmp_path / "frozen_in_step", 40), chief_in_step)
    worker.send_signal(signal.SIGSTOP)

    no_worker, no_chief, silent = create("no_worker"), create("no_chief"), create("silent")
    chief_without_worker, worker_without_chief = no_worker.start("worker", 0), no_chief.start("worker", 1)
    with socket.socket() as listener:  # accepts connections, and never sends a byte
        host, port = silent.cluster["worker"][1].split(":")
        listener.bind((host, int(port)))
        listener.listen(10)
        chief_of_silent = silent.start("worker", 0)
        for process, cluster, seconds in (
            (chief_without_worker, no_worker, 20),
            (chief_of_silent, silent, 20),
            (chief_in_step, frozen_in_step, 20),
            (chief_in_creation, frozen_at_start, 51),
        ):
            status, stderr = wait_for_exit(process)
            address = cluster.cluster["worker"][1]
            assert status == 1, stderr
            assert f"train.py: error: worker 1 at {address} did not respond for {seconds} s" in stderr
    status, stderr = wait_for_exit(worker_without_chief)
    assert status == 1 and f"no heartbeat from worker 0 at {no_chief.cluster['worker'][0]} for 20 s" in stderr, stderr


@pytest.mark.long
@pytest.mark.usefixtures("tensorflow_2")
def test_a_signal_stops_the_run_while_a_task_does_not_respond(clusters, tmp_path):
    run_dir = tmp_path / "run"
    cluster = clusters(two_workers(), ["--dataset", "sample", "--cluster-timeout", 20, "--run-dir", run_dir])
    chief, worker = cluster.start("worker", 0), cluster.start("worker", 1)
    wait_for(lambda: has_checkpoint(run_dir, 40), chief)
    worker.send_signal(signal.SIGSTOP)
    time.sleep(1)  # the chief is now in a step, which will fail
    chief.send_signal(signal.SIGTERM)
    status, stderr = wait_for_exit(chief)
    assert status == 143 and "stopped immediately" in stderr and stderr.count("\n") == 1, stderr


@pytest.mark.usefixtures("tensorflow_1")
def test_workers_end_with_the_chief(clusters, tmp_path):
    flags = [*SMALL_RUN, "--cluster-timeout", 20, "--run-dir"]
    killed, stopped, all_stopped = (clusters(two_workers(), [*flags, tmp_path / name]) for name in "012")
    pairs = [(cluster.start("worker", 0), cluster.start("worker", 1)) for cluster in (killed, stopped, all_stopped)]
    for (chief, _), signum, name in zip(pairs, (signal.SIGKILL, signal.SIGTERM), "01"):
        wait_for(lambda name=name: has_checkpoint(tmp_path / name, 0), chief)
        chief.send_signal(signum)
    wait_for(lambda: has_checkpoint(tmp_path / "2", 40), pairs[2][0])
    for process in reversed(pairs[2]):  # as a scheduler does
        process.send_signal(signal.SIGTERM)
    assert wait_for_exit(pairs[1][0])[0] == 143 and wait_for_exit(pairs[1][1]) == (0, "")
    status, stderr = wait_for_exit(pairs[2][0])
    assert status == 143 and re.search(r"stopped after step \d+ of 120, saved;", stderr), stderr
    assert wait_for_exit(pairs[2][1]) == (0, "")
    status, stderr = wait_for_exit(pairs[0][1])
    assert status == 1 and f"no heartbeat from worker 0 at {killed.cluster['worker'][0]} for 20 s" in stderr, stderr


def test_a_port_in_use_and_a_batch_smaller_than_the_cluster_are_one_line_errors(clusters):
    cluster = clusters(two_workers(), ["--dataset", "sample", "--batch-size", 1])
    status, stderr = wait_for_exit(cluster.start("worker", 0))
    assert status == 2 and "batch_size is 1: with 2 replicas" in stderr and stderr.count("\n") == 1, stderr
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", int(cluster.cluster["worker"][1].split(":")[1])))
        listener.listen(1)
        status, stderr = wait_for_exit(cluster.start("worker", 1))
    assert status == 2 and f"{cluster.cluster['worker'][1]} cannot listen" in stderr and stderr.count("\n") == 1


@pytest.mark.usefixtures("tensorflow_1")
def test_tasks_fit_together_that_name_the_chief_differently_or_do_not_list_the_evaluator(clusters, tmp_path):
    chief_address, worker_address, evaluator_address = free_addresses(3)
    flags = ["--dataset", "sample", "--max-steps", 5, "--cluster-timeout", 60, "--run-dir", tmp_path / "run"]
    cluster = clusters({"master": [chief_address], "worker": [worker_address], "evaluator": [evaluator_address]}, flags)
    chief, evaluator = cluster.start("master", "0"), cluster.start("evaluator", "0")
    cluster.cluster = {"chief": [chief_address], "worker": [worker_address]}
    worker = cluster.start("worker", "0")
    stdout, stderr = chief.communicate(timeout=120)
    assert chief.returncode == 0 and stdout.startswith("Accuracy: "), stderr
    assert wait_for_exit(worker) == (0, "")
    status, stderr = wait_for_exit(evaluator)
    assert status == 0 and "this task is an evaluator" in stderr
    assert directory.read_json(tmp_path / "run", "result.json")["steps"] == 5


@pytest.mark.usefixtures("tensorflow_1")
def test_a_task_with_another_cluster_is_named_in_the_error(clusters, tmp_path):
    cluster = clusters(two_workers(), ["--dataset", "sample", "--cluster-timeout", 20, "--run-dir", tmp_path / "run"])
    chief = cluster.start("worker", 0)
    cluster.cluster = {**cluster.cluster, "ps": free_addresses(1)}
    worker = cluster.start("worker", 1)
    status, stderr = wait_for_exit(chief)
    assert status == 2 and f"worker 1 at {cluster.cluster['worker'][1]} has the cluster" in stderr, stderr
    status, stderr = wait_for_exit(worker)
    assert status == 1 and re.search(r"worker 0 at \S+ ended with an error", stderr), stderr


@pytest.mark.usefixtures("tensorflow_2")
def test_a_task_with_another_tensorflow_is_named_in_the_error(clusters, other_python, tmp_path):
    # A chief with 1.15 can read the fingerprint of a worker with 2.21. With versions swapped, no session is created.
    cluster = clusters(two_workers(), ["--dataset", "sample", "--cluster-timeout", 60, "--run-dir", tmp_path / "run"])
    chief = cluster.start("worker", 0, other_python)
    cluster.start("worker", 1)
    status, stderr = wait_for_exit(chief)
    assert status == 2, stderr
    assert re.search(r"worker 1 at 127\.0\.0\.1:\d+ has TensorFlow 2.*and the chief 1", stderr), stderr


@pytest.fixture
def three_hosts(tmp_path):
    """Three network namespaces on one bridge.

    For each host a tuple: its address, the command prefix that runs a command there, and a function that sets its
    network link "up" or "down". The test's directory is hidden on the second and third host: only the chief may write
    the run directory.
    """
    if not (shutil.which("ip") and shutil.which("unshare") and hasattr(os, "geteuid") and os.geteuid() == 0):
        pytest.skip("needs root and iproute2, to create network namespaces")
    tag = uuid.uuid4().hex[:6]
    subnet = f"10.{int(tag[:2], 16)}.{int(tag[2:4], 16)}"

    def ip(*arguments):
        return subprocess.run(["ip", *arguments], capture_output=True, text=True)

    created = ip("link", "add", f"br{tag}", "type", "bridge")
    if created.returncode:
        pytest.skip(f"needs network namespaces: {created.stderr.strip()}")
    try:
        ip("link", "set", f"br{tag}", "up")
        hosts = []
        for n in range(3):
            name, link = f"h{n}{tag}", f"v{n}{tag}"
            assert ip("netns", "add", name).returncode == 0
            ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", link, "master", f"br{tag}", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"{subnet}.{n + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            shell = ["ip", "netns", "exec", name]
            if n:
                shell += ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {tmp_path} && exec "$@"', "sh"]
            hosts.append((f"{subnet}.{n + 1}:2222", shell, partial(ip, "link", "set", link)))
        yield hosts
    finally:
        for n in range(3):
            ip("netns", "del", f"h{n}{tag}")
        ip("link", "del", f"br{tag}")


@pytest.mark.usefixtures("tensorflow_1")
def test_kills_and_a_network_failure_on_three_hosts_leave_the_result_bit_identical(
    clusters, uninterrupted, three_hosts, tmp_path
):
    run_dir = tmp_path / "run"
    addresses, shells, set_links = zip(*three_hosts)
    tasks = [("worker", 0), ("worker", 1), ("ps", 0)]
    cluster = clusters(
        {"worker": list(addresses[:2]), "ps": list(addresses[2:])},
        [*SMALL_RUN, "--cluster-timeout", 40, "--run-dir", run_dir, "--resume"],
        dict(zip(tasks, shells)),
    )
    chief, worker, ps = (cluster.start(*task) for task in tasks)
    wait_for(lambda: has_checkpoint(run_dir, 40), chief)
    worker.kill()
    worker = cluster.start(*tasks[1])
    wait_for(lambda: has_checkpoint(run_dir, 80), chief)
    chief.kill()
    assert "lost connection to a task" in chief.communicate()[1]
    restarted_at = time.time()
    chief = cluster.start(*tasks[0])
    wait_for(lambda: (run_dir / "config.json").stat().st_mtime > restarted_at, chief)  # the run has been resumed
    assert set_links[1]("down").returncode == 0
    time.sleep(20)
    assert set_links[1]("up").returncode == 0
    stdout, stderr = chief.communicate(timeout=120)
    assert chief.returncode == 0 and "lost connection to a task" in stderr, stderr
    assert wait_for_exit(worker) == (0, "") and wait_for_exit(ps) == (0, "")
    assert (result_of(run_dir), stdout) == uninterrupted


@pytest.mark.usefixtures("tensorflow_2")
def test_the_pods_of_an_indexed_job_find_each_other_by_their_names(three_hosts, tmp_path, tmp_path_factory):
    hosts = tmp_path_factory.mktemp("names") / "hosts"
    addresses = [address.partition(":")[0] for address, *_ in three_hosts[:2]]
    names = "".join(f"{address} mnist-{index}.tasks\n" for index, address in enumerate(addresses))
    hosts.write_text("127.0.0.1 localhost\n" + names)
    processes = []
    for index, (_, shell, _) in enumerate(three_hosts[:2]):
        shell = [*shell, "unshare", "-m", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
        flags = ["--cluster", "kubernetes", "--dataset", "sample", "--max-steps", 20, "--run-dir", tmp_path / "run"]
        pod = {"JOB_COMPLETION_INDEX": str(index), "HOSTNAME": f"mnist-{index}"}
        variables = environment(MNIST_CNN_TASKS="2", MNIST_CNN_SERVICE="tasks", **pod)
        processes.append(start([*shell, *script_command("train.py", *flags)], env=variables))
    try:
        stdout, stderr = processes[0].communicate(timeout=120)
        assert processes[0].returncode == 0 and stdout.startswith("Accuracy: "), stderr
        assert wait_for_exit(processes[1]) == (0, "")
    finally:
        for process in processes:
            process.kill()
