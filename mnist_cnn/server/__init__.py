"""The demo page and TensorFlow Serving's REST API over HTTP. Needs the extra `serve`."""

from typing import Any


def create_app(model: Any, **options: Any) -> Any:
    """Creates the WSGI application, for servers such as gunicorn: see `mnist_cnn.server.app.create_app`."""
    from mnist_cnn.server import app  # Flask is imported only where it is used

    return app.create_app(model, **options)


def show(model: Any, height: int = 900) -> Any:
    """Serves a network and shows the page in a notebook: see `mnist_cnn.server.notebook.show`."""
    from mnist_cnn.server import notebook

    return notebook.show(model, height)
