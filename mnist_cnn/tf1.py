"""Single import point for TensorFlow: `from mnist_cnn.tf1 import tf` is the 1.x API, on 1.15 and on 2.x."""

from typing import Any

from mnist_cnn import cpu
from mnist_cnn.errors import InputError

try:
    import tensorflow.compat.v1 as tf
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("tensorflow"):
        raise
    raise ImportError("TensorFlow is not installed for this Python: pip install -r requirements.txt") from error
except TypeError as error:
    # protobuf 4 refuses TensorFlow 1.15's generated code with "Descriptors cannot be created directly".
    raise ImportError("TensorFlow 1.15 cannot be imported with protobuf 4: pip install 'protobuf<3.21'") from error

__all__ = ["new_session", "tf"]


def new_session(mixed_precision: bool = False, target: str = "") -> Any:
    """Creates a tf.Session for the current graph.

    Args:
      mixed_precision: compute convolutions and matrix products in bfloat16, with float32 weights.
      target: the target of a tf.train.Server, for a session with its cluster; "" for a local session.

    Raises:
      InputError: mixed precision is not supported by this TensorFlow or this CPU.
    """
    # Without isolation, an abandoned cluster session could still modify the next one's variables.
    config = tf.ConfigProto(isolate_session_state=True)
    if _is_intel_mkl_build():
        config.inter_op_parallelism_threads = 1  # each op uses all cores: two ops at once oversubscribe them
    if mixed_precision:
        rewrite_options = config.graph_options.rewrite_options
        if not hasattr(rewrite_options, "auto_mixed_precision_onednn_bfloat16"):
            raise InputError(f"mixed precision needs TensorFlow 2, and this is {tf.__version__}: train without it")
        if not cpu.has_bfloat16():
            raise InputError("mixed precision needs a CPU with bfloat16 (avx512_bf16 or amx_bf16): train without it")
        rewrite_options.auto_mixed_precision_onednn_bfloat16 = rewrite_options.ON
    return tf.Session(target, config=config)


def _is_intel_mkl_build() -> bool:
    try:
        from tensorflow.python.pywrap_tensorflow import IsMklEnabled
    except ImportError:  # TensorFlow 2
        return False
    return IsMklEnabled()
