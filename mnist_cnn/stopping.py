"""How a run is stopped from outside."""

import signal
import threading

from mnist_cnn.errors import Stopped

# Windows has no SIGHUP.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StopRequests:
    """Between `with` and its end, the first of SIGNALS is noted in `signum`, and the second raises Stopped."""

    def __init__(self):
        self.signum = None
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            for signum in SIGNALS:
                # What is ignored, as under nohup, stays ignored.
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                    self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *error):
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum, frame):
        if self.signum:
            raise Stopped(signum, "stopped at once; the newest checkpoint is as it was")
        self.signum = signum
