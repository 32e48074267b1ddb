"""How a run is stopped from outside."""

import signal
import threading

from mnist_cnn.errors import InputError, Stopped, TrainingFailed

# Windows has no SIGHUP.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class GracefulShutdown:
    """Between `with` and its end, the first of SIGNALS is noted in `signum`.

    A second one raises Stopped, and so does an error by which the work ends before it asks for `signum`.
    """

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

    def __exit__(self, kind, error, traceback):
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        if self.signum and isinstance(error, Exception):  # which kept the request from being heard
            reason = error if isinstance(error, (InputError, TrainingFailed)) else type(error).__name__
            raise Stopped(self.signum, f"{_AT_ONCE}, and it failed: {reason}") from error

    def _note(self, signum, frame):
        if self.signum:
            raise Stopped(signum, _AT_ONCE)
        self.signum = signum


_AT_ONCE = "stopped at once; the newest checkpoint is as it was"
