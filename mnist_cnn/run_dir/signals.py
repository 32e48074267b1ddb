"""Signal handling: a run finishes its step and saves before it stops."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Dict, Optional, Type

from mnist_cnn.errors import InputError, Stopped, TrainingFailed

# Windows has no SIGHUP; there, Ctrl-Break and closing the console window raise SIGBREAK.
_SIGNAL_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
SIGNALS = [getattr(signal, name) for name in _SIGNAL_NAMES if hasattr(signal, name)]

_STOPPED_IMMEDIATELY = "stopped immediately; the latest checkpoint is unchanged"


class GracefulShutdown:
    """Context manager: the first of SIGNALS inside the with-block is recorded in `signum`; a second raises Stopped.

    If an exception ends the with-block after a signal was recorded, Stopped is raised from it.
    """

    def __init__(self) -> None:
        self.signum: Optional[int] = None
        self._previous_handlers: Dict[int, Any] = {}

    def __enter__(self) -> "GracefulShutdown":
        if threading.current_thread() is threading.main_thread():  # Python allows no other thread to set handlers
            for signum in SIGNALS:
                # Signals that are ignored, as under nohup, stay ignored.
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                    self._previous_handlers[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        for signum, handler in self._previous_handlers.items():
            signal.signal(signum, handler)
        # Without this, the exception would hide the stop request.
        if self.signum and isinstance(error, Exception):
            reason = error if isinstance(error, (InputError, TrainingFailed)) else type(error).__name__
            raise Stopped(self.signum, f"{_STOPPED_IMMEDIATELY}, and the step failed: {reason}") from error

    def _handle(self, signum: int, frame: Optional[FrameType]) -> None:
        if self.signum:
            raise Stopped(signum, _STOPPED_IMMEDIATELY)
        self.signum = signum
