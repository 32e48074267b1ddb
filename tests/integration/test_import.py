"""The package as a notebook uses it: imported into a process that is somebody else's."""

import json

PROCESS = """
import json, logging, os, warnings
import tensorflow

def state():
    return {
        "eager": tensorflow.executing_eagerly() if tensorflow.__version__[0] == "2" else None,
        "v2": tensorflow.__version__[0] == "2" and tensorflow.compat.v1.resource_variables_enabled(),
        "environment": dict(os.environ),
        "filters": [str(rule) for rule in warnings.filters],
        "levels": [logging.getLogger(name).level for name in (None, "tensorflow", "absl")],
        "folder": os.getcwd(),
    }
"""

BY_HAND = """
before = state()
from mnist_cnn import build_model, load_sample
from mnist_cnn.tf1 import tf
after_import = state()
train = load_sample().train
with tf.Graph().as_default(), tf.Session() as sess:
    model = build_model()
    sess.run(tf.global_variables_initializer())
    costs = []
    for i in range(20):
        batch_xs, batch_ys = train.batch(slice(i * 100, i * 100 + 100))
        _, cost_val = sess.run(
            [model.train_op, model.cost],
            feed_dict={model.images: batch_xs, model.labels: batch_ys, model.keep_prob: 0.8},
        )
        costs.append(float(cost_val))
    steps = int(sess.run(model.global_step))
print(json.dumps({"before": before, "after_import": after_import, "after": state(), "costs": costs, "steps": steps}))
"""


def test_training_by_hand_works_and_leaves_the_process_as_it_was(python):
    said = json.loads(python(PROCESS + BY_HAND).splitlines()[-1])
    assert said["after_import"] == said["before"]
    assert said["after"] == said["before"]
    assert said["steps"] == 20
    assert said["costs"][-1] < said["costs"][0] - 0.3


def test_the_data_can_be_read_without_tensorflow(python):
    assert python("import sys; from mnist_cnn import load_sample; print('tensorflow' in sys.modules)") == "False\n"


def test_every_public_name_is_there(python):
    python("import mnist_cnn; [getattr(mnist_cnn, name) for name in mnist_cnn.__all__]; from mnist_cnn import *")
