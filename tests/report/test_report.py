"""The report of a run: its plots, and a self-contained page."""

import base64
import io
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from helpers import one_line_error
from matplotlib import image

from mnist_cnn import RECIPES, Dataset, InputError, Split, draw_report, model, train
from mnist_cnn.files import atomic_replace_dir
from mnist_cnn.recipes import DEFAULT_RECIPES
from mnist_cnn.report import plots
from mnist_cnn.run_dir import directory
from mnist_cnn.run_dir.config import describe_run, resolve_config
from mnist_cnn.run_dir.replay import list_snapshots, read_snapshot
from mnist_cnn.tf1 import get_gpus, tf

PLOTS = {"activations", "activations-tall", "learning-curve", "confusion-matrix", "mistakes", "filters"}
SHORT = replace(RECIPES["original"], epochs=2, batch_size=50)


class Page(HTMLParser):
    """The tags of an HTML file, with their attributes, and its text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]

    def values(self, attribute):
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]

    def pngs(self):
        uris = self.values("src") + self.values("srcset")
        return {base64.b64decode(uri[len("data:image/png;base64,") :]) for uri in uris}


def test_names_in_hangul_are_drawn_where_a_font_has_them():
    if len(plots._STYLE["font.family"]) == 1 or tuple(map(int, matplotlib.__version__.split(".")[:2])) < (3, 6):
        pytest.skip("needs matplotlib 3.6, and a font with Hangul such as Debian's fonts-nanum")
    first, second = (plots.confusion(np.eye(2, dtype=int), names) for names in (["가", "나"], ["다", "라"]))
    assert first != second  # not placeholders


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """The directory of a run of two epochs, and the result that `train` returned."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    return run_dir, train(small, run_dir, SHORT, seed=3)


@pytest.fixture(scope="module")
def index(trained, small, tmp_path_factory):
    """The page of a report of this run."""
    run_dir = tmp_path_factory.mktemp("drawn") / "run"
    shutil.copytree(str(trained[0]), str(run_dir))
    return draw_report(run_dir, small)


@pytest.fixture
def run_dir(trained, tmp_path):
    """A copy of this run, in a directory whose name has to be escaped in HTML."""
    run_dir = tmp_path / "<b>&"
    shutil.copytree(str(trained[0]), str(run_dir))
    return run_dir


def plot_names(index):
    return {path.stem for path in index.parent.glob("*.png")}


def assert_legible(png):
    pixels = image.imread(io.BytesIO(png))
    assert pixels.shape[1] >= 750 and pixels.std() > 0.05


def test_every_plot_is_a_file_and_on_the_page(index):
    assert index.parts[-3:] == ("run", "report", "index.html")
    assert plot_names(index) == PLOTS
    files = {path.read_bytes() for path in index.parent.glob("*.png")}
    assert Page(index).pngs() == files
    for png in files:
        assert_legible(png)


def test_the_page_has_no_external_references_and_no_scripts(index):
    page = Page(index)
    references = [page.values(name) for name in ("src", "srcset", "href", "action", "poster", "background")]
    assert all(value.startswith("data:") for values in references for value in values)
    assert not page.all("script", "iframe", "object", "embed", "form")
    text = index.read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text


def test_every_plot_has_an_alternative_text(index):
    page = Page(index)
    assert len(page.all("img")) == 5
    assert all(len(attributes["alt"]) > 40 for attributes in page.all("img"))


def test_the_page_shows_results_and_configuration_of_the_run(index, trained):
    text = Page(index).text
    _, result = trained
    for value in (
        f"{result['test_accuracy']:.4f}",
        f"{result['validation_accuracy']:.4f}",
        "cnn, 824,096 parameters",
        "original (modified): epochs 2, batch size 50",
        "12 of 12",
        "small",
        tf.__version__,
        "0.9907",  # the published accuracy
        "0.356",  # the published cost of the first epoch
    ):
        assert value in text


def test_the_keys_of_config_json_have_readable_labels(index):
    lines = Page(index).text.splitlines()
    assert {f"TensorFlow{tf.__version__}", f"GPU{', '.join(get_gpus()) or 'none'}", "mixed precisionno"} <= set(lines)
    assert any(line.startswith("number of CPUs") for line in lines)
    assert "num_cpus" not in Page(index).text and "mixed_precision" not in Page(index).text


