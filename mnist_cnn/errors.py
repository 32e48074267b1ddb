"""What ends a run early. Messages are one line: what is wrong, where, what to do."""


class InputError(ValueError):
    """An argument, a file or a folder that cannot be used. Scripts exit with status 2."""


class DataNotFound(InputError):
    """The dataset is not there at all, as opposed to there and damaged."""


class NoDigitFound(InputError):
    """A picture that can be read, with no digit in it."""


class TrainingFailed(RuntimeError):
    """The run cannot go on, or its result cannot be saved. Scripts exit with status 1."""


class Stopped(KeyboardInterrupt):
    """A signal asked the run to stop. Scripts exit with status 128 + `signum`."""

    def __init__(self, signum, message="stopped"):
        super().__init__(message)
        self.signum = signum
