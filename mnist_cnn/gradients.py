"""Gradients of convolutions as convolutions, where TensorFlow's own kernels for them are slow.

Both gradients of a convolution are convolutions themselves. On a CPU, TensorFlow 1.15 computes these faster with Conv2D
than with Conv2DBackpropInput and Conv2DBackpropFilter. TensorFlow 2 and Intel's build do not.
"""

import contextlib
from typing import Any, ContextManager, Tuple

import numpy as np

from mnist_cnn.tf1 import get_gpus, is_intel_mkl_build, tf

_OVERRIDE = "ConvolutionGradients"  # a name in TensorFlow's registry of gradients


def fast_convolution_gradients() -> ContextManager[Any]:
    """Context manager in which tf.nn.conv2d gets faster gradients, if there are any for this TensorFlow.

    They equal TensorFlow's up to rounding. The forward op, and a graph without gradients, stay the same.
    """
    if not tf.__version__.startswith("1.") or is_intel_mkl_build() or get_gpus():
        return contextlib.ExitStack()
    return tf.get_default_graph().gradient_override_map({"Conv2D": _OVERRIDE})


@tf.RegisterGradient(_OVERRIDE)  # type: ignore[untyped-decorator]
def _differentiate(conv2d: Any, gradient: Any) -> Tuple[Any, Any]:
    """Returns the gradients of the cost with respect to the images and the filters of a Conv2D op.

    Args:
      conv2d: an op with images [N, H, W, C] and filters [h, w, C, F].
      gradient: [N, H, W, F], the gradient with respect to its output.
    """
    images, filters = conv2d.inputs
    if not _has_fast_gradients(conv2d):
        return _differentiate_by_kernels(conv2d, gradient)
    strides = [1, 1, 1, 1]
    flipped = tf.transpose(tf.reverse(filters, axis=[0, 1]), [0, 1, 3, 2])
    images_gradient = tf.nn.conv2d(gradient, flipped, strides, padding="SAME")
    # The examples take the place of the channels, and the channels that of the examples.
    images_by_channel, gradient_filters = tf.transpose(images, [3, 1, 2, 0]), tf.transpose(gradient, [1, 2, 0, 3])
    height, width = filters.shape.as_list()[:2]
    padding = [[0, 0], [height // 2, height // 2], [width // 2, width // 2], [0, 0]]
    filters_by_channel = tf.nn.conv2d(images_by_channel, gradient_filters, strides, padding)
    return images_gradient, tf.transpose(filters_by_channel, [1, 2, 0, 3])


def _has_fast_gradients(conv2d: Any) -> bool:
    """Returns whether a Conv2D op has several channels, stride 1, padding SAME and a window of odd sides."""
    height, width, channels, _ = conv2d.inputs[1].shape.as_list()
    # With one channel, TensorFlow's kernel is faster.
    return (
        channels != 1
        and conv2d.get_attr("strides") == conv2d.get_attr("dilations") == [1, 1, 1, 1]
        and conv2d.get_attr("padding") == b"SAME"
        and conv2d.get_attr("data_format") == b"NHWC"
        and None not in (height, width)
        and height % 2 == width % 2 == 1
    )


def _differentiate_by_kernels(conv2d: Any, gradient: Any) -> Tuple[Any, Any]:
    """Returns the same as `_differentiate`, as TensorFlow computes it."""
    images, filters = conv2d.inputs
    padding = conv2d.get_attr("padding").decode()
    if padding == "EXPLICIT":
        padding = np.reshape(conv2d.get_attr("explicit_paddings"), [4, 2]).tolist()
    options = {
        "strides": conv2d.get_attr("strides"),
        "padding": padding,
        "data_format": conv2d.get_attr("data_format").decode(),
        "dilations": conv2d.get_attr("dilations"),
    }
    return (
        tf.nn.conv2d_backprop_input(tf.shape(images), filters, out_backprop=gradient, **options),
        tf.nn.conv2d_backprop_filter(images, tf.shape(filters), gradient, **options),
    )