def test_a_named_recipe_is_shown_by_its_name(run_dir, small):
    config = describe_run(resolve_config(recipe="accurate", seed=3), small, tf.__version__)
    directory.write_json(run_dir, "config.json", config)
    text = Page(draw_report(run_dir, small)).text
    assert "recipeaccurate\n" in text and "The costs are not comparable with published ones" in text


def test_correct_and_misclassified_add_up_to_the_test_images(index, trained, small):
    (alt,) = [text for text in Page(index).values("alt") if "classified correctly" in text]
    correct, wrong = (int(number) for number in alt.replace(",", "").split() if number.isdigit())
    assert correct + wrong == len(small.test)
    assert correct == round(trained[1]["test_accuracy"] * len(small.test))


def test_no_probability_is_printed_as_100_percent():
    assert plots.format_percent(1.0) == plots.format_percent(0.99951) == ">99.9 %"
    assert plots.format_percent(0.9994) == ">99.9 %"
    assert plots.format_percent(0.9984) == "99.8 %"


def test_the_content_of_run_files_is_escaped(run_dir, small):
    config = json.loads((run_dir / "config.json").read_text())
    config["versions"]["<script>alert(1)</script>"] = '"><img src=x> $name \ud800'
    (run_dir / "config.json").write_text(json.dumps(config))
    page = Page(draw_report(run_dir, small))
    assert not page.all("script", "b") and len(page.all("img")) == 5
    assert "<b>&" in page.text and "<script>alert(1)</script>" in page.text and '"><img src=x> $name ?' in page.text


def test_a_network_without_convolution_has_no_plots_of_filters_and_activations(small, tmp_path):
    train(small, tmp_path / "run", replace(DEFAULT_RECIPES["mlp"], epochs=1), model="mlp", replay=3)
    index = draw_report(tmp_path / "run", small)
    assert plot_names(index) == {"learning-curve", "confusion-matrix", "mistakes"}
    text = Page(index).text
    assert "mlp, 268,800 parameters" in text and "0.9837" in text and "0.356" not in text
    assert " s, 1 epoch\n" in text


@pytest.fixture(scope="module")
def recorded(small, tmp_path_factory):
    """The directory of a run of 13 steps with a snapshot of each, and of step 0."""
    run_dir = tmp_path_factory.mktemp("recorded") / "run"
    train(small, run_dir, replace(RECIPES["fast"], batch_size=23, drawn_images=0.0), seed=3, replay=14)
    return run_dir


@pytest.fixture
def recorded_copy(recorded, tmp_path):
    shutil.copytree(str(recorded), str(tmp_path / "copy"))
    return tmp_path / "copy"


def test_a_run_with_snapshots_shows_its_filters_from_the_first_step_to_the_last(recorded_copy, small):
    index = draw_report(recorded_copy, small)
    assert plot_names(index) == PLOTS | {"replay"}
    png = (index.parent / "replay.png").read_bytes()
    assert_legible(png)
    page = Page(index)
    assert png in page.pngs()
    assert any("at several steps from the start of the training to its end" in alt for alt in page.values("alt"))


def test_ten_snapshots_are_shown_the_first_and_the_last_among_them(recorded_copy, small):
    assert list_snapshots(recorded_copy) == list(range(14))
    shown = [0, 1, 3, 4, 6, 7, 9, 10, 12, 13]
    snapshots = [read_snapshot(recorded_copy, step, {"W1": [3, 3, 1, 32]}) for step in shown]
    kernels = np.stack([snapshot.weights["W1"] for snapshot in snapshots])
    expected = plots.replay(kernels, shown, [snapshot.accuracy for snapshot in snapshots])
    assert (draw_report(recorded_copy, small).parent / "replay.png").read_bytes() == expected


@pytest.mark.slow
def test_a_damaged_snapshot_is_left_out(recorded_copy, small):
    whole = (draw_report(recorded_copy, small).parent / "replay.png").read_bytes()
    path = recorded_copy / "replay" / "step-13.npz"
    path.write_bytes(path.read_bytes()[:-100])
    damaged = (draw_report(recorded_copy, small).parent / "replay.png").read_bytes()
    assert_legible(damaged)
    assert damaged != whole
    path.unlink()
    assert (draw_report(recorded_copy, small).parent / "replay.png").read_bytes() == damaged
    for step in range(1, 13):
        (recorded_copy / "replay" / f"step-{step}.npz").write_bytes(b"")
    assert plot_names(draw_report(recorded_copy, small)) == PLOTS  # of a single step, there is nothing to compare


