"""A replacement for `tensorflow.examples.tutorials.mnist.mnist`: a dense network, its loss, training and evaluation.

The behaviour is that of tensorflow/examples/tutorials/mnist/mnist.py in TensorFlow 1.15. As a replacement for the
package `tensorflow.examples.tutorials.mnist`, it also has `input_data` and `mnist`.
"""

import math
import sys
from typing import Any

from mnist_cnn import input_data
from mnist_cnn.tf1 import tf

__all__ = ["IMAGE_PIXELS", "IMAGE_SIZE", "NUM_CLASSES", "evaluation", "inference", "input_data", "loss", "training"]

NUM_CLASSES = 10
IMAGE_SIZE = 28
IMAGE_PIXELS = IMAGE_SIZE * IMAGE_SIZE

mnist = sys.modules[__name__]


def inference(images: Any, hidden1_units: int, hidden2_units: int) -> Any:
    """Adds a network with two dense hidden layers with ReLU.

    Args:
      images: float32 [N, 784].
      hidden1_units, hidden2_units: the sizes of the hidden layers.

    Returns:
      float32 [N, 10], the logits.
    """
    hidden1 = tf.nn.relu(_dense(images, hidden1_units, "hidden1"))
    hidden2 = tf.nn.relu(_dense(hidden1, hidden2_units, "hidden2"))
    return _dense(hidden2, NUM_CLASSES, "softmax_linear")


def _dense(units: Any, size: int, scope: str) -> Any:
    num_inputs = units.shape.as_list()[1]
    with tf.name_scope(scope):
        stddev = 1 / math.sqrt(num_inputs)
        weights = tf.Variable(tf.truncated_normal([num_inputs, size], stddev=stddev), name="weights")
        biases = tf.Variable(tf.zeros([size]), name="biases")
        return tf.matmul(units, weights) + biases


def loss(logits: Any, labels: Any) -> Any:
    """Returns the mean cross-entropy, float32 [].

    Args:
      logits: float32 [N, 10].
      labels: int32 or int64 [N] in 0..9.
    """
    return tf.losses.sparse_softmax_cross_entropy(labels=tf.to_int64(labels), logits=logits)


def training(loss: Any, learning_rate: float) -> Any:
    """Returns the op that takes a step of gradient descent; adds a summary of the loss, and the global step."""
    tf.summary.scalar("loss", loss)
    global_step = tf.Variable(0, name="global_step", trainable=False)
    return tf.train.GradientDescentOptimizer(learning_rate).minimize(loss, global_step=global_step)


def evaluation(logits: Any, labels: Any) -> Any:
    """Returns how many examples have the right class, int32 []. The arguments are those of `loss`."""
    correct = tf.nn.in_top_k(logits, labels, 1)
    return tf.reduce_sum(tf.cast(correct, tf.int32))
