"""TensorBoard summaries in a run directory."""

import io

import numpy as np
import pytest

from mnist_cnn import Recipe, train
from mnist_cnn.run_dir import directory
from mnist_cnn.run_dir.summaries import INTERVAL
from mnist_cnn.tf1 import tf

RECIPE = Recipe(epochs=2, batch_size=10, learning_rate=0.001, keep_prob=0.8)  # 60 steps of `small`


@pytest.fixture(scope="module")
def run(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("summaries") / "run"
    train(small, folder, RECIPE, max_steps=45)
    train(small, folder, resume=True)
    return folder


def events(run):
    """The events of all files, in the order in which they were written."""
    for path in sorted(run.glob("events.*")):
        yield from tf.train.summary_iterator(str(path))


def curves(run):
    """Returns the values of each curve by step."""
    found = {}
    for event in events(run):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_curves_have_the_runs_values_at_fixed_steps(run):
    found = curves(run)
    history = directory.read_history(run)
    for name in ("cost", "learning_rate", "images_per_second"):
        assert list(found[name]) == [10, 20, 30, 40, 50, 60], f"every {INTERVAL} steps"
    assert set(found["learning_rate"].values()) == {np.float32(0.001)}
    assert found["cost"][10] > found["cost"][60] > 0
    assert found["validation_accuracy"] == {
        30 * row["epoch"]: np.float32(row["validation_accuracy"]) for row in history
    }
    assert set(found) == {"cost", "learning_rate", "images_per_second", "validation_accuracy"}


def test_graph_weights_and_filters_are_written(run):
    graphs = [tf.GraphDef.FromString(event.graph_def) for event in events(run) if event.graph_def]
    assert {"conv1", "conv2", "dense", "output"} <= {node.name.split("/")[0] for node in graphs[0].node}
    values = [(event.step, value) for event in events(run) for value in event.summary.value]
    histograms = {(step, value.tag.split("/")[-1]): value.histo for step, value in values if value.HasField("histo")}
    assert set(histograms) == {(step, name) for step in (0, 30, 60) for name in ("W1", "W2", "W3", "W4")}
    assert {name: histograms[0, name].num for name in ("W1", "W4")} == {"W1": 288, "W4": 2560}
    image = pytest.importorskip("PIL.Image")
    pictures = [value.image.encoded_image_string for _, value in values if value.HasField("image")]
    sizes = {image.open(io.BytesIO(picture)).size for picture in pictures}
    assert len(pictures) == 3 and sizes == {(512, 256)}


def test_a_resumed_run_records_the_step_at_which_it_resumes(run):
    starts = [event.step for event in events(run) if event.session_log.status == tf.SessionLog.START]
    assert starts == [0, 45]


@pytest.mark.slow
def test_a_decaying_learning_rate_is_recorded_as_such(small, tmp_path):
    train(small, tmp_path / "run", "accurate", max_steps=30)
    rates = list(curves(tmp_path / "run")["learning_rate"].values())
    assert len(set(rates)) == 3


def test_a_network_without_convolution_has_no_image_of_filters(small, tmp_path):
    train(small, tmp_path / "run", RECIPE, model="mlp", max_steps=1)
    tags = {value.tag for event in events(tmp_path / "run") for value in event.summary.value}
    assert tags == {"summaries/W1", "summaries/W2", "summaries/W3"}