def test_snapshots_of_another_network_are_left_out(run_dir, small, tmp_path):
    train(small, tmp_path / "mlp", replace(DEFAULT_RECIPES["mlp"], epochs=1), model="mlp", replay=3)
    shutil.copytree(str(tmp_path / "mlp" / "replay"), str(run_dir / "replay"))
    assert plot_names(draw_report(run_dir, small)) == PLOTS


def add_network(monkeypatch, weight_shapes, forward):
    monkeypatch.setitem(model.MODELS, "other", model.Network(lambda num_classes: weight_shapes, 40, forward))
    monkeypatch.setitem(DEFAULT_RECIPES, "other", replace(SHORT, epochs=1))


def convolve(images, weights):
    conv = tf.nn.conv2d(images, weights, strides=[1, 1, 1, 1], padding="SAME")
    return conv, tf.nn.relu(tf.nn.max_pool(conv, [1, 2, 2, 1], [1, 2, 2, 1], padding="SAME"))


def test_a_network_of_one_convolution_has_a_plot_of_its_filters_but_not_of_activations(small, tmp_path, monkeypatch):
    def forward(images, weights, keep_prob, noise):
        conv1, pool1 = convolve(images, weights[0])
        return tf.matmul(tf.reshape(pool1, [-1, 14 * 14 * 5]), weights[1]), {"conv1": conv1, "pool1": pool1}

    add_network(monkeypatch, {"W1": [4, 4, 1, 5], "W2": [14 * 14 * 5, 10]}, forward)
    train(small, tmp_path / "run", model="other")
    index = draw_report(tmp_path / "run", small)
    assert plot_names(index) == PLOTS - {"activations", "activations-tall"}
    assert_legible((index.parent / "filters.png").read_bytes())
    assert "other, 9,880 parameters" in Page(index).text  # and no published figures to compare with


@pytest.mark.parametrize("dense_weights, plotted", [("W3", True), ("transposed", False)])
def test_activations_are_plotted_for_any_numbers_of_filters_but_not_for_other_layers(
    small, tmp_path, monkeypatch, dense_weights, plotted
):
    transposed = dense_weights == "transposed"

    def forward(images, weights, keep_prob, noise):
        conv1, pool1 = convolve(images, weights[0])
        conv2, pool2 = convolve(pool1, weights[1])
        flat = tf.reshape(pool2, [-1, 7 * 7 * 70])
        dense = tf.nn.relu(tf.matmul(flat, weights[2], transpose_b=transposed))
        activations = {"conv1": conv1, "pool1": pool1, "conv2": conv2, "pool2": pool2, "dense": dense}
        return tf.matmul(dense, weights[3]), activations

    dense_shape = [40, 7 * 7 * 70] if transposed else [7 * 7 * 70, 40]
    shapes = {"W1": [5, 5, 1, 9], "W2": [3, 2, 9, 70], dense_weights: dense_shape, "W4": [40, 10]}
    add_network(monkeypatch, shapes, forward)
    train(small, tmp_path / "run", model="other")
    index = draw_report(tmp_path / "run", small)
    assert plot_names(index) == (PLOTS if plotted else PLOTS - {"activations", "activations-tall"})
    for path in index.parent.glob("*.png"):
        assert_legible(path.read_bytes())


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 3, 1, 7), (5, 5, 1, 8), (11, 11, 1, 100)])
def test_filters_of_any_number_and_size_are_plotted(shape):
    assert_legible(plots.filters(np.random.RandomState(0).normal(size=shape)))


@pytest.mark.parametrize("shape", [(2, 1, 1, 1, 1), (3, 3, 3, 1, 7), (10, 5, 5, 1, 64), (4, 11, 11, 1, 100)])
def test_a_replay_of_filters_of_any_number_and_size_is_plotted(shape):
    kernels = np.random.RandomState(0).normal(size=shape)
    assert_legible(plots.replay(kernels, [10**index for index in range(shape[0])], [1.0] * shape[0]))


def test_the_learning_curve_of_one_epoch_has_one_epoch_on_its_axis():
    row = dict(zip(directory.HISTORY_COLUMNS, [1, 0.6, 0.99, 0.001, 1.0, 100.0]))
    costs, accuracies = plots.learning_curve.__wrapped__([row], "this run").axes
    low, high = accuracies.get_xlim()
    assert [tick for tick in accuracies.get_xticks() if low <= tick <= high] == [1]
    assert_legible(plots.learning_curve([row], "this run"))


def test_a_run_without_a_finished_epoch_has_no_learning_curve(small, tmp_path):
    train(small, tmp_path / "run", max_steps=1)
    index = draw_report(tmp_path / "run", small)
    assert plot_names(index) == PLOTS - {"learning-curve"}
    assert "stopped before its first epoch ended" in Page(index).text


