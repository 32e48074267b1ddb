"""Compatibility of two TensorFlows: this Python's, and that of $OTHER_PYTHON."""

import json
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow

FIRST_COSTS = """
import json
from mnist_cnn import build_model, load_mnist
from mnist_cnn.data.batching import batch_indices
from mnist_cnn.tf1 import tf
train = load_mnist({mnist_dir!r}).train
with tf.Graph().as_default(), tf.Session() as sess:
    model = build_model(seed=1)
    sess.run(tf.global_variables_initializer())
    costs = []
    for step in range(20):
        images, labels = train.batch(batch_indices(len(train), 100, 1, step))
        feed = {{model.images: images, model.labels: labels, model.keep_prob: 0.8}}
        costs.append(float(sess.run([model.cost, model.train_op], feed)[0]))
print(json.dumps([tf.__version__, costs]))
"""

TRAIN = "from mnist_cnn import *; train(load_sample(), {run!r}, Recipe(2, 100, 0.001, 0.8))"

PREDICT = """
import json
from mnist_cnn import *
with restore_run({run!r}) as (session, model):
    print(json.dumps(evaluate(session, model, load_sample().test).predictions.tolist()))
"""

EXPORT = """
from mnist_cnn import *
with Classifier.load({run!r}) as classifier:
    print(classifier.export({folder!r}))
"""

READ = """
import json
from mnist_cnn import *
with Classifier.load({folder!r}) as classifier:
    images = load_sample().test.images
    maps = classifier.feature_maps(images[:1])
    print(json.dumps([classifier.predict(images).probabilities.tolist(), [maps[key].tolist() for key in sorted(maps)]]))
"""


def test_the_first_costs_are_equal_on_both(python, other_python, mnist_dir):
    code = FIRST_COSTS.format(mnist_dir=str(mnist_dir))
    results = [json.loads(python(code, executable)) for executable in (sys.executable, other_python)]
    (version, costs), (other_version, other_costs) = results
    assert version != other_version
    np.testing.assert_allclose(costs, other_costs, rtol=0.01)


def test_each_reads_the_others_checkpoints(python, other_python, tmp_path):
    for number, writer in enumerate((sys.executable, other_python)):
        run = str(tmp_path / str(number))
        python(TRAIN.format(run=run), writer)
        assert python(PREDICT.format(run=run)) == python(PREDICT.format(run=run), other_python)


def test_each_reads_the_others_exported_models_with_their_feature_maps(python, other_python, tmp_path):
    run = str(tmp_path / "run")
    python(TRAIN.format(run=run))
    probabilities, maps = json.loads(python(READ.format(folder=run)))
    assert len(maps) == 2
    for number, writer in enumerate((sys.executable, other_python)):
        folder = str(tmp_path / str(number))
        python(EXPORT.format(run=run, folder=folder), writer)
        for reader in (sys.executable, other_python):
            read_probabilities, read_maps = json.loads(python(READ.format(folder=folder), reader))
            np.testing.assert_allclose(read_probabilities, probabilities, atol=1e-5)
            for read_map, expected in zip(read_maps, maps):
                np.testing.assert_allclose(read_map, expected, atol=1e-4)
