"""The report of a run: its pictures, and a page that needs nothing else."""

import base64
import io
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from matplotlib import image

from mnist_cnn import ACCURATE, DENSE, ORIGINAL, Dataset, InputError, Split, draw_report, train
from mnist_cnn.files import replace_folder
from mnist_cnn.run_dir import directory
from mnist_cnn.tf1 import tf

PICTURES = {"way", "way-tall", "learning-curve", "confusion-matrix", "mistakes", "filters"}
SHORT = replace(ORIGINAL, epochs=2, batch_size=50)


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and text."""

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

    def pictures(self):
        uris = self.values("src") + self.values("srcset")
        return {base64.b64decode(uri[len("data:image/png;base64,") :]) for uri in uris}


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """A run of two epochs, and what `train` said of it."""
    run = tmp_path_factory.mktemp("trained") / "run"
    return run, train(small, run, SHORT, seed=3)


@pytest.fixture(scope="module")
def index(trained, small, tmp_path_factory):
    """The page of a report of it."""
    run = tmp_path_factory.mktemp("drawn") / "run"
    shutil.copytree(str(trained[0]), str(run))
    return draw_report(run, small)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, in a folder whose name is no HTML."""
    run = tmp_path / "<b>&"
    shutil.copytree(str(trained[0]), str(run))
    return run


def names(path):
    return {picture.stem for picture in path.parent.glob("*.png")}


def test_every_picture_is_there_and_shown_on_the_page(index):
    assert index.parts[-3:] == ("run", "report", "index.html")
    assert names(index) == PICTURES
    files = {path.read_bytes() for path in index.parent.glob("*.png")}
    assert Page(index).pictures() == files
    for png in files:
        pixels = image.imread(io.BytesIO(png))
        assert pixels.shape[1] >= 750 and pixels.std() > 0.05


def test_the_page_refers_to_nothing_outside_itself_and_runs_nothing(index):
    page = Page(index)
    references = [page.values(name) for name in ("src", "srcset", "href", "action", "poster", "background")]
    assert all(value.startswith("data:") for values in references for value in values)
    assert not page.all("script", "iframe", "object", "embed", "form")
    text = index.read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text


def test_every_picture_has_a_text_for_those_who_do_not_see_it(index):
    page = Page(index)
    assert len(page.all("img")) == 5
    assert all(len(attributes["alt"]) > 40 for attributes in page.all("img"))


def test_the_page_names_the_figures_of_the_run(index, trained):
    text = Page(index).text
    _, result = trained
    for figure in (
        f"{result['test_accuracy']:.4f}",
        f"{result['validation_accuracy']:.4f}",
        "cnn, 824,096 parameters",
        "original, changed, epochs 2, batch size 50",
        "12 of 12",
        "small",
        tf.__version__,
        "0.9907",  # published, and so is the cost of the first epoch
        "0.356",
    ):
        assert figure in text


def test_a_recipe_is_called_by_its_name(run, small):
    config = directory.describe_run("cnn", ACCURATE, 3, small, tf.__version__, mixed_precision=False)
    directory.write_json(run, "config.json", config)
    assert "recipeaccurate\n" in Page(draw_report(run, small)).text


def test_right_and_wrong_add_up_to_the_test_images(index, trained, small):
    (alt,) = [text for text in Page(index).values("alt") if "read correctly" in text]
    right, wrong = (int(number) for number in alt.replace(",", "").split() if number.isdigit())
    assert right + wrong == len(small.test)
    assert right == round(trained[1]["test_accuracy"] * len(small.test))


def test_what_a_runs_files_say_is_escaped(run, small):
    config = json.loads((run / "config.json").read_text())
    config["versions"]["<script>alert(1)</script>"] = '"><img src=x> $name \ud800'
    (run / "config.json").write_text(json.dumps(config))
    page = Page(draw_report(run, small))
    assert not page.all("script", "b") and len(page.all("img")) == 5
    assert "<b>&" in page.text and "<script>alert(1)</script>" in page.text and '"><img src=x> $name ?' in page.text