def test_a_run_without_errors_has_no_plot_of_errors(small, tmp_path):
    def ones(split):
        return Split(split.images[split.labels == 1], split.labels[split.labels == 1])

    only_ones = Dataset("ones", ones(small.train), ones(small.validation), ones(small.test))
    assert train(only_ones, tmp_path / "run", replace(SHORT, batch_size=5))["test_accuracy"] == 1
    index = draw_report(tmp_path / "run", only_ones)
    assert plot_names(index) == PLOTS - {"mistakes"}
    assert "1.0000" in Page(index).text


def test_costs_that_a_log_scale_cannot_show_do_not_prevent_the_report(run_dir, small):
    header, *_ = (run_dir / "history.csv").read_text().splitlines()
    rows = [f"{epoch},{cost},0.5,0.001,1,1" for epoch, cost in enumerate(["inf", "nan", "0", "-1", "1e-300"], 1)]
    (run_dir / "history.csv").write_text("\n".join([header, *rows]))
    assert plot_names(draw_report(run_dir, small)) == PLOTS


def test_other_data_than_the_run_was_trained_on_raises_an_error(run_dir, small, sample):
    with pytest.raises(InputError, match="trained on different data than this sample"):
        draw_report(run_dir, sample)
    assert not (run_dir / "report").exists()


def test_a_new_report_replaces_the_old_one(run_dir, small):
    (run_dir / "report").mkdir()
    (run_dir / "report" / "of-an-older-version.png").write_bytes(b"")
    before = {path.name for path in run_dir.iterdir()}
    assert plot_names(draw_report(run_dir, small)) == PLOTS
    assert {path.name for path in run_dir.iterdir()} == before


def test_a_failed_report_leaves_the_old_one_unchanged(tmp_path):
    atomic_replace_dir(tmp_path / "report", {"index.html": b"old"})
    with pytest.raises(FileNotFoundError):
        atomic_replace_dir(tmp_path / "report", {"index.html": b"new", "missing-folder/filters.png": b"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "report").iterdir()] == [("index.html", b"old")]


def test_plots_are_independent_of_matplotlib_settings_and_leave_them_unchanged(python):
    with_defaults, with_changes = python(
        "import hashlib, matplotlib, numpy as np, sys\n"
        "from mnist_cnn.report import plots\n"
        "def digest(): return hashlib.sha256(plots.confusion(np.eye(10, dtype=int))).hexdigest()\n"
        "print(digest())\n"
        "matplotlib.rcParams['font.size'] = 33\n"
        "print(digest())\n"
        "assert matplotlib.rcParams['font.size'] == 33 and 'matplotlib.pyplot' not in sys.modules\n"
    ).split()
    assert with_defaults == with_changes


def test_the_digits_that_most_seeds_misclassify_have_the_names_of_their_classes():
    arguments = np.zeros([1, 28, 28], np.uint8), np.array([1]), np.array([2]), 3, 1
    assert plots.seed_misses(*arguments) == plots.seed_misses(*arguments, "01")
    assert plots.seed_misses(*arguments, ["circle", "square"]) == plots.seed_misses(*arguments, ["other", "square"])
    assert plots.seed_misses(*arguments) != plots.seed_misses(*arguments, ["circle", "square"])


@pytest.mark.slow
def test_the_script_prints_the_path_of_the_latest_runs_page(script, sample, tmp_path):
    recipe = replace(DEFAULT_RECIPES["mlp"], epochs=1, batch_size=4000)
    train(sample, tmp_path / "runs" / "first", recipe, model="mlp")
    done = script("report.py")
    assert (done.returncode, done.stdout) == (0, "runs/first/report/index.html\n"), done.stderr
    assert done.stderr == ""
    assert "not comparable with one on MNIST" in Page(tmp_path / done.stdout.strip()).text


def test_without_matplotlib_one_line_names_the_extra(python):
    printed = python(
        "import sys; sys.modules['matplotlib'] = None\n"
        "try: import mnist_cnn.report.plots\n"
        "except ImportError as error: print(error)"
    )
    assert printed == "a report needs matplotlib: pip install '.[report]'\n"


@pytest.mark.parametrize("arguments", [["--run-dir", "nowhere"], []])
def test_without_a_run_the_script_prints_a_one_line_error(script, arguments):
    one_line_error(script("report.py", *arguments), 2)
