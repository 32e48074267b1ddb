"""The one door to TensorFlow: `from mnist_cnn.tf1 import tf` is the 1.x API, on 1.15 and on 2.x."""

from mnist_cnn import cpu
from mnist_cnn.errors import InputError

try:
    import tensorflow.compat.v1 as tf
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("tensorflow"):
        raise
    raise ImportError("TensorFlow is not installed for this Python: pip install -r requirements.txt") from error
except TypeError as error:
    # protobuf 4 refuses the generated code in TensorFlow 1.15 with "Descriptors cannot be created directly".
    raise ImportError("TensorFlow 1.15 cannot be imported with protobuf 4: pip install 'protobuf<3.21'") from error

__all__ = ["new_session", "tf"]


def new_session(mixed_precision=False, target=""):
    """A Session for the current graph.

    Args:
      mixed_precision: let convolutions and matrix products be computed in bfloat16, with float32 weights.
      target: that of a tf.train.Server, for a session with its whole cluster.

    Raises:
      InputError: this TensorFlow or this CPU has no bfloat16.
    """
    # Else a cluster's session that was given up could still change the weights of the next.
    config = tf.ConfigProto(isolate_session_state=True)
    if _is_intels_1_15():
        config.inter_op_parallelism_threads = 1  # each operation has all cores: two at once get into each other's way
    if mixed_precision:
        rewriting = config.graph_options.rewrite_options
        if not hasattr(rewriting, "auto_mixed_precision_onednn_bfloat16"):
            raise InputError(f"mixed precision needs TensorFlow 2, and this is {tf.__version__}: train without it")
        if not cpu.has_bfloat16():
            raise InputError("mixed precision needs a CPU with bfloat16 (avx512_bf16 or amx_bf16): train without it")
        rewriting.auto_mixed_precision_onednn_bfloat16 = rewriting.ON
    return tf.Session(target, config=config)


def _is_intels_1_15():
    try:
        from tensorflow.python.pywrap_tensorflow import IsMklEnabled
    except ImportError:  # TensorFlow 2
        return False
    return IsMklEnabled()
