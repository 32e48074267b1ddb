"""A run on other data in MNIST's format, through every command that reads the data."""

import json
import re
import shutil

import pytest
from helpers import one_line_error, write_idx


@pytest.fixture
def folder(tmp_path, other_data):
    write_idx(tmp_path / "data", *other_data, suffix=".gz")
    return tmp_path / "data"


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_a_run_on_other_data_resumes_and_is_measured_and_reported(folder, other_data, script, tmp_path):
    notice = f"NOTICE: the data are not MNIST, but the IDX files in {folder}: 550 training, 50 validation and 100 test"

    def run(name, *arguments):
        done = script(name, *arguments)
        assert done.returncode == 0 and notice in done.stderr, done.stderr
        return done.stdout

    arguments = ["--dataset", "idx", "--data-dir", folder, "--run-dir", "runs/other"]
    run("train.py", *arguments, "--epochs", 4, "--max-steps", 7)
    config = json.loads((tmp_path / "runs" / "other" / "config.json").read_text())
    assert config["dataset"]["name"] == "idx" and config["dataset"]["folder"] == str(folder)
    out = run("train.py", "--resume")
    accuracy = out.splitlines()[-1]
    assert len(out.splitlines()) == 5 and re.fullmatch(r"Accuracy: 0\.\d{4}", accuracy)
    assert run("evaluate.py") == accuracy + "\n"
    run("report.py")
    page = (tmp_path / "runs" / "other" / "report" / "index.html").read_text()
    assert str(folder) in page and config["dataset"]["sha256"] in page
    assert "0.9907" not in page and "published" not in page.replace("pub&shy;lished", "published")

    # A folder that was moved is found by --data-dir; another folder is not mistaken for it.
    shutil.move(str(folder), str(tmp_path / "moved"))
    assert "missing in" in one_line_error(script("evaluate.py"), 2)
    assert script("evaluate.py", "--data-dir", "moved").stdout == accuracy + "\n"
    write_idx(tmp_path / "changed", *(array[::-1] for array in other_data))
    done = script("report.py", "--data-dir", "changed")
    assert done.returncode == 2 and "these are not the IDX files that" in done.stderr.splitlines()[-1], done.stderr
    # Such files are measured on request.
    done = script("evaluate.py", "--dataset", "idx", "--data-dir", "changed")
    assert done.stdout == accuracy + "\n"  # the same test images in another order


def test_a_named_folder_without_mnist_is_an_error_and_never_the_sample(script, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, variables in ((["--data-dir", "empty"], {}), ([], {"MNIST_DATA_DIR": "empty"})):
        line = one_line_error(script("train.py", "--max-steps", 1, *arguments, **variables), 2)
        assert line.startswith("train.py: error: MNIST is not in empty and could not be downloaded")
        assert "--data-dir" in line and "--dataset sample" in line


@pytest.mark.usefixtures("tensorflow_1")
@pytest.mark.slow
def test_other_data_in_the_folder_is_an_error_that_names_the_flag(folder, script):
    line = one_line_error(script("train.py", "--data-dir", folder, "--max-steps", 1), 2)
    assert "train-images-idx3-ubyte.gz is a valid IDX file" in line and "--dataset idx" in line
