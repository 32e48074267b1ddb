"""The folder of MNIST's files for a user who has no home directory."""

import os
import stat
import subprocess
import sys

import pytest
from helpers import ROOT, environment, one_line_error, script_command

UID = 54321  # has no entry in the password database
PRINT_DATA_DIR = "from mnist_cnn.data.mnist import get_data_dir; print(get_data_dir())"


@pytest.fixture
def homeless(tmp_path):
    """Runs a command as a user without $HOME and without an entry in the password database."""
    as_user = ["unshare", "--user", f"--map-user={UID}"]
    try:
        subprocess.run([*as_user, "true"], check=True, stderr=subprocess.PIPE)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs user namespaces and unshare of util-linux 2.38: {getattr(error, 'stderr', None) or error}")
    variables = environment(TMPDIR=str(tmp_path))
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        variables.pop(name, None)

    def run(*command, **others):
        return subprocess.run(
            [*as_user, *map(str, command)],
            cwd=str(tmp_path),
            env={**variables, **others},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run


def test_without_a_home_directory_the_cache_is_a_private_temporary_folder(homeless, tmp_path):
    cache = tmp_path / f"mnist_cnn-{UID}"
    for _ in range(2):  # it is created, then found
        done = homeless(sys.executable, "-c", PRINT_DATA_DIR)
        assert (done.returncode, done.stdout) == (0, f"{cache}\n"), done
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    named = homeless(sys.executable, "-c", PRINT_DATA_DIR, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert named.stdout == f"{tmp_path / 'cache' / 'mnist_cnn'}\n"


def make_link(cache, tmp_path):
    (tmp_path / "target").mkdir(mode=0o700)
    cache.symlink_to(tmp_path / "target")


def make_shared(cache, tmp_path):
    cache.mkdir()
    cache.chmod(0o777)


def make_file(cache, tmp_path):
    cache.write_text("")


def make_foreign(cache, tmp_path):
    cache.mkdir(mode=0o700)
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a folder of another user")
    os.chown(str(cache), 12345, 12345)


@pytest.mark.parametrize("make", [make_link, make_shared, make_file, make_foreign])
def test_a_temporary_folder_that_is_not_private_is_refused(homeless, tmp_path, make):
    cache = tmp_path / f"mnist_cnn-{UID}"
    make(cache, tmp_path)
    line = one_line_error(homeless(*script_command("download.py")), 2)
    assert f"{cache} is not a private folder" in line and "--data-dir" in line


@pytest.mark.slow
def test_without_a_home_and_a_cache_folder_the_sample_serves(homeless, tmp_path):
    make_shared(tmp_path / f"mnist_cnn-{UID}", tmp_path)
    done = homeless(*script_command("train.py", "--max-steps", 1, "--model", "mlp", "--run-dir", "run"))
    assert done.returncode == 0 and "SAMPLE" in done.stderr and "not a private folder" in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_1")
def test_commands_work_without_a_home_directory_and_leave_no_folder_behind(homeless, tmp_path):
    for name, *arguments in (
        ["train.py", "--max-steps", 1, "--dataset", "sample", "--run-dir", "run"],
        ["report.py", "--run-dir", "run"],
        ["predict.py", ROOT / "docs/img/draw.png", "--run-dir", "run"],
    ):
        done = homeless(*script_command(name, *arguments))
        assert done.returncode == 0 and "rror" not in done.stderr, done
        assert name == "train.py" or done.stderr == "", done.stderr
    assert (tmp_path / "run/report/index.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_unknown_home_directory_in_a_named_folder_is_a_one_line_error(script, tmp_path):
    line = one_line_error(script("download.py", "--data-dir", "~nosuchuser/mnist"), 2)
    assert "~nosuchuser/mnist: this home directory is unknown" in line
    line = one_line_error(script("train.py", MNIST_DATA_DIR="~nosuchuser/mnist"), 2)
    assert "~nosuchuser/mnist: this home directory is unknown" in line
    assert not list(tmp_path.iterdir())
