"""TensorFlow in forked processes, where it would wait forever."""

import os
from typing import Any, Optional

from mnist_cnn.errors import ForkedProcess

_first_process: Optional[int] = None  # the process that made the first session


def check() -> None:
    """Raises ForkedProcess in a forked process if TensorFlow has run before it was forked.

    Such a process has a copy of TensorFlow's locks without the threads that would open them.
    """
    if _first_process not in (None, os.getpid()):
        raise ForkedProcess(
            "TensorFlow ran before this process was forked, and cannot run in it: load the network in the child "
            "process, not before the fork, or start processes with multiprocessing's method spawn"
        )


def guard(session: Any) -> Any:
    """Makes `session.run` raise ForkedProcess in a forked process. Returns the session, a tf.Session."""
    global _first_process
    _first_process = os.getpid()
    run = session.run

    def run_if_not_forked(*args: Any, **kwargs: Any) -> Any:
        check()
        return run(*args, **kwargs)

    session.run = run_if_not_forked
    return session
