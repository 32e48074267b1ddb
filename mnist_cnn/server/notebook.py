"""The demo page inside a notebook. Needs the extra `serve`."""

import os
import threading
from pathlib import Path
from typing import Any, Union

from mnist_cnn.inference.classifier import Classifier
from mnist_cnn.server.app import create_app
from mnist_cnn.server.http import Server

# A notebook's page is on this machine, or shows the page through a proxy at its own origin.
FRAME_ANCESTORS = "'self' http://localhost:* http://127.0.0.1:*"


class Shown:
    """A page that is being served by this process. `close()` stops that, and so does the end of the process."""

    def __init__(self, model: Union[str, Path, Classifier]):
        self._owned = None if isinstance(model, Classifier) else Classifier.load(model)
        self._server = Server(create_app(self._owned or model, frame_ancestors=FRAME_ANCESTORS), "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.run, name="mnist_cnn.server.show", daemon=True)
        self._thread.start()
        self.url = _get_url(self._server.effective_port)

    def close(self) -> None:
        """Stops the server, after it has answered the requests that were sent before."""
        self._server.stop()
        self._thread.join()
        if self._owned:
            self._owned.close()

    def __enter__(self) -> "Shown":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


def show(model: Union[str, Path, Classifier], height: int = 900) -> Shown:
    """Serves a network on a free port, for this machine only, and shows the page below the notebook's cell.

    Args:
      model: a run directory, the folder of an exported model, or a Classifier.
      height: of the page, in pixels.

    Returns:
      An object with `url` and `close()`.

    Raises:
      InputError: as `Classifier.load`.
      ImportError: there is no IPython, so this is not a notebook.
    """
    try:
        from IPython.display import IFrame, display
    except ImportError as error:
        raise ImportError("show() is for notebooks, and there is no IPython: run serve.py instead") from error
    shown = Shown(model)
    display(IFrame(shown.url, "100%", height))
    return shown


def _get_url(port: int) -> str:
    """Returns the page's URL as the notebook's browser can reach it.

    JupyterHub and Binder have jupyter-server-proxy at a path below the variable's value; code-server has a pattern.
    """
    if "VSCODE_PROXY_URI" in os.environ:
        url = os.environ["VSCODE_PROXY_URI"].replace("{{port}}", str(port))
        return url if url.endswith("/") else url + "/"  # the page's own addresses are relative to it
    if "JUPYTERHUB_SERVICE_PREFIX" in os.environ:
        return f"{os.environ['JUPYTERHUB_SERVICE_PREFIX']}proxy/{port}/"
    return f"http://127.0.0.1:{port}/"
