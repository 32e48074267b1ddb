"""Single import point for TensorFlow: `from mnist_cnn.tf1 import tf` is the 1.x API, on 1.15 and on 2.x."""

import os
from typing import Any, List

from mnist_cnn import cpu, forks
from mnist_cnn.errors import InputError

cpu.check_import("tensorflow")
try:
    import tensorflow.compat.v1 as tf
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("tensorflow"):
        raise
    raise ImportError("TensorFlow is not installed for this Python: pip install -r requirements.txt") from error
except TypeError as error:
    # protobuf 4 refuses TensorFlow 1.15's generated code with "Descriptors cannot be created directly".
    raise ImportError("TensorFlow 1.15 cannot be imported with protobuf 4: pip install 'protobuf<3.21'") from error

__all__ = ["get_gpus", "is_intel_mkl_build", "make_gpus_deterministic", "new_session", "tf", "uses_onednn"]


def new_session(mixed_precision: bool = False, target: str = "") -> Any:
    """Creates a tf.Session for the current graph.

    Args:
      mixed_precision: compute convolutions and matrix products in bfloat16, with float32 weights.
      target: the target of a tf.train.Server, for a session with its cluster; "" for a local session.

    Raises:
      InputError: mixed precision is not supported by this TensorFlow or this CPU.
      ForkedProcess: see `forks.check`.
    """
    forks.check()
    # Without isolation, an abandoned cluster session could still modify the next one's variables.
    config = tf.ConfigProto(isolate_session_state=True)
    config.gpu_options.allow_growth = True  # otherwise one process takes all of a GPU's memory
    if is_intel_mkl_build():
        config.inter_op_parallelism_threads = 1  # each op uses all cores: two ops at once oversubscribe them
    if mixed_precision:
        rewrite_options = config.graph_options.rewrite_options
        if not hasattr(rewrite_options, "auto_mixed_precision_onednn_bfloat16"):
            raise InputError(f"mixed precision needs TensorFlow 2, and this is {tf.__version__}: train without it")
        if not cpu.has_bfloat16():
            raise InputError("mixed precision needs a CPU with bfloat16 (avx512_bf16 or amx_bf16): train without it")
        rewrite_options.auto_mixed_precision_onednn_bfloat16 = rewrite_options.ON
    return forks.guard(tf.Session(target, config=config))


def get_gpus() -> List[str]:
    """Returns the names of the GPUs that TensorFlow uses."""
    forks.check()
    devices = tf.config.experimental.list_physical_devices("GPU")
    if not hasattr(tf.config.experimental, "get_device_details"):  # before TensorFlow 2.4
        return [device.name for device in devices]
    return [tf.config.experimental.get_device_details(device).get("device_name", device.name) for device in devices]


def make_gpus_deterministic() -> None:
    """Makes GPU results reproducible bit for bit. Call it before building a graph; it does nothing without a GPU."""
    if get_gpus():
        os.environ["TF_DETERMINISTIC_OPS"] = "1"  # read by TensorFlow before 2.8
        import tensorflow

        if hasattr(tensorflow.config.experimental, "enable_op_determinism"):  # not in compat.v1
            tensorflow.config.experimental.enable_op_determinism()


def is_intel_mkl_build() -> bool:
    """Returns whether this is Intel's build of TensorFlow 1.15."""
    try:
        from tensorflow.python.pywrap_tensorflow import IsMklEnabled
    except ImportError:  # TensorFlow 2
        return False
    return IsMklEnabled()


def uses_onednn() -> bool:
    """Returns whether TensorFlow computes with oneDNN, whose results differ from those of other kernels by rounding."""
    try:
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled
    except ImportError:  # TensorFlow 1.15
        return is_intel_mkl_build()
    return IsMklEnabled()
