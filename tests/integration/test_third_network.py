"""A third network: one function, and an entry in each of the two tables."""

import numpy as np

from mnist_cnn import Classifier, Recipe, draw_report, evaluate, restore_run, train
from mnist_cnn.model import MODELS, Network
from mnist_cnn.recipes import DEFAULT_RECIPES
from mnist_cnn.tf1 import tf


def softmax_regression(images, weights, keep_prob, noise):
    return tf.matmul(tf.reshape(images, [-1, 784]), weights[0]), {}


def test_a_network_in_both_tables_trains_resumes_reports_predicts_and_exports(small, tmp_path, monkeypatch):
    network = Network(lambda num_classes: {"W": [784, num_classes]}, 0, softmax_regression)
    monkeypatch.setitem(MODELS, "softmax", network)
    monkeypatch.setitem(DEFAULT_RECIPES, "softmax", Recipe(2, 100, 0.001, keep_prob=1.0))
    run = tmp_path / "run"

    assert train(small, run, model="softmax", max_steps=5)["completed"] is False
    result = train(small, run, resume=True)
    assert (result["model"], result["completed"], result["steps"]) == ("softmax", True, 6)
    assert train(small, tmp_path / "uninterrupted", model="softmax")["test_accuracy"] == result["test_accuracy"]
    with restore_run(run) as (session, model):
        predictions = evaluate(session, model, small.test).predictions

    assert "softmax, 7,840 parameters" in draw_report(run, small).read_text(encoding="utf-8")
    with Classifier.load(run) as classifier:
        np.testing.assert_array_equal(classifier.predict(small.test.images).classes, predictions)
        assert classifier.feature_maps(small.test.images[:1]) == {}
        exported = classifier.export(tmp_path / "model")
    with Classifier.load(exported) as classifier:
        np.testing.assert_array_equal(classifier.predict(small.test.images).classes, predictions)
