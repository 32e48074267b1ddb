"""What only a machine with a GPU can show. Run them there with `python -m pytest -m gpu`."""

import numpy as np
import pytest
from helpers import checkpoint_bytes, epoch_costs, script_command, start, wait_for

from mnist_cnn import published
from mnist_cnn.run_dir import directory
from mnist_cnn.tf1 import get_gpus

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not get_gpus(), reason="needs a GPU that TensorFlow uses"),
]


def test_two_runs_share_a_gpu_and_name_it(tmp_path):
    runs = [tmp_path / "first", tmp_path / "second"]
    processes = [start(script_command("train.py", "--dataset", "sample", "--run-dir", run)) for run in runs]
    for run, process in zip(runs, processes):
        _, error = process.communicate()
        assert process.returncode == 0, error
        gpus = ", ".join(get_gpus())
        assert error.count(f"NOTICE: training on {gpus}\n") == 1
        assert directory.read_json(run, "config.json")["machine"]["gpu"] == gpus
    assert epoch_costs(runs[0]) == epoch_costs(runs[1])


def test_a_killed_run_ends_with_the_bits_of_an_uninterrupted_one(mnist_dir, tmp_path):
    runs = [tmp_path / "uninterrupted", tmp_path / "killed"]
    commands = [
        script_command("train.py", "--data-dir", mnist_dir, "--epochs", 2, "--checkpoint-secs", 1, "--run-dir", run)
        for run in runs
    ]
    process = start(commands[1])
    wait_for(lambda: len(list(runs[1].glob("checkpoints/step-*.json"))) > 1, process)
    process.kill()
    process.communicate()
    for command in (commands[0], [*commands[1], "--resume"]):
        process = start(command)
        _, error = process.communicate()
        assert process.returncode == 0, error
    assert epoch_costs(runs[1]) == epoch_costs(runs[0])
    assert checkpoint_bytes(runs[1], 1100) == checkpoint_bytes(runs[0], 1100)
    ratios = np.divide([cost for _, cost, _ in epoch_costs(runs[0])], published.COSTS["cnn"][:2])
    assert (abs(np.log(ratios)) <= np.log(1.4)).all()
    rows = directory.read_history(runs[0])
    print(f"{rows[1]['images_per_second']:.0f} images per second")
