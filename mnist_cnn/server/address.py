"""The address at which the server listens."""

import ipaddress

from mnist_cnn.errors import InputError


class CannotListen(InputError):
    """The server cannot listen at the requested host and port."""


class OpenToAnyone(InputError):
    """The server would save drawings from other machines."""


def is_loopback(host: str) -> bool:
    """Returns whether a host, a name or an address, is this machine as it can be reached from itself alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False
