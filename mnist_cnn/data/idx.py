"""MNIST's four IDX files: format, digests, and a reader that does not trust the content."""

import hashlib
import struct
import zlib
from typing import BinaryIO, NamedTuple, Tuple

import numpy as np

from mnist_cnn.errors import InputError


class IdxFile(NamedTuple):
    """Shape and digest of one file."""

    shape: Tuple[int, ...]
    sha256: str  # of the decompressed file: mirrors compress the same bytes differently

    @property
    def header(self) -> bytes:
        """The first bytes: two zero bytes, 8 for unsigned bytes, the rank, then each dimension in 4 bytes."""
        return struct.pack(f">{1 + len(self.shape)}I", 0x800 + len(self.shape), *self.shape)

    @property
    def size(self) -> int:
        """Bytes of the decompressed file."""
        return len(self.header) + int(np.prod(self.shape))

    @property
    def max_gzip_size(self) -> int:
        """Upper limit for the bytes of the file, compressed or not."""
        # Stored gzip blocks are the longest form: 5 bytes for each 16 KB or more.
        return self.size * 101 // 100 + 1024


# The format and the shapes: http://yann.lecun.com/exdb/mnist/
IDX_FILES = {
    "train-images-idx3-ubyte": IdxFile(
        (60000, 28, 28), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": IdxFile((60000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": IdxFile(
        (10000, 28, 28), "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": IdxFile((10000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}


def read_idx(file: BinaryIO, source: str, name: str) -> np.ndarray:
    """Reads the images or labels of one of the IDX_FILES and verifies their SHA-256.

    Memory is bounded by the known size of the file, whatever its header says.

    Args:
      file: a binary file, gzip-compressed or not.
      source: the file name in error messages.
      name: a key of IDX_FILES.

    Returns:
      uint8 array of the known shape.

    Raises:
      InputError: the content is not bit-identical to MNIST's.
    """
    expected = IDX_FILES[name]
    content = file.read(expected.max_gzip_size)
    if content.startswith(b"\x1f\x8b"):
        gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:  # in one call, which releases the GIL
            content = gzip.decompress(content, expected.size + 1)
        except zlib.error as error:
            raise _make_damage_error(source, f"it cannot be decompressed ({error})") from error
        if not gzip.eof and len(content) <= expected.size:
            raise _make_damage_error(source, f"it was cut off after {len(content):,} of {expected.size:,} bytes")
    if not content.startswith(expected.header):
        raise _make_damage_error(source, f"it begins with {content[:16]!r}, not with {name}'s header")
    if len(content) != expected.size:
        size = f"over {expected.size:,}" if len(content) > expected.size else f"{len(content):,}"
        raise _make_damage_error(source, f"it holds {size} of {expected.size:,} bytes")
    if hashlib.sha256(content).hexdigest() != expected.sha256:
        raise _make_damage_error(source, f"its SHA-256 is not {expected.sha256}")
    return np.frombuffer(content, np.uint8, offset=len(expected.header)).reshape(expected.shape)


def _make_damage_error(source: str, reason: str) -> InputError:
    return InputError(f"{source} is damaged or not MNIST's: {reason}")
