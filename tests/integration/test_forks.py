"""TensorFlow in a process that was forked after TensorFlow ran in its parent: an error, not an endless wait."""

import os
import sys

import pytest
from helpers import start

from mnist_cnn import Recipe, train

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")]

CODE = """
import multiprocessing, sys
from mnist_cnn import Classifier, evaluate, load_sample, restore_run, train
from mnist_cnn.errors import ForkedProcess

run, action = sys.argv[1:]
sample = load_sample()
images = sample.test.images[:5]

def load():
    with Classifier.load(run) as classifier:
        return classifier.predict(images).classes.tolist()

def in_child(function):
    def call():
        try:
            print(function(), flush=True)
        except ForkedProcess as error:
            print("ForkedProcess:", error, flush=True)
    child = multiprocessing.get_context("fork").Process(target=call)
    child.start()
    child.join()

if action == "load in the child":
    in_child(load)
elif action == "predict":
    classifier = Classifier.load(run)
    classifier.predict(images)
    in_child(lambda: classifier.predict(images))
elif action == "evaluate":
    with restore_run(run) as (session, model):
        evaluate(session, model, sample.test)
        in_child(lambda: evaluate(session, model, sample.test))
else:
    load()
    in_child(load if action == "load" else lambda: train(sample, run + "-forked", "fast", max_steps=1))
print(load())
"""


@pytest.fixture(scope="module")
def run(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(small, folder, Recipe(1, 100, 0.003, 0.8, initial_weights="he"), max_steps=2)
    return folder


@pytest.mark.parametrize("action", ["predict", "load", "evaluate", "train", "load in the child"])
def test_a_forked_process_raises_at_once_and_its_parent_goes_on(run, action):
    process = start([sys.executable, "-c", CODE, str(run), action])
    output, error = process.communicate(timeout=120)
    child, parent = output.splitlines()[-2:]
    assert process.returncode == 0, error
    if action == "load in the child":
        assert child == parent
    else:
        assert child.startswith("ForkedProcess: TensorFlow ran before this process was forked")
