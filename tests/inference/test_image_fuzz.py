"""Files that are nearly pictures: each ends in a digit or in one line, in bounded memory and time."""

import io
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, environment
from drawings import ink, painted
from PIL import Image

from mnist_cnn.inference.image_io import MAX_JPEG_PIXELS, MAX_PIXELS

pytestmark = pytest.mark.slow

# In a process of its own, whose memory can be limited: what it cannot have, it fails for.
READ_ALL = """
import io, resource, sys, time
import numpy as np
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
sys.path[:0] = ["tests"]
from test_picture_fuzz import originals
from mnist_cnn.errors import InputError
from mnist_cnn.inference.preprocessing import prepare

random = np.random.RandomState({seed})
done = good = 0
slowest = 0
for kind, content in originals():
    for _ in range({times}):
        altered = bytearray(content)
        for _ in range(random.randint(6)):
            # Headers decide more than what follows them.
            place = random.randint(min(len(altered), 64 if random.rand() < 0.5 else len(altered)))
            altered[place] = random.choice([0, 1, 127, 128, 255, random.randint(256)])
        if random.rand() < 0.3:
            altered = altered[: random.randint(len(altered))]
        if random.rand() < 0.2:
            place = random.randint(len(altered) + 1)
            altered[place:place] = bytes(random.randint(0, 256, random.randint(40)).astype(np.uint8))
        start = time.perf_counter()
        try:
            image = prepare(io.BytesIO(bytes(altered)))
            assert image.shape == (28, 28) and image.min() >= 0 and image.max() <= 1, image
            good += 1
        except InputError as error:
            assert len(str(error).splitlines()) == 1 and len(str(error)) < 300, error
        slowest = max(slowest, time.perf_counter() - start)
        done += 1
print(done, good, slowest)
"""


def originals():
    """(format, content) of a small picture in each of the formats and some of their variants."""
    image = painted(ink(7, size=24), (0, 0, 0), (255, 255, 255))
    grey16 = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, picture, options in [
        ("PNG", image, {"exif": exif}),
        ("PNG", image.convert("P"), {}),
        ("PNG", grey16, {}),
        ("JPEG", image, {"exif": exif}),
        ("JPEG", image.convert("CMYK"), {"progressive": True}),
        ("GIF", image, {"save_all": True, "append_images": [image]}),
        ("BMP", image, {}),
        ("TIFF", image, {}),
        ("TIFF", image.convert("RGBA"), {"compression": "tiff_lzw"}),
        ("TIFF", image.convert("1"), {"compression": "group4"}),
        ("WEBP", image, {"exif": exif}),
        ("WEBP", image, {"save_all": True, "append_images": [image.rotate(90)], "lossless": True}),
    ]:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        yield kind, file.getvalue()


def test_2400_damaged_pictures():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ_ALL.format(seed=1, times=200)],
        cwd=str(ROOT),
        # Each thread of OpenBLAS would reserve memory that counts.
        env={**environment(), "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    count, good, slowest = done.stdout.split()
    assert int(count) == 2400 and 200 < int(good) < 2200
    assert float(slowest) < 2


def test_the_largest_pictures_are_read_in_less_than_1_gb(tmp_path):
    def square(pixels, mode):
        side = int(pixels**0.5)
        return Image.new("RGB", (side, side), "white").convert(mode)

    largest = {
        "a.png": (square(MAX_PIXELS, "RGBA"), {}),
        "b.png": (square(MAX_PIXELS, "P"), {"transparency": 0}),
        "c.tif": (square(MAX_PIXELS, "RGBA"), {"compression": "tiff_lzw"}),
        "d.bmp": (square(MAX_PIXELS, "RGB"), {}),
        "e.gif": (square(MAX_PIXELS, "P"), {}),
        "f.webp": (square(MAX_PIXELS, "RGBA"), {"method": 0, "exact": True}),
        "g.jpg": (square(MAX_JPEG_PIXELS, "CMYK"), {"progressive": True}),
        "h.jpg": (square(MAX_JPEG_PIXELS, "RGB"), {"quality": 95, "subsampling": 0}),
    }
    for name, (image, options) in largest.items():
        image.save(str(tmp_path / name), **options)
        done = subprocess.run(
            [sys.executable, "-c", MEASURE.format(str(tmp_path / name))],
            cwd=str(ROOT),
            env=environment(),
            stdout=subprocess.PIPE,
            universal_newlines=True,
            check=True,
        )
        said, megabytes = done.stdout.splitlines()
        print(name, megabytes)
        assert said == "no digit found" and float(megabytes) < 300, name  # TensorFlow 2 takes 700 of its own


MEASURE = """
import re
from mnist_cnn import NoDigitFound, prepare
try:
    prepare({!r})
except NoDigitFound:
    print("no digit found")
# Not ru_maxrss, which begins with that of the process that started this one.
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) / 1024)
"""
