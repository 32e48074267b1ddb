"""A real Slurm: one controller, and two node daemons on hosts of their own (network namespaces)."""

import os
import re
import shutil
import subprocess
import sys
import time
import uuid

import pytest
from helpers import ROOT, environment, script_command, start, wait_for

from mnist_cnn.run_dir import directory

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tensorflow_2")]

CONFIG = """
ClusterName=test
SlurmctldHost=controller({subnet}.254)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/linear
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldPort=16817
SlurmdPort=16818
NodeName=node1 NodeAddr={subnet}.1 CPUs=1
NodeName=node2 NodeAddr={subnet}.2 CPUs=1
PartitionName=all Nodes=node1,node2 Default=YES
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Starts Slurm. Yields the environment variables with which srun finds it."""
    commands = "slurmctld", "slurmd", "srun", "ip", "unshare"
    if not all(map(shutil.which, commands)) or os.geteuid() != 0:
        pytest.skip("needs root, iproute2 and Slurm: apt-get install slurm-wlm")
    tag = uuid.uuid4().hex[:6]
    subnet, folder = f"10.{int(tag[:2], 16)}.{int(tag[2:4], 16)}", tmp_path_factory.mktemp("slurm")
    (folder / "state").mkdir()
    (folder / "slurm.conf").write_text(CONFIG.format(subnet=subnet, folder=folder))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    names = {"127.0.0.1": "localhost", f"{subnet}.1": "node1", f"{subnet}.2": "node2", f"{subnet}.254": "controller"}
    (folder / "hosts").write_text("".join(f"{address} {name}\n" for address, name in names.items()))
    processes = []

    def ip(*arguments):
        return subprocess.run(["ip", *arguments], capture_output=True, text=True)

    def start_daemon(hostname, *command, namespace=()):
        script = f'hostname {hostname} && mount --bind {folder}/hosts /etc/hosts && exec "$@"'
        shell = [*namespace, "unshare", "--mount", "--uts", "sh", "-c", script, "sh"]
        log = open(str(folder / f"{hostname}.log"), "w")
        processes.append(subprocess.Popen([*shell, *command], stdout=log, stderr=log, start_new_session=True))

    if ip("link", "add", f"br{tag}", "type", "bridge").returncode:
        pytest.skip("needs network namespaces")
    try:
        ip("addr", "add", f"{subnet}.254/24", "dev", f"br{tag}")
        ip("link", "set", f"br{tag}", "up")
        configuration = str(folder / "slurm.conf")
        start_daemon("controller", "slurmctld", "-D", "-f", configuration)
        for number in (1, 2):
            name, link = f"s{number}{tag}", f"w{number}{tag}"
            assert ip("netns", "add", name).returncode == 0
            ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", link, "master", f"br{tag}", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"{subnet}.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            command = ["slurmd", "-D", "-N", f"node{number}", "-f", configuration]
            start_daemon(f"node{number}", *command, namespace=["ip", "netns", "exec", name])
        variables = {"SLURM_CONF": configuration}

        def has_idle_nodes():
            command = ["sinfo", "--noheader", "--states=idle", "--format=%D"]
            return subprocess.run(command, env=environment(**variables), capture_output=True, text=True).stdout == "2\n"

        wait_for(has_idle_nodes, processes[0], timeout=60)
        yield variables
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()
        for number in (1, 2):
            ip("netns", "del", f"s{number}{tag}")
        ip("link", "del", f"br{tag}")


@pytest.fixture
def allocation(slurm):
    """The number of a job that has both hosts until the test ends."""
    command = ["salloc", "--no-shell", "--nodes=2", "--ntasks=2"]
    done = subprocess.run(command, env=environment(**slurm), capture_output=True, text=True, timeout=60)
    (job,) = re.findall(r"Granted job allocation (\d+)", done.stderr)
    yield job
    subprocess.run(["scancel", job], env=environment(**slurm))


def start_step(slurm, *arguments, flags=()):
    """Starts train.py as the two tasks of a step, with the addresses that Slurm's variables say."""
    srun = ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--chdir", ROOT, "--label", *flags]
    command = [*map(str, srun), *script_command("train.py", "--cluster", "slurm", *arguments)]
    return start(command, env=environment(**slurm))


def average_cost(run_dir, steps):
    """The average cost of the steps so far, all of the first epoch, by the checkpoint's sum of costs."""
    return directory.read_json(run_dir / "checkpoints", f"step-{steps}.json")["state"]["epoch_cost"] / steps


