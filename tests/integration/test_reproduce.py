"""`reproduce`: several seeds, their results and their page."""

import csv
import json
import os
import signal

import numpy as np
import pytest
from helpers import one_line_error, script_command, start, wait_for

from mnist_cnn import InputError, load_sample
from mnist_cnn.cli.reproduce import parse_seeds
from mnist_cnn.run_dir.reproduction import (
    SeedResult,
    bootstrap_mean,
    read_results,
    split_deviation,
    write_results,
)

ARGUMENTS = "reproduce.py", "--dataset", "sample", "--recipe", "fast", "--max-steps", 5, "--out-dir", "results"


def read_rows(path):
    with open(str(path), encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
def test_two_seeds_are_trained_and_a_second_call_trains_only_what_is_missing(script, tmp_path):
    done = script(*ARGUMENTS, "--seeds", "1-2")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results"
    rows = read_rows(folder / "reproduction.csv")
    assert [row["seed"] for row in rows] == ["1", "2"]
    misses = read_rows(folder / "misses.csv")
    for row in rows:
        indices = [int(miss["index"]) for miss in misses if miss["seed"] == row["seed"]]
        num_images = len(load_sample().test)
        assert len(indices) == int(row["misses"]) == round((1 - float(row["test_accuracy"])) * num_images)
        assert 0 <= min(indices) and max(indices) < num_images
    *seeds, mean, page = done.stdout.splitlines()
    assert seeds == [f"Seed {r['seed']}: accuracy {float(r['test_accuracy']):.4f}, {r['misses']} misses" for r in rows]
    assert mean.startswith("Mean of 2 seeds: ") and page == os.path.join("results", "index.html")
    text = (tmp_path / page).read_text(encoding="utf-8")
    assert "NOTICE: seed 1, 1 of 2\nNOTICE: seed 2, 2 of 2, about 1 min left\n" in done.stderr
    assert "2 seeds of the recipe fast" in text and text.count("data:image/png") == 2

    again = script(*ARGUMENTS, "--seeds", "2-3")
    assert again.stdout.startswith("Seed 3: ") and "NOTICE: seed 3, 3 of 3\n" in again.stderr
    assert [row["seed"] for row in read_rows(folder / "reproduction.csv")] == ["1", "2", "3"]
    assert not list(folder.glob("seed-*"))
    other = script(*ARGUMENTS, "--model", "mlp")
    assert "results has results of another model: choose a new folder" in one_line_error(other, 2)


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_kill_and_a_second_call_give_the_results_of_an_unbroken_one(tmp_path):
    def command(folder):
        flags = "--dataset", "sample", "--recipe", "fast", "--seeds", "1-3", "--out-dir", folder
        return script_command("reproduce.py", *flags)

    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    process = start(command(killed))
    wait_for((killed / "seed-2" / "checkpoints" / "step-0.json").exists, process)
    process.send_signal(signal.SIGSTOP)
    second = start(command(killed))
    out, error = second.communicate()
    assert (second.returncode, out) == (2, "") and f"{killed} is in use by another process" in error
    process.kill()
    process.communicate()
    assert [result.seed for result in read_results(killed)] == [1]
    for folder in (unbroken, killed):
        process = start(command(folder))
        _, error = process.communicate()
        assert process.returncode == 0, error
    for name in ("reproduction.csv", "misses.csv", "reproduction.json"):
        assert (killed / name).read_bytes() == (unbroken / name).read_bytes()


@pytest.mark.parametrize("text, seeds", [("1-3", [1, 2, 3]), ("7,1,3-4", [1, 3, 4, 7]), ("0", [0])])
def test_a_list_of_seeds_is_parsed(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "1-", "a", "-1", "3-1", "1,,2", "0-99999999", str(2**32)])
def test_what_is_no_list_of_seeds_is_an_error(text):
    with pytest.raises(InputError, match="--seeds"):
        parse_seeds(text)


def test_results_are_read_as_they_were_written_and_damaged_ones_are_an_error(tmp_path):
    results = [SeedResult(2, "2.21.0", 0.5, [1, 7], [0.25, 0.125]), SeedResult(3, "1.15.0", 1.0, [], [0.5])]
    write_results(tmp_path, results[::-1])
    assert read_results(tmp_path) == results
    for name, content in [("misses.csv", "seed,index\n2,1\n"), ("reproduction.csv", "seed\nx\n")]:
        original = (tmp_path / name).read_text()
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=r"reproduction.csv is damaged"):
            read_results(tmp_path)
        (tmp_path / name).write_text(original)


def test_the_deviation_is_split_into_chance_and_whole_networks():
    def deviate(probabilities):
        rng = np.random.RandomState(1)
        misses = [np.flatnonzero(rng.rand(10000) < p).tolist() for p in probabilities]
        return split_deviation([SeedResult(i, "", 1 - len(m) / 10000, m, []) for i, m in enumerate(misses)], 10000)

    total, independent, rest = deviate([0.01] * 400)
    expected = (0.01 * 0.99 / 10000) ** 0.5
    assert independent == pytest.approx(expected, rel=0.02) and total == pytest.approx(expected, rel=0.1)
    total, independent, rest = deviate([0.01, 0.03] * 200)
    assert rest == pytest.approx(0.01, rel=0.05) and independent < 0.002
    assert total**2 == pytest.approx(independent**2 + rest**2)


@pytest.mark.slow
def test_a_folder_of_something_else_is_left_alone(script, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.txt").write_text("x")
    assert "is not empty" in one_line_error(script(*ARGUMENTS), 2)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["thesis.txt"]
    assert json.dumps(bootstrap_mean([0.5, 0.5])) == "[0.5, 0.5, 0.5]"
