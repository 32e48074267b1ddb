"""Single import point for TensorFlow: `from mnist_cnn.tf1 import tf` is the 1.x API, on 1.15 and on 2.x."""

import os
from typing import Any, List, Optional

from mnist_cnn import cpu
from mnist_cnn.errors import ForkedProcess, InputError

_problem = cpu.find_import_problem("tensorflow")
if _problem:
    raise ImportError(_problem)
try:
    import tensorflow.compat.v1 as tf
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("tensorflow"):
        raise
    raise ImportError("TensorFlow is not installed for this Python: pip install -r requirements.txt") from error
except TypeError as error:
    # protobuf 4 refuses TensorFlow 1.15's generated code with "Descriptors cannot be created directly".
    raise ImportError("TensorFlow 1.15 cannot be imported with protobuf 4: pip install 'protobuf<3.21'") from error

__all__ = ["check_not_forked", "get_gpus", "is_intel_mkl_build", "make_gpus_deterministic", "new_session", "tf"]

_first_process: Optional[int] = None  # the process in which `new_session` was called first


class _Session(tf.Session):  # type: ignore[misc]  # TensorFlow 1.15 ships no type information
    def run(self, *args: Any, **kwargs: Any) -> Any:
        check_not_forked()
        return super().run(*args, **kwargs)


def check_not_forked() -> None:
    """Raises ForkedProcess in a forked process if TensorFlow has run before it was forked.

    Such a process has a copy of TensorFlow's locks without the threads that would open them.
    """
    if _first_process not in (None, os.getpid()):
        raise ForkedProcess(
            "TensorFlow ran before this process was forked, and cannot run in it: load the network in the child "
            "process, not before the fork, or start processes with multiprocessing's method spawn"
        )


def new_session(mixed_precision: bool = False, target: str = "") -> Any:
    """Creates a tf.Session for the current graph.

    Args:
      mixed_precision: compute convolutions and matrix products in bfloat16, with float32 weights.
      target: the target of a tf.train.Server, for a session with its cluster; "" for a local session.

    Raises:
      InputError: mixed precision is not supported by this TensorFlow or this CPU.
      ForkedProcess: see `check_not_forked`.
    """
    global _first_process
    check_not_forked()
    _first_process = os.getpid()
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
    return _Session(target, config=config)


def get_gpus() -> List[str]:
    """Returns the names of the GPUs that TensorFlow uses."""
    check_not_forked()
    devices = tf.config.experimental.list_physical_devices("GPU")
    if not hasattr(tf.config.experimental, "get_device_details"):  # before TensorFlow 2.4
        return [device.name for device in devices]
    return [tf.config.experimental.get_device_details(device).get("device_name", device.name) for device in devices]


def make_gpus_deterministic() -> None:
    """Makes results on GPUs repeat to the last bit. Call it before a graph is built; without a GPU it does nothing."""
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
