"""The demo page and TensorFlow Serving's REST API over HTTP. Needs the extra `serve`."""

from mnist_cnn.errors import InputError


class CannotListen(InputError):
    """The server cannot listen at the requested host and port."""