def test_a_dense_network_has_no_filters_to_show(small, tmp_path):
    train(small, tmp_path / "run", replace(DENSE, epochs=1), model="mlp")
    index = draw_report(tmp_path / "run", small)
    assert names(index) == {"learning-curve", "confusion-matrix", "mistakes"}
    text = Page(index).text
    assert "mlp, 268,800 parameters" in text and "0.9837" in text and "0.356" not in text


def test_a_run_without_a_finished_epoch_has_no_learning_curve(small, tmp_path):
    train(small, tmp_path / "run", max_steps=1)
    index = draw_report(tmp_path / "run", small)
    assert names(index) == PICTURES - {"learning-curve"}
    assert "stopped before its first epoch ended" in Page(index).text


def test_a_run_without_a_mistake_has_none_to_show(small, tmp_path):
    def ones(split):
        return Split(split.images[split.labels == 1], split.labels[split.labels == 1])

    only_ones = Dataset("ones", ones(small.train), ones(small.validation), ones(small.test))
    assert train(only_ones, tmp_path / "run", replace(SHORT, batch_size=5))["test_accuracy"] == 1
    index = draw_report(tmp_path / "run", only_ones)
    assert names(index) == PICTURES - {"mistakes"}
    assert "1.0000" in Page(index).text


def test_costs_that_have_no_place_on_the_scale_are_left_out(run, small):
    header, *_ = (run / "history.csv").read_text().splitlines()
    rows = [f"{epoch},{cost},0.5,0.001,1,1" for epoch, cost in enumerate(["inf", "nan", "0", "-1", "1e-300"], 1)]
    (run / "history.csv").write_text("\n".join([header, *rows]))
    assert names(draw_report(run, small)) == PICTURES


def test_other_data_than_the_run_was_trained_on_is_refused(run, small, sample):
    with pytest.raises(InputError, match="trained on other data than this sample"):
        draw_report(run, sample)
    assert not (run / "report").exists()


def test_a_new_report_takes_the_place_of_the_old_one(run, small):
    (run / "report").mkdir()
    (run / "report" / "of-an-older-version.png").write_bytes(b"")
    before = {path.name for path in run.iterdir()}
    assert names(draw_report(run, small)) == PICTURES
    assert {path.name for path in run.iterdir()} == before


def test_a_failure_leaves_the_old_folder_as_it_was(tmp_path):
    replace_folder(tmp_path / "report", {"index.html": b"old"})
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "report", {"index.html": b"new", "nowhere/way.png": b"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "report").iterdir()] == [("index.html", b"old")]


def test_drawing_changes_nothing_of_matplotlib_and_is_not_changed_by_it(python):
    plain, changed = python(
        "import hashlib, matplotlib, numpy as np, sys\n"
        "from mnist_cnn import figures\n"
        "def digest(): return hashlib.sha256(plots.confusion(np.eye(10, dtype=int))).hexdigest()\n"
        "print(digest())\n"
        "matplotlib.rcParams['font.size'] = 33\n"
        "print(digest())\n"
        "assert matplotlib.rcParams['font.size'] == 33 and 'matplotlib.pyplot' not in sys.modules\n"
    ).split()
    assert plain == changed


def test_the_script_says_where_the_page_of_the_newest_run_is(script, sample, tmp_path):
    train(sample, tmp_path / "runs" / "first", replace(DENSE, epochs=1, batch_size=4000), model="mlp")
    done = script("report.py")
    assert (done.returncode, done.stdout) == (0, "runs/first/report/index.html\n"), done.stderr
    assert done.stderr == ""
    assert "do not compare it with the accuracy on MNIST" in Page(tmp_path / done.stdout.strip()).text


def test_without_matplotlib_one_line_names_the_extra(python):
    said = python(
        "import sys; sys.modules['matplotlib'] = None\n"
        "try: import mnist_cnn.figures\n"
        "except ImportError as error: print(error)"
    )
    assert said == "a report needs matplotlib: pip install '.[report]'\n"


def test_what_is_no_run_is_one_line(script):
    for arguments in (["--run-dir", "nowhere"], []):
        done = script("report.py", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
