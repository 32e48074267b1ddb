"""What can be wrong with what the user gave. Messages are one line: what is wrong, where, what to do."""


class InputError(ValueError):
    """An argument, a file or a folder that cannot be used. Scripts exit with status 2."""


class DataNotFound(InputError):
    """The dataset is not there at all, as opposed to there and damaged."""
