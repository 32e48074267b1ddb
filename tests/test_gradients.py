"""Gradients of convolutions, and where TensorFlow's own are replaced."""

import numpy as np
import pytest

from mnist_cnn import build_model
from mnist_cnn.gradients import fast_convolution_gradients, is_intel_mkl_build
from mnist_cnn.tf1 import tf

IS_FAST = tf.__version__.startswith("1.") and not is_intel_mkl_build()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("padding", ["SAME", "VALID", [[0, 0], [1, 2], [0, 3], [0, 0]]])
def test_gradients_equal_tensorflows(seed, padding):
    random = np.random.RandomState(seed)
    height, width = random.randint(7, 20, 2)
    window_height, window_width = (3, 5) if seed % 2 else random.randint(1, 6, 2)
    stride = 1 if seed < 4 else 2
    images = random.normal(size=[random.randint(1, 9), height, width, random.randint(1, 5)])
    filters = random.normal(size=[window_height, window_width, images.shape[3], random.randint(1, 7)])
    strides = [1, stride, stride, 1]

    def differentiate(context):
        with tf.Graph().as_default() as graph, tf.Session() as session:
            inputs = tf.placeholder(tf.float32, [None, None, None, images.shape[3]]), tf.constant(filters, tf.float32)
            with context(graph):
                convolved = tf.nn.conv2d(*inputs, strides=strides, padding=padding)
            # The cost's gradient is another number at each element.
            gradients = tf.gradients(tf.reduce_sum(convolved**2), inputs)
            return session.run(gradients, {inputs[0]: images})

    expected = differentiate(lambda graph: graph.as_default())
    # By name, so that they are computed on TensorFlow 2 too.
    found = differentiate(lambda graph: graph.gradient_override_map({"Conv2D": "ConvolutionGradients"}))
    for value, expected_value in zip(found, expected):
        np.testing.assert_allclose(value, expected_value, rtol=1e-4, atol=1e-4 * np.abs(expected_value).max())


def test_only_training_on_tensorflow_1_15_is_changed():
    with tf.Graph().as_default() as graph:
        build_model()
        ops = [op.type for op in graph.get_operations() if "conv2/" in op.name]
        slow_ops = {"Conv2DBackpropFilter", "Conv2DBackpropInput"} & set(ops)
        assert bool(slow_ops) != IS_FAST and "Conv2D" in ops
    with tf.Graph().as_default() as graph:
        tf.nn.conv2d(tf.zeros([1, 4, 4, 1]), tf.zeros([3, 3, 1, 1]), strides=[1, 1, 1, 1], padding="SAME")
        with fast_convolution_gradients():
            pass
        assert not any("_gradient_op_type" in op.node_def.attr for op in graph.get_operations())
