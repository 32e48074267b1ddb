"""notebooks/mnist_cnn.ipynb, executed from top to bottom in a kernel of its own."""

import base64
import io
import re

import nbformat
import pytest
from helpers import ROOT, environment
from matplotlib.image import imread
from nbclient import NotebookClient


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Executes the notebook in an empty folder, with no MNIST but that of `MNIST_DATA_DIR`. Returns its code cells."""
    # A kernel or a profile that the user has installed may be of another Python.
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))

    def execute(**variables):
        notebook = read_committed()
        client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
        folders = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "IPYTHONDIR": str(tmp_path / "ipython")}
        client.execute(env={**environment(), **folders, **variables})
        return code_cells(notebook)

    return execute


def read_committed():
    return nbformat.read(str(ROOT / "notebooks" / "mnist_cnn.ipynb"), as_version=nbformat.NO_CONVERT)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cells, stream="stdout"):
    return "".join(output.text for cell in cells for output in cell.outputs if output.get("name") == stream)


def plots(cells):
    pngs = [
        output.data["image/png"] for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    return [imread(io.BytesIO(base64.b64decode(png))) for png in pngs]


def assert_outputs_are_as_described(cells, accuracy):
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds == {"stream", "display_data"}  # no errors, and no value of a cell's last line
    assert printed(cells[1:], "stderr") == ""  # the first cell loads TensorFlow, which may print messages

    text = printed(cells)
    by_hand = re.findall(r"shape (\(.*?\)), largest difference (\S+)", text)
    assert [shape for shape, _ in by_hand] == ["(28, 28)", "(14, 14)", "(14, 14, 32)"]
    assert all(float(difference) < 1e-5 for _, difference in by_hand)
    assert "pooling: shape (14, 14), equal to TensorFlow's" in text
    assert "total 824,096" in text
    assert float(re.search(r"^Accuracy: (\S+)$", text, re.MULTILINE).group(1)) > accuracy
    assert "This is a 7" in text

    assert len(plots(cells)) >= 13
    for plot in plots(cells):
        assert plot.shape[1] > 400
        assert plot[..., :3].std() > 0.05  # not blank


def training_lines(text):
    return re.findall(r"^(?:Epoch|Accuracy): .*$", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("tensorflow_1")
def test_the_notebook_runs_on_the_sample_where_mnist_is_not_available(execute, script):
    cells = execute()
    assert "NOTICE: this is a sample of 5,000 digits" in printed(cells)
    assert_outputs_are_as_described(cells, accuracy=0.85)
    by_script = script("train.py", "--dataset", "sample", "--epochs", 5).stdout
    assert training_lines(printed(cells)) == by_script.splitlines()


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_the_notebook_runs_on_mnist(execute, script, mnist_dir):
    cells = execute(MNIST_DATA_DIR=str(mnist_dir))
    assert "NOTICE" not in printed(cells)
    assert_outputs_are_as_described(cells, accuracy=0.97)
    by_script = script("train.py", "--data-dir", mnist_dir, "--epochs", 2).stdout
    assert training_lines(printed(cells)) == by_script.splitlines()


def test_the_committed_notebook_is_valid_and_without_outputs():
    notebook = read_committed()
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None
