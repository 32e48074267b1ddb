"""The one door to TensorFlow: `from mnist_cnn.tf1 import tf` is the 1.x API, on 1.15 and on 2.x."""

try:
    import tensorflow.compat.v1 as tf
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("tensorflow"):
        raise
    raise ImportError("TensorFlow is not installed for this Python: pip install -r requirements.txt") from error
except TypeError as error:
    # protobuf 4 refuses the generated code in TensorFlow 1.15 with "Descriptors cannot be created directly".
    raise ImportError("TensorFlow 1.15 cannot be imported with protobuf 4: pip install 'protobuf<3.21'") from error

__all__ = ["tf"]
