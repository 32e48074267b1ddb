"""The tutorial's network, and the dense one it improves on. Nothing in this file runs them; it only adds to a graph.

cnn, 824,096 parameters:

    images     [N, 28, 28, 1]
    conv1      3x3 window, 32 filters, ReLU, 2x2 max-pool   -> [N, 14, 14, 32]   W1 [3, 3, 1, 32]
    conv2      3x3 window, 64 filters, ReLU, 2x2 max-pool   -> [N, 7, 7, 64]     W2 [3, 3, 32, 64]
    dense      every feature to 256 units, ReLU, dropout    -> [N, 256]          W3 [3136, 256]
    output     one score for each digit                     -> [N, 10]           W4 [256, 10]

mlp, 268,800 parameters:

    images     [N, 28, 28, 1]
    dense1     every pixel to 256 units, ReLU, dropout      -> [N, 256]          W1 [784, 256]
    dense2     256 units to 256, ReLU, dropout              -> [N, 256]          W2 [256, 256]
    output     one score for each digit                     -> [N, 10]           W3 [256, 10]

Neither has biases.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from mnist_cnn.errors import InputError
from mnist_cnn.tf1 import tf

SHAPES = {
    "cnn": {"W1": [3, 3, 1, 32], "W2": [3, 3, 32, 64], "W3": [7 * 7 * 64, 256], "W4": [256, 10]},
    "mlp": {"W1": [28 * 28, 256], "W2": [256, 256], "W3": [256, 10]},
}
DROPPED_UNITS = {"cnn": 256, "mlp": 256 + 256}  # the units that dropout chooses from, for each image


def inference(images, weights, keep_prob=1.0, noise=None):
    """The network from images to scores: the one that has these weights.

    Args:
      images: float32 [N, 28, 28, 1] in [0, 1].
      weights: the variables of `create_weights`.
      keep_prob: float32 in (0, 1], the share of the dense layers' units that dropout keeps.
      noise: float32 [N, DROPPED_UNITS] in [0, 1), which decides what is kept (see `dropout_noise`);
        without it nothing is dropped.

    Returns:
      logits: float32 [N, 10].
    """
    return (_cnn if len(weights) == len(SHAPES["cnn"]) else _mlp)(images, weights, keep_prob, noise)


def _cnn(images, weights, keep_prob, noise):
    W1, W2, W3, W4 = weights
    with tf.name_scope("conv1"):
        L1 = tf.nn.conv2d(images, W1, strides=[1, 1, 1, 1], padding="SAME")
        L1 = _pooled_relu(L1)
    with tf.name_scope("conv2"):
        L2 = tf.nn.conv2d(L1, W2, strides=[1, 1, 1, 1], padding="SAME")
        L2 = _pooled_relu(L2)
    with tf.name_scope("dense"):
        L3 = tf.reshape(L2, [-1, 7 * 7 * 64])
        L3 = tf.nn.relu(tf.matmul(L3, W3))
        L3 = _dropout(L3, keep_prob, noise)
    with tf.name_scope("output"):
        return tf.matmul(L3, W4, name="logits")


def _pooled_relu(units):
    # The published max_pool(relu(units)), to the bit, gradients too, with a quarter of the ReLU's work.
    return tf.nn.relu(tf.nn.max_pool(units, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME"))


def _mlp(images, weights, keep_prob, noise):
    W1, W2, W3 = weights
    noise1, noise2 = (None, None) if noise is None else tf.split(noise, 2, axis=1)
    with tf.name_scope("dense1"):
        L1 = tf.reshape(images, [-1, 28 * 28])
        L1 = tf.nn.relu(tf.matmul(L1, W1))
        L1 = _dropout(L1, keep_prob, noise1)
    with tf.name_scope("dense2"):
        L2 = tf.nn.relu(tf.matmul(L1, W2))
        L2 = _dropout(L2, keep_prob, noise2)
    with tf.name_scope("output"):
        return tf.matmul(L2, W3, name="logits")


def _dropout(units, keep_prob, noise):
    if noise is None:
        return units
    # What is kept is scaled up, so that evaluation needs no scaling.
    return units / keep_prob * tf.cast(noise < keep_prob, tf.float32)


def loss(logits, labels):
    """Softmax cross-entropy, averaged over the batch.

    Args:
      logits: float32 [N, 10].
      labels: float32 [N, 10], one-hot.

    Returns:
      cost: float32 [], in nats.
    """
    with tf.name_scope("loss"):
        cross_entropy = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
        return tf.reduce_mean(cross_entropy, name="cost")


def training(cost, learning_rate, global_step):
    """One step of Adam, with TensorFlow's defaults for the rest.

    Args:
      cost: float32 [].
      learning_rate: a float, or float32 [].
      global_step: the int64 [] variable that counts the steps.

    Returns:
      train_op: the operation that takes the step.
    """
    with tf.name_scope("train"):
        # Gradients are computed where the network is, which on a cluster is on several machines.
        adam = tf.train.AdamOptimizer(learning_rate)
        return adam.minimize(cost, global_step=global_step, colocate_gradients_with_ops=True)


def create_weights(seed, model="cnn", initial="published"):
    """A network's weights as variables, drawn as a function of `seed` alone.

    Stateless random numbers are the same on TensorFlow 1.15 and 2. Reference variables,
    since TensorFlow 1.15 cannot read a SavedModel that has 2.x's resource variables.

    Args:
      seed: an int in 0..2³²-1.
      model: "cnn" or "mlp".
      initial: "published", from N(0, 0.01²), or "he", from N(0, 2 / the number of inputs), with which
        a signal keeps its size through layers of ReLU (He et al. 2015, arXiv:1502.01852).

    Returns:
      [W1, W2, ...], float32, of the shapes in SHAPES.
    """

    def stddev(shape):
        return 0.01 if initial == "published" else math.sqrt(2 / np.prod(shape[:-1]))

    # Dropout draws with [seed, step], so weights take the negative numbers.
    return [
        tf.Variable(
            stddev(shape) * tf.random.stateless_normal(shape, seed=tf.constant([seed, -number], tf.int64)),
            name=name,
            use_resource=False,
        )
        for number, (name, shape) in enumerate(SHAPES[model].items(), start=1)
    ]


def dropout_noise(batch_size, seed, step, model="cnn"):
    """What decides which of the dense layers' units dropout keeps: a function of (seed, step) alone.

    Args:
      batch_size: an int, or int32 [].
      seed: an int in 0..2³²-1.
      step: int64 [], zero or more.
      model: "cnn" or "mlp".

    Returns:
      noise: float32 [batch_size, DROPPED_UNITS], uniform in [0, 1).
    """
    with tf.name_scope("dropout_noise"):
        seed = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])
        return tf.random.stateless_uniform([batch_size, DROPPED_UNITS[model]], seed=seed)


class Model(NamedTuple):
    """What `build_model` adds to a graph."""

    images: Any  # placeholder, float32 [None, 28, 28, 1] in [0, 1]
    labels: Any  # placeholder, float32 [None, 10], one-hot
    keep_prob: Any  # float32 [] in (0, 1], the share of units that dropout keeps; 1 unless it is fed
    logits: Any  # float32 [None, 10]
    cost: Any  # float32 [], mean cross-entropy in nats
    train_op: Any  # operation that takes one step of Adam
    predictions: Any  # int64 [None] in 0..9
    probabilities: Any  # float32 [None, 10] in [0, 1]
    accuracy: Any  # float32 [] in [0, 1], of the images and labels that are fed
    global_step: Any  # variable, int64 [], the steps taken


def build_model(model="cnn", learning_rate=0.001, seed=1, initial_weights="published", inference=inference):
    """Adds a network and its training to the current graph.

    Args:
      model: "cnn", the tutorial's network, or "mlp", the dense one.
      learning_rate: Adam's; a float, or a float32 [] tensor.
      seed: an int in 0..2³²-1, which alone decides the initial weights and, with the step, dropout.
      initial_weights: "published" or "he", as in `create_weights`.
      inference: what computes the logits, from the arguments of `inference`.

    Returns:
      A Model.

    Raises:
      InputError: there is no such model.
      RuntimeError: there is no graph to add to (TensorFlow 2 outside `tf.Graph().as_default()`),
        or the graph has the network already.
    """
    if model not in SHAPES:
        raise InputError(f"model is {model!r}: it must be one of {', '.join(SHAPES)}")
    if tf.executing_eagerly():
        raise RuntimeError(
            "build_model() adds to a graph, and TensorFlow 2 has none here; write "
            "`with tf.Graph().as_default(), tf.Session() as sess:` above it, with `from mnist_cnn.tf1 import tf`"
        )
    if tf.get_collection("mnist_cnn"):
        raise RuntimeError(
            "this graph has the network already (was the cell run twice?); write "
            "`with tf.Graph().as_default(), tf.Session() as sess:` above build_model() to begin a new graph"
        )
    images = tf.placeholder(tf.float32, [None, 28, 28, 1], name="images")
    labels = tf.placeholder(tf.float32, [None, 10], name="labels")
    keep_prob = tf.placeholder_with_default(1.0, [], name="keep_prob")
    global_step = tf.Variable(
        0,
        trainable=False,
        name="global_step",
        dtype=tf.int64,
        use_resource=False,
        collections=[tf.GraphKeys.GLOBAL_VARIABLES, tf.GraphKeys.GLOBAL_STEP],
    )
    noise = dropout_noise(tf.shape(images)[0], seed, global_step, model)
    logits = inference(images, create_weights(seed, model, initial_weights), keep_prob, noise)
    cost = loss(logits, labels)
    predictions = tf.argmax(logits, 1, name="predictions")
    correct = tf.equal(predictions, tf.argmax(labels, 1))
    tf.add_to_collection("mnist_cnn", logits)
    return Model(
        images=images,
        labels=labels,
        keep_prob=keep_prob,
        logits=logits,
        cost=cost,
        train_op=training(cost, learning_rate, global_step),
        predictions=predictions,
        probabilities=tf.nn.softmax(logits, name="probabilities"),
        accuracy=tf.reduce_mean(tf.cast(correct, tf.float32), name="accuracy"),
        global_step=global_step,
    )
