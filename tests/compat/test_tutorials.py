"""Scripts for TensorFlow 1.x, unchanged, on the TensorFlow that is installed."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest
from helpers import ROOT, environment, one_line_error

from mnist_cnn.tf1 import tf

TUTORIALS = ROOT / "tests/compat/tutorials"
IS_TENSORFLOW_2 = not tf.__version__.startswith("1.")
slow = pytest.mark.slow

# The accuracy that each script reaches at least, of what it prints last.
ACCURACIES = {
    "contrib_layers": 0.92,
    "contrib_rnn": 0.85,
    "gan": 0.9,
    "input_queues": 0.8,
    "layers": 0.92,
    "rnn": 0.85,
    "slim": 0.92,
    "summaries_and_saver": 0.85,
    "vae": 0.9,
}
QUICK = ("input_queues",)
HIDE_EXTRA = "import sys; sys.modules['tf_keras'] = sys.modules['tf_slim'] = None\n"


@pytest.fixture(scope="module")
def mirror(mnist_dir):
    """The URL of a server of MNIST's files."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(mnist_dir)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def run_tutorial(tmp_path):
    """Runs `python -m mnist_cnn.tutorial`, or other code, in an empty folder."""

    def run(*arguments, code=None, input=None, **variables):
        command = ["-m", "mnist_cnn.tutorial"] if code is None else ["-c", code]
        return subprocess.run(
            [sys.executable, "-W", "ignore", *command, *map(str, arguments)],
            cwd=str(tmp_path),
            env=environment(TF_CPP_MIN_LOG_LEVEL="2", **variables),
            input=input,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else slow) for n in ACCURACIES])
def test_an_unchanged_script_trains(request, run_tutorial, mirror, tmp_path, name):
    if name.startswith(("contrib", "slim")):  # on 1.15, tf.contrib is TensorFlow's own
        request.getfixturevalue("tensorflow_2")
    done = run_tutorial(TUTORIALS / f"{name}.py", MNIST_MIRROR=mirror)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) > ACCURACIES[name]
    # The data are in the folder that the script names.
    assert len(list(tmp_path.glob("MNIST*/*.gz"))) == 4


@slow
def test_arguments_reach_the_script(run_tutorial, mirror, tmp_path):
    script = TUTORIALS / "summaries_and_saver.py"
    done = run_tutorial(script, "--log_dir", "elsewhere", "--steps=20", MNIST_MIRROR=mirror)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "elsewhere" / "model.ckpt-20.index").exists()


@slow
def test_a_notebook_runs_unchanged_after_the_extension_is_loaded(run_tutorial, mirror, tmp_path):
    pytest.importorskip("nbclient")
    source = (TUTORIALS / "rnn.py").read_text(encoding="utf-8").replace("range(300)", "range(20)")
    code = (
        "import json, nbformat, sys\n"
        "from nbclient import NotebookClient\n"
        "cells = [nbformat.v4.new_code_cell(source) for source in json.loads(sys.argv[1])]\n"
        "notebook = nbformat.v4.new_notebook(cells=cells)\n"
        "NotebookClient(notebook, timeout=300).execute()\n"
        "print(''.join(o['text'] for o in cells[-1].outputs if o.get('name') == 'stdout'))\n"
    )
    done = run_tutorial(json.dumps(["%load_ext mnist_cnn.tutorial", source]), code=code, MNIST_MIRROR=mirror)
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout.split()[-1]) < 1
    assert (tmp_path / "MNIST-data").is_dir()


@pytest.mark.slow
def test_every_way_of_importing_mnist_gives_the_same_module(run_tutorial, tmp_path):
    (tmp_path / "script.py").write_text(
        "import tensorflow as tf\n"
        "import tensorflow.examples.tutorials.mnist.input_data\n"
        "import tensorflow.examples.tutorials.mnist.input_data as a\n"
        "from tensorflow.examples.tutorials.mnist import input_data as b\n"
        "from tensorflow.examples.tutorials import mnist as package\n"
        "from tensorflow.examples.tutorials.mnist import mnist\n"
        "from tensorflow.examples.tutorials.mnist.input_data import read_data_sets as c\n"
        "from tensorflow.contrib.learn.python.learn.datasets.mnist import read_data_sets as d\n"
        "from tensorflow.contrib.learn.python.learn.datasets import mnist as e\n"
        "from tensorflow.python.framework import ops\n"
        "modules = {a, b, package.input_data, tf.examples.tutorials.mnist.input_data,\n"
        "           tensorflow.examples.tutorials.mnist.input_data}\n"
        "functions = {c, d, a.read_data_sets, e.read_data_sets, tf.contrib.learn.datasets.mnist.read_data_sets}\n"
        "print([module.__name__ for module in modules], len(functions), mnist.IMAGE_PIXELS, __name__)\n"
    )
    done = run_tutorial("script.py")
    assert done.stdout == "['mnist_cnn.input_data'] 1 784 __main__\n", done.stderr


