"""The part of `tf.contrib` that MNIST tutorials use, for TensorFlow 2. Needs the extra `tutorials`.

`contrib.slim`, `layers`, `framework`, `losses`, `metrics` and `training` are those of tf_slim, the package that
contrib.slim became. The RNN cells are those of tf_keras, which is Keras 2.
"""

import importlib
import sys
from typing import Any

from mnist_cnn.compat.datasets import datasets
from mnist_cnn.compat.namespace import EXTRA_HINT, ExtraMissing, Namespace
from mnist_cnn.tf1 import tf

HAS_KERAS_3 = tuple(int(part) for part in tf.__version__.split(".")[:2]) >= (2, 16)

try:
    import tf_slim

    if HAS_KERAS_3:
        # TensorFlow looks for Keras 2's layers in tf_keras, but where it no longer has them.
        for _name in ("", ".base", ".convolutional", ".core", ".normalization", ".pooling"):
            _module = importlib.import_module(f"tf_keras.src.legacy_tf_layers{_name}")
            sys.modules.setdefault(f"tf_keras.legacy_tf_layers{_name}", _module)
except ModuleNotFoundError as error:
    raise ExtraMissing(f"tf.contrib needs the extra `tutorials`: {EXTRA_HINT}") from error

# Names that tf_slim, whose last release is of 2020, looks for in modules of TensorFlow that have lost them since.
_MOVED = {
    "framework.ops": {"IndexedSlices": tf.IndexedSlices, "Tensor": tf.Tensor},
    "ops.array_ops": {"stack": tf.stack, "unstack": tf.unstack},
    "ops.control_flow_ops": {"Assert": tf.Assert, "case": tf.case, "cond": tf.cond, "while_loop": tf.while_loop},
    "ops.variable_scope": {"variable": tf.Variable},
}
for _name, _members in _MOVED.items():
    _module = importlib.import_module(f"tensorflow.python.{_name}")
    for _member, _value in _members.items():
        if not hasattr(_module, _member):
            setattr(_module, _member, _value)


def _lstm_block_cell(
    num_units: int,
    forget_bias: float = 1.0,
    cell_clip: Any = None,
    use_peephole: bool = False,
    dtype: Any = None,
    reuse: Any = None,
    name: str = "lstm_cell",
) -> Any:
    """contrib.rnn.LSTMBlockCell as an LSTMCell, which computes the same in several ops."""
    if cell_clip is not None and cell_clip <= 0:
        cell_clip = None
    return tf.nn.rnn_cell.LSTMCell(
        num_units, use_peephole, cell_clip, forget_bias=forget_bias, dtype=dtype, reuse=reuse, name=name
    )


contrib = Namespace(
    "tensorflow.contrib",
    slim=tf_slim,
    layers=Namespace("tensorflow.contrib.layers", tf_slim),
    framework=Namespace("tensorflow.contrib.framework", tf_slim, nest=tf.nest),
    losses=tf_slim.losses,
    metrics=tf_slim.metrics,
    training=tf_slim.training,
    data=Namespace("tensorflow.contrib.data", tf.data),
    keras=Namespace("tensorflow.contrib.keras", tf.keras),
    rnn=Namespace(
        "tensorflow.contrib.rnn",
        tf.nn.rnn_cell,
        LSTMBlockCell=_lstm_block_cell,
        static_rnn=tf.nn.static_rnn,
        static_bidirectional_rnn=tf.nn.static_bidirectional_rnn,
    ),
    learn=Namespace("tensorflow.contrib.learn", datasets=datasets),
)
