"""The package's metadata, and the archives that `python -m build` writes."""

import os
import re
import runpy
import subprocess
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import pytest
from helpers import ROOT

import mnist_cnn


@pytest.fixture(scope="module")
def setup_py():
    """The names in setup.py. A stand-in for setuptools, which a venv may lack, records in `arguments` how it calls
    `setup`.
    """
    arguments = {}
    stand_in = types.ModuleType("setuptools")
    stand_in.setup = lambda **given: arguments.update(given)
    stand_in.find_packages = lambda include: []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(sys.modules, "setuptools", stand_in)
        return {**runpy.run_path(str(ROOT / "setup.py")), "arguments": arguments}


@pytest.fixture
def setup_arguments(setup_py):
    return setup_py["arguments"]


@pytest.fixture
def archives():
    """The source archive and the wheel."""
    folder = os.environ.get("DIST_DIR")
    if not folder:
        pytest.skip("needs the built archives: set DIST_DIR to the folder into which `python -m build` wrote them")
    (sdist,), (wheel,) = Path(folder).glob("*.tar.gz"), Path(folder).glob("*.whl")
    return sdist, wheel


def read_sdist(sdist):
    """{path below the archive's only folder: content} of its files."""
    with tarfile.open(str(sdist)) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        return {member.name.split("/", 1)[1]: archive.extractfile(member).read() for member in members}


def assert_readable_on_an_index(description):
    assert description.startswith("# mnist_cnn\n")
    assert "![" not in description
    assert re.findall(r"\[[^\]]*\]\((?!https?://)[^)]*\)", description) == []


def test_the_version_is_the_one_of_the_package(setup_arguments):
    assert setup_arguments["version"] == mnist_cnn.__version__


def test_the_description_has_no_pictures_and_no_relative_links(setup_arguments):
    assert_readable_on_an_index(setup_arguments["long_description"])


def test_the_description_keeps_the_text_of_links_and_the_links_to_other_sites(setup_py):
    describe = setup_py["describe"]
    markdown = (
        "![cost](docs/cost.png)\n\nSee [the page](docs/page.md), [above](#top) and [TF](https://tensorflow.org).\n"
    )
    assert describe(markdown) == "See the page, above and [TF](https://tensorflow.org).\n"


def test_package_data_names_files_that_exist(setup_arguments):
    for package, patterns in setup_arguments["package_data"].items():
        for pattern in patterns:
            assert list(Path(ROOT, *package.split(".")).glob(pattern)), (package, pattern)


def test_every_extra_in_the_documentation_exists(setup_arguments):
    pages = [ROOT / "README.md", ROOT / "README.ko.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    named = {
        extra
        for page in pages
        for extras in re.findall(r"pip install .*?\[([a-z,]+)\]", page.read_text(encoding="utf-8"))
        for extra in extras.split(",")
    }
    assert {"download", "sample", "test"} <= named <= set(setup_arguments["extras_require"])


@pytest.mark.slow
def test_the_source_archive_has_every_tracked_file(archives):
    listed = subprocess.check_output(["git", "ls-files"], cwd=str(ROOT), universal_newlines=True)
    tracked = {path for path in listed.splitlines() if not path.startswith(".")}
    assert tracked - set(read_sdist(archives[0])) == set()


@pytest.mark.slow
def test_the_wheel_has_the_package_and_its_data_and_nothing_else(archives):
    listed = subprocess.check_output(["git", "ls-files", "mnist_cnn"], cwd=str(ROOT), universal_newlines=True)
    with zipfile.ZipFile(str(archives[1])) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == set(listed.splitlines())


@pytest.mark.slow
def test_the_metadata_in_the_archives_can_be_read_on_an_index(archives):
    sdist, wheel = archives
    with zipfile.ZipFile(str(wheel)) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        in_wheel = archive.read(metadata)
    for content in (read_sdist(sdist)["PKG-INFO"], in_wheel):
        header, description = content.decode("utf-8").split("\n\n", 1)
        assert f"\nVersion: {mnist_cnn.__version__}\n" in header
        assert_readable_on_an_index(description)