# As scripts read other files in MNIST's format, such as EMNIST, and put their own arrays into batches.
OWN_FILES = """
import sys
import tensorflow as tf
from tensorflow.contrib.learn.python.learn.datasets import base
from tensorflow.contrib.learn.python.learn.datasets.mnist import *

with open(sys.argv[1] + "/train-images-idx3-ubyte.gz", "rb") as f:
    images = extract_images(f)
with tf.gfile.Open(sys.argv[1] + "/train-labels-idx1-ubyte.gz", "rb") as f:
    labels = extract_labels(f, one_hot=True)
data = base.Datasets(DataSet(images[500:], labels[500:]), None, DataSet(images[:500], labels[:500]))
x, y = tf.placeholder(tf.float32, [None, 784]), tf.placeholder(tf.float32, [None, 10])
logits = tf.matmul(x, tf.Variable(tf.zeros([784, 10])))
loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=logits))
step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), tf.argmax(y, 1)), tf.float32))
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(300):
        batch = data.train.next_batch(100)
        session.run(step, {x: batch[0], y: batch[1]})
    print(session.run(accuracy, {x: data.test.images, y: data.test.labels}))
"""


@pytest.mark.slow
def test_a_script_reads_its_own_files_in_mnists_form(run_tutorial, mnist_dir, tmp_path):
    (tmp_path / "script.py").write_text(OWN_FILES)
    done = run_tutorial("script.py", mnist_dir)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.8
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"<html>")
    done = run_tutorial("script.py", tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "train-images-idx3-ubyte.gz is damaged or not an IDX file" in done.stderr.splitlines()[-1]


# With TensorFlow 2's modules, dropout would take 0.9 for a rate, and Keras 3 would not know the optimizer.
IMPORTS = """
import numpy as np
import tensorflow as tf
import tensorflow.keras.backend as K
from tensorflow.data import Dataset
from tensorflow.keras.layers import Dense
from tensorflow.keras.models import Sequential
from tensorflow.nn import relu, rnn_cell
from tensorflow.python.framework import ops
from tensorflow.summary import FileWriter
from tensorflow.train import AdamOptimizer

try:
    import tensorflow.python.framework.absent
except ImportError as error:
    print(error)
print(Dense is tf.keras.layers.Dense, rnn_cell is tf.nn.rnn_cell, ops.get_default_graph is tf.get_default_graph)
Dataset.from_tensors(1).make_one_shot_iterator()
with tf.Session() as session:
    print(round(float((session.run(tf.nn.dropout(tf.ones([100000]), 0.9)) > 0).mean()), 1))
network = Sequential([Dense(10, activation="softmax", input_shape=(4,))])
network.compile(optimizer=AdamOptimizer(), loss="sparse_categorical_crossentropy")
network.fit(np.zeros([8, 4]), np.zeros([8]), verbose=0)
print(type(K.get_session()).__name__)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="needs /dev/stdin")
def test_submodules_are_those_of_tensorflow_1_and_the_script_may_be_a_pipe(run_tutorial):
    done = run_tutorial("/dev/stdin", input=IMPORTS)
    assert done.stdout.splitlines() == [
        "No module named 'tensorflow.python.framework.absent'",
        "True True True",
        "0.9",
        "Session",
    ], done.stderr


@pytest.mark.slow
def test_a_script_with_the_name_of_this_package_runs_from_another_folder(run_tutorial, tmp_path):
    script = tmp_path / "old" / "mnist_cnn.py"
    script.parent.mkdir()
    script.write_text("import tensorflow as tf\nprint(tf.placeholder(tf.float32).dtype.name)\n")
    done = run_tutorial("old/mnist_cnn.py")
    assert done.stdout == "float32\n", done.stderr


@pytest.mark.slow
def test_imports_of_contrib_work_after_the_import_line_too(run_tutorial):
    code = (
        "from mnist_cnn.tutorial import input_data, mnist, tf\n"
        "from tensorflow.contrib.layers import fully_connected\n"
        "import tensorflow.contrib.slim as slim\n"
        "from tensorflow.contrib.layers import *\n"
        "same = fully_connected is slim.fully_connected is tf.contrib.layers.fully_connected\n"
        "print(same, bool(xavier_initializer), mnist.NUM_CLASSES)\n"
    )
    done = run_tutorial(code=code)
    assert done.stdout == "True True 10\n", done.stderr


# Runs each line of its arguments, and prints the errors.
TRY_LINES = (
    "import sys\n"
    "from mnist_cnn.tutorial import tf\n"
    "for line in sys.argv[1:]:\n"
    "    try:\n"
    "        exec(line)\n"
    "    except Exception as error:\n"
    "        print(error)\n"
)


@pytest.mark.skipif(not IS_TENSORFLOW_2, reason="TensorFlow 1.15 has all of tf.contrib")
def test_what_is_not_available_is_named(run_tutorial):
    expected = {
        "tf.contrib.distributions": "tensorflow.contrib.distributions is not available with TensorFlow 2.",
        "tf.contrib.layers.real_valued_column": "tensorflow.contrib.layers.real_valued_column is not available",
        "tf.estimator": "tensorflow.estimator is not available",
        "from tensorflow.contrib import crf": "cannot import name 'crf'",
        "import tensorflow.contrib.crf": "No module named 'tensorflow.contrib.crf'",
        "tf.contrib.learn.datasets.load_dataset('iris')": "load_dataset('iris'): there is only 'mnist'",
    }
    done = run_tutorial(*expected, code=TRY_LINES)
    messages = done.stdout.splitlines()
    assert len(messages) == len(expected), done.stderr
    assert all(message.startswith(start) for message, start in zip(messages, expected.values())), messages


@pytest.mark.skipif(not IS_TENSORFLOW_2, reason="TensorFlow 1.15 needs no extra")
def test_without_the_extra_it_is_named(run_tutorial):
    lines = "tf.layers.dense", "tf.nn.rnn_cell.GRUCell", "tf.contrib", "from tensorflow import contrib"
    done = run_tutorial(*lines, code=HIDE_EXTRA + TRY_LINES)
    messages = done.stdout.splitlines()
    assert len(messages) == len(lines), done.stderr
    assert all(message.endswith("pip install '.[tutorials]'") for message in messages[:3])


@pytest.mark.skipif(not IS_TENSORFLOW_2, reason="TensorFlow 1.15 needs no extra")
@slow
def test_a_script_without_the_extra_ends_with_one_line_that_names_it(run_tutorial, tmp_path):
    (tmp_path / "script.py").write_text(HIDE_EXTRA + "from tensorflow.contrib import slim\n")
    done = run_tutorial("script.py")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.rstrip().endswith(
        "script.py: tf.contrib needs the extra `tutorials`: pip install '.[tutorials]'"
    )


@pytest.mark.skipif(not IS_TENSORFLOW_2, reason="TensorFlow 1.15 has Keras 2")
@slow
def test_keras_3_in_use_is_an_error_that_says_what_to_do(run_tutorial):
    code = (
        "import tensorflow.compat.v1\n"
        "hasattr(tensorflow.compat.v1.layers, 'dense')\n"
        "from mnist_cnn.tutorial import tf\n"
        "tf.layers.dense\n"
    )
    done = run_tutorial(code=code)
    assert "import mnist_cnn.tutorial before anything that imports keras" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_predictions_without_a_name_are_an_error_that_says_what_to_write(run_tutorial):
    code = (
        "from mnist_cnn.tutorial import tf\n"
        "y = tf.placeholder(tf.float32, [None, 10])\n"
        "tf.nn.softmax_cross_entropy_with_logits(y, y)\n"
    )
    done = run_tutorial(code=code)
    assert done.returncode and "labels=..., logits=..." in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "script.py cannot be read: No such file or directory"),
        ("\0", "script.py, line 1: "),
        ("import tensorflow\nprint 'hello'\n", "script.py, line 2: "),
    ],
)
def test_a_script_that_cannot_run_is_a_one_line_error(run_tutorial, tmp_path, content, message):
    if content:
        (tmp_path / "script.py").write_text(content)
    error = one_line_error(run_tutorial("script.py"), 2)
    assert message in error and ("2to3 -w script.py" in error) == bool(content)


@pytest.mark.slow
def test_missing_data_are_an_error_without_a_traceback(run_tutorial):
    done = run_tutorial(TUTORIALS / "input_queues.py")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "input_queues.py: " in done.stderr.splitlines()[-1]
