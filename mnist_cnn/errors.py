"""Exceptions. Each message is one line: the problem, the file, and a remedy."""

import signal
from typing import Any, Optional


class InputError(ValueError):
    """An argument, a file or a folder that cannot be used. Commands exit with status 2."""


class DataNotFound(InputError):
    """The dataset is missing altogether, as opposed to damaged or incomplete."""


class IncompleteData(InputError):
    """Some of the dataset's files are missing."""


class OtherData(InputError):
    """A file is a valid IDX file, but not MNIST's."""


class OtherClasses(InputError):
    """The classes of the data differ from those of the network that is to be fine-tuned on them."""


class RunNotFound(InputError):
    """There is no run to resume, or no completed run to read."""


class NoDigitFound(InputError):
    """No digit stands out from the image's background, or its probability is below the run's `min_probability`.

    `number` is the Number that was read with too little probability, or None.
    """

    def __init__(self, message: str, number: Any = None):
        super().__init__(message)
        self.number = number


class TrainingFailed(RuntimeError):
    """The run cannot continue, or its result cannot be saved. Commands exit with status 1.

    `run_dir` is the directory from which the run can be resumed, or None.
    """

    def __init__(self, message: str, run_dir: Any = None):
        super().__init__(message)
        self.run_dir = run_dir


class ForkedProcess(RuntimeError):
    """TensorFlow is used in a forked process after it ran in the parent process, where it would wait forever."""


class Stopped(KeyboardInterrupt):
    """The run was stopped by the signal `signum`. Commands exit with status 128 + `signum`.

    `run_dir` is the directory from which the run can be resumed, or None.
    """

    def __init__(self, signum: int = signal.SIGINT, message: str = "stopped", run_dir: Optional[Any] = None):
        super().__init__(message)
        self.signum = signum
        self.run_dir = run_dir
