"""The benchmark in a short form: that it runs both sides and adds up, not how fast they are."""

import json

import pytest

from mnist_cnn.recipes import RECIPES, get_recipe


def test_what_it_cannot_run_is_one_line(script, tmp_path, mnist_dir):
    for arguments, reason in (
        (["--rounds", "11"], "rounds is 11"),
        (["--python", "theirs=python3"], "--python theirs=python3"),
        (["--data-dir", tmp_path], "MNIST is not in"),
        (["--data-dir", mnist_dir, "--python", f"plain={tmp_path}/python"], f"{tmp_path}/python"),
    ):
        done = script("benchmark.py", *arguments)
        assert done.returncode in (1, 2) and done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("benchmark.py: error: ") and reason in line


@pytest.mark.slow
def test_both_sides_run_in_turn_and_are_compared(script, mnist_dir):
    done = script("benchmark.py", "--data-dir", mnist_dir, "--rounds", 1, "--json")
    assert done.returncode == 0, done.stderr
    sides = json.loads(done.stdout)["sides"]
    assert [side["side"] for side in sides] == ["plain script", *RECIPES]
    for side in sides:
        assert side["step_ratio"] == pytest.approx(side["ms_per_step"] / sides[0]["ms_per_step"])
        seconds = side["steps_of_a_run"] * side["ms_per_step"] / 1000
        assert side["training_seconds_of_a_run"] == pytest.approx(seconds)
        assert 1e8 < side["peak_bytes"] < 1e10 and side["seconds_to_first_step"] > 0
    for side, name in zip(sides[1:], RECIPES):
        recipe = get_recipe(name, "cnn")
        assert side["steps_of_a_run"] == recipe.epochs * (55000 // recipe.batch_size)
