"""IDX files: a reader that does not trust the content, and the digests of MNIST's four files."""

import hashlib
import os
import struct
import zlib
from typing import BinaryIO, NamedTuple, Tuple

import numpy as np

from mnist_cnn.errors import InputError, OtherData

MAX_SIZE = 2**30  # bytes of a decompressed file; 28 x 28 images: 1.3 million
_MAX_DEFLATE_RATIO = 1032  # decompressed bytes per compressed byte: https://zlib.net/zlib_tech.html


class IdxFile(NamedTuple):
    """Shape and digest of one file of MNIST."""

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


def read_mnist_file(file: BinaryIO, source: str, name: str, max_size: int = MAX_SIZE) -> np.ndarray:
    """Reads the images or labels of one of the IDX_FILES and verifies their SHA-256.

    Args:
      file: a seekable binary file, gzip-compressed or not.
      source: the file name in error messages.
      name: a key of IDX_FILES.
      max_size: upper limit for the bytes of the decompressed file.

    Returns:
      uint8 array of the known shape.

    Raises:
      OtherData: the file is a valid IDX file, but not MNIST's.
      InputError: the file is damaged.
    """
    expected = IDX_FILES[name]
    array = read_idx(file, source, len(expected.shape), max_size)
    sha256 = hashlib.sha256(expected.header)
    sha256.update(array.data)
    if array.shape != expected.shape or sha256.hexdigest() != expected.sha256:
        raise OtherData(
            f"{source} is a valid IDX file of shape {list(array.shape)}, but its SHA-256 is not that of MNIST's "
            f"{name}: it contains other data, or an altered copy"
        )
    return array


def read_idx(file: BinaryIO, source: str, rank: int, max_size: int = MAX_SIZE) -> np.ndarray:
    """Reads an IDX file of unsigned bytes.

    Memory is bounded by the size in the header, which is compared with the length of the file before anything is
    allocated.

    Args:
      file: a seekable binary file, gzip-compressed or not.
      source: the file name in error messages.
      rank: the number of dimensions: 3 for images, 1 for labels.
      max_size: upper limit for the bytes of the decompressed file.

    Returns:
      uint8 array of `rank` dimensions.

    Raises:
      InputError: the file is damaged, of another rank or type, or has more than `max_size` bytes.
    """
    file_size = file.seek(0, os.SEEK_END)
    file.seek(0)
    header_size = 4 + 4 * rank
    start = file.read(16)
    if start.startswith(b"\x1f\x8b"):
        compressed = start + file.read(min(file_size, max_compressed_size(max_size)))
        gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
        header = _decompress(gzip, compressed, header_size, source)
        shape = _parse_header(header, header_size, max_size, source)
        size = header_size + _count(shape)
        if size > file_size * _MAX_DEFLATE_RATIO:
            raise _make_damage_error(source, f"{file_size:,} bytes cannot contain the {size:,} of its header")
        content = _decompress(gzip, gzip.unconsumed_tail, size - header_size + 1, source)
        total = header_size + len(content)
        if not gzip.eof and total <= size:
            raise _make_damage_error(source, f"it was cut off after {total:,} of {size:,} bytes")
        if total != size:
            count = f"over {size:,}" if total > size else f"{total:,}"
            raise _make_damage_error(source, f"it holds {count} of {size:,} bytes")
    else:
        shape = _parse_header(start, header_size, max_size, source)
        size = header_size + _count(shape)
        if file_size != size:
            raise _make_damage_error(source, f"it holds {file_size:,} of {size:,} bytes")
        file.seek(header_size)
        content = file.read(size - header_size)
    return np.frombuffer(content, np.uint8).reshape(shape)


def max_compressed_size(size: int) -> int:
    """Returns an upper limit for the bytes of a gzip file whose content has `size` bytes."""
    # Stored gzip blocks are the longest format: 5 bytes for each 16 KB or more.
    return size * 101 // 100 + 1024


def _parse_header(start: bytes, header_size: int, max_size: int, source: str) -> Tuple[int, ...]:
    rank = header_size // 4 - 1
    if len(start) < header_size or start[:3] != b"\x00\x00\x08" or start[3] != rank:
        raise _make_damage_error(
            source, f"it begins with {start[:16]!r}, not with the header of unsigned bytes in {rank} dimensions"
        )
    shape = struct.unpack(f">{rank}I", start[4:header_size])
    if header_size + _count(shape) > max_size:
        raise _make_damage_error(source, f"its header {list(shape)} stands for more than {max_size:,} bytes")
    return shape


def _count(shape: Tuple[int, ...]) -> int:
    """Returns the product of dimensions of up to 32 bits each, which NumPy's integers might not hold."""
    count = 1
    for dimension in shape:
        count *= dimension
    return count


def _decompress(gzip: "zlib._Decompress", compressed: bytes, size: int, source: str) -> bytes:
    try:  # in one call, which releases the GIL
        return gzip.decompress(compressed, size)
    except zlib.error as error:
        raise _make_damage_error(source, f"it cannot be decompressed ({error})") from error


def _make_damage_error(source: str, reason: str) -> InputError:
    return InputError(f"{source} is damaged or not an IDX file: {reason}")