def find_task(run_dir, index):
    """The process identifier of a task of the step, and its environment variables."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline") as command, open(f"/proc/{entry}/environ") as variables:
                    arguments, found = command.read().split("\0"), variables.read().split("\0")
            except OSError:  # it has ended
                continue
            if arguments[0] == sys.executable and str(run_dir) in arguments and f"SLURM_PROCID={index}" in found:
                return int(entry), dict(item.split("=", 1) for item in found if "=" in item)
    raise AssertionError(f"there is no task {index}")


def test_two_tasks_of_srun_train_as_one_process_does(slurm, mnist_dir, tmp_path):
    flags = ["--data-dir", mnist_dir, "--epochs", 1, "--max-steps", 100, "--checkpoint-secs", 1000]
    alone = start(script_command("train.py", *flags, "--run-dir", tmp_path / "alone"))
    assert alone.wait(timeout=120) == 0, alone.communicate()
    step = start_step(slurm, *flags, "--run-dir", tmp_path / "step")
    stdout, stderr = step.communicate(timeout=200)
    assert step.returncode == 0, stderr
    assert re.fullmatch(r"0: Accuracy: 0\.\d{4}\n", stdout)
    costs = [average_cost(tmp_path / name, 100) for name in ("alone", "step")]
    assert 0.3 < costs[0] < 1.5 and costs[1] == pytest.approx(costs[0], rel=0.01)


SMALL_RUN = ["--dataset", "sample", "--epochs", 3]


def wait_for_checkpoint(run_dir, step):
    def has_checkpoint():
        steps = [int(path.stem[len("step-") :]) for path in run_dir.glob("checkpoints/step-*.json")]
        return any(number >= 40 for number in steps)

    wait_for(has_checkpoint, step, timeout=120)


def test_a_killed_task_is_waited_for_and_the_run_ends(slurm, allocation, tmp_path):
    run_dir, job = tmp_path / "run", f"--jobid={allocation}"
    step = start_step(slurm, *SMALL_RUN, "--run-dir", run_dir, flags=[job, "--kill-on-bad-exit=0"])
    wait_for_checkpoint(run_dir, step)
    process, variables = find_task(run_dir, 1)
    os.kill(process, 9)
    # The task again, in the same job, with the variables that it had.
    names = "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_NODEID"
    again = ["srun", job, "--overlap", "--nodes=1", "--ntasks=1", "--nodelist=node2"]
    again += ["--chdir", str(ROOT), "env", *(f"{name}={variables[name]}" for name in names)]
    restarted = start(
        [*again, *script_command("train.py", "--cluster", "slurm", "--run-dir", run_dir)], env=environment(**slurm)
    )
    stdout, stderr = step.communicate(timeout=200)
    assert "0: NOTICE: lost connection to a task" in stderr, stderr
    assert restarted.wait(timeout=60) == 0, restarted.communicate()
    assert directory.read_json(run_dir, "result.json")["completed"] is True and "0: Accuracy: " in stdout


@pytest.mark.long
def test_a_killed_task_that_stays_away_ends_the_run_with_its_name_and_the_next_job_resumes_it(slurm, tmp_path):
    run_dir = tmp_path / "run"
    flags = [*SMALL_RUN, "--run-dir", run_dir]
    step = start_step(slurm, *flags, "--cluster-timeout", 8, flags=["--kill-on-bad-exit=0"])
    wait_for_checkpoint(run_dir, step)
    killed_at = time.monotonic()
    os.kill(find_task(run_dir, 1)[0], 9)
    _, stderr = step.communicate(timeout=120)
    assert step.returncode != 0 and "worker 1 at node2:2222 did not respond for 8 s" in stderr, stderr
    assert time.monotonic() - killed_at < 60
    step = start_step(slurm, *flags, "--resume")
    stdout, stderr = step.communicate(timeout=200)
    assert step.returncode == 0 and "0: Accuracy: " in stdout, stderr


def test_a_process_inside_an_allocation_stays_one_process(slurm, tmp_path):
    flags = ["--dataset", "sample", "--max-steps", 2, "--run-dir", tmp_path / "run"]
    srun = ["srun", "--nodes=1", "--ntasks=1", "--chdir", str(ROOT)]
    step = start([*srun, *script_command("train.py", *flags)], env=environment(**slurm))
    stdout, stderr = step.communicate(timeout=120)
    assert step.returncode == 0 and stdout.startswith("Accuracy: "), stderr
