"""Reading image files and converting them to MNIST format."""

import io

import numpy as np
import pytest
from drawings import FONTS, draw_strokes, make_uneven_light, paint
from PIL import Image

from mnist_cnn import InputError, NoDigitFound, prepare
from mnist_cnn.inference.image_io import draw_preview, read_image

BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (220, 20, 30), (20, 140, 60)


@pytest.fixture(scope="module")
def seven():
    """A black 7 on white, prepared: what the same digit in other images is compared with."""
    return prepare(paint(draw_strokes(7), BLACK, WHITE))


def assert_similar(one, other, max_difference=0.04):
    """Asserts that two prepared digits look alike: the mean absolute difference of their pixels is small."""
    assert abs(one - other).mean() <= max_difference


def encode(image, format, **options):
    """Returns an image file in memory."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return io.BytesIO(file.getvalue())


@pytest.mark.parametrize("font", FONTS)
@pytest.mark.parametrize("digit", [0, 1, 4, 7])
def test_a_digit_is_scaled_to_20x20_pixels_and_centred_by_mass(digit, font):
    image = prepare(paint(draw_strokes(digit, font), BLACK, WHITE))
    assert image.shape == (28, 28) and image.dtype == np.float32
    assert image.min() == 0 and image.max() == 1
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    assert max(height, width) == 20
    strokes = draw_strokes(digit, font) > 127
    true_height, true_width = (np.count_nonzero(strokes.any(axis=axis)) for axis in (1, 0))
    assert width / height == pytest.approx(true_width / true_height, abs=0.08)
    y, x = ((image * indices).sum() / image.sum() for indices in np.indices([28, 28]))
    assert abs(y - 13.5) <= 0.51 and abs(x - 13.5) <= 0.51


@pytest.mark.parametrize(
    "colour, background",
    [(WHITE, BLACK), (RED, WHITE), ((250, 240, 90), (20, 30, 120)), (RED, GREEN), ((90, 90, 90), (120, 120, 120))],
    ids=["white on black", "red on white", "yellow on blue", "red on green", "grey on grey"],
)
def test_colours_make_no_difference(seven, colour, background):
    assert_similar(prepare(paint(draw_strokes(7), colour, background)), seven)


def test_red_is_told_from_green_of_equal_brightness(seven):
    green = (0, 117, 0)
    image = paint(draw_strokes(7), (230, 0, 0), green)
    levels = np.asarray(image.convert("L"), np.int32)
    assert levels.max() - levels.min() <= 2
    assert_similar(prepare(image), seven)


def test_uneven_light_makes_no_difference(seven):
    for colour, background in ((BLACK, (235, 230, 220)), (WHITE, (90, 60, 60))):
        assert_similar(prepare(paint(draw_strokes(7), colour, background, light=make_uneven_light(200, 200))), seven)


def test_noise_and_jpeg_make_little_difference(seven):
    image = paint(draw_strokes(7), (60, 60, 60), (200, 200, 190), noise=20)
    assert_similar(prepare(image), seven)
    assert_similar(prepare(encode(image, "JPEG", quality=15)), seven)


@pytest.mark.parametrize(
    "size, image_size, at",
    [(24, (1600, 1200), (1200, 900)), (100, (200, 200), (1, 1)), (100, (75, 75), (4, 2)), (900, (2000, 1400), None)],
    ids=["small in a large image", "near the border", "filling the image", "large"],
)
def test_size_and_position_make_no_difference(seven, size, image_size, at):
    assert_similar(prepare(paint(draw_strokes(7, size=size, image_size=image_size, at=at), BLACK, WHITE)), seven, 0.06)


def test_specks_are_removed(seven):
    strokes = draw_strokes(7).copy()
    strokes[5:9, 5:9] = strokes[180:185, 20:24] = 255
    assert_similar(prepare(paint(strokes, BLACK, WHITE)), seven)


def test_both_parts_of_a_broken_digit_are_kept():
    strokes = draw_strokes(7).copy()
    strokes[108:112] = 0  # cuts the stem
    image = prepare(paint(strokes, BLACK, WHITE))
    rows = np.flatnonzero(image.any(axis=1))
    assert rows[-1] - rows[0] == 19


def test_a_digit_in_mnist_format_stays_as_it_is(sample):
    for original in sample.test.images[:50, ..., 0]:
        image = prepare(Image.fromarray(original))
        shifted = [np.roll(image, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        assert min(abs(image - original / 255).mean() for image in shifted) < 0.06


@pytest.mark.parametrize(
    "blank",
    [
        Image.new("L", (100, 100), 255),
        Image.new("RGBA", (100, 100), (0, 0, 0, 0)),
        Image.new("1", (1, 1)),
        Image.new("L", (3000, 1)),
        paint(np.zeros([200, 300], np.uint8), BLACK, (200, 190, 180), light=make_uneven_light(200, 300), noise=5),
        paint(np.zeros([28, 28], np.uint8), BLACK, (128, 128, 128), noise=40),
        paint(np.zeros([500, 500], np.uint8), BLACK, (128, 128, 128), noise=60),
    ],
    ids=["white", "transparent", "one pixel", "a line", "uneven paper", "coarse noise", "fine noise"],
)
def test_a_blank_image_has_no_digit(blank):
    with pytest.raises(NoDigitFound, match="^the image: no digit found$"):
        prepare(blank)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "I;16B", "HSV"])
def test_each_pixel_mode_is_read(seven, mode):
    image = paint(draw_strokes(7), BLACK, WHITE)
    dtype = {"I": "int32", "I;16": "<u2", "I;16B": ">u2"}.get(mode)
    if dtype:
        levels = np.asarray(image.convert("L"), np.uint16) * 257
        image = Image.frombytes(mode, image.size, levels.astype(dtype).tobytes())
    else:
        image = image.convert(mode)
    assert image.mode == mode
    assert_similar(prepare(image), seven)


@pytest.mark.parametrize(
    "format, mode",
    [
        *[("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")],
        *[("JPEG", mode) for mode in ("L", "RGB", "CMYK")],
        *[("TIFF", mode) for mode in ("1", "L", "RGB", "RGBA", "CMYK", "I;16")],
        *[("GIF", "P"), ("BMP", "RGB"), ("WEBP", "RGB"), ("WEBP", "RGBA")],
    ],
)
def test_each_format_is_read_from_an_open_file(seven, format, mode):
    image = paint(draw_strokes(7), BLACK, WHITE)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    else:
        image = image.convert(mode)
    assert_similar(prepare(encode(image, format)), seven)


@pytest.mark.parametrize("colour", [BLACK, WHITE, RED])
def test_a_digit_of_any_colour_on_a_transparent_background_is_read(seven, colour):
    strokes = Image.fromarray(draw_strokes(7))
    image = Image.new("RGBA", strokes.size, (*colour, 0))
    image.putalpha(strokes)
    assert_similar(prepare(encode(image, "PNG")), seven)


def test_a_palette_with_a_transparent_background_is_read(seven):
    image = paint(draw_strokes(7), BLACK, WHITE).convert("L").point(lambda level: level > 127, "P")
    image.putpalette([*BLACK, *BLACK])
    assert_similar(prepare(encode(image, "GIF", transparency=1)), seven)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_exif_orientation_is_applied(seven, format, orientation):
    inverse_transpose = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # values of PIL.Image.Transpose
    image = paint(draw_strokes(7), BLACK, WHITE)
    image = image.transpose(inverse_transpose[orientation]) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_similar(prepare(encode(image, format, exif=exif)), seven)


def test_the_first_of_several_frames_is_read(seven):
    one, two = paint(draw_strokes(7), BLACK, WHITE), paint(draw_strokes(1), BLACK, WHITE)
    for format in ("GIF", "TIFF", "WEBP", "PNG"):
        assert_similar(prepare(encode(one, format, save_all=True, append_images=[two] * 20)), seven)


def test_the_callers_image_is_not_modified():
    image = Image.open(encode(paint(draw_strokes(7, size=800), BLACK, WHITE), "JPEG"))
    prepare(image)
    assert image.size == (1600, 1600) and image.mode == "RGB"


def read_error(source):
    """Returns the one-line error of an image that cannot be read."""
    with pytest.raises(InputError) as caught:
        read_image(source)
    (line,) = str(caught.value).splitlines()
    return line


def test_a_file_that_is_no_image_gives_a_one_line_error_with_its_name(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"GIF87 or not?")
    assert read_error(path) == f"{path} is in none of the supported formats (PNG, JPEG, GIF, BMP, TIFF, WEBP)"
    path.write_bytes(b"")
    assert f"{path} is in none of the supported formats" in read_error(str(path))
    content = encode(paint(draw_strokes(7), BLACK, WHITE), "PNG").read()
    path.write_bytes(content[: len(content) // 2])
    assert f"{path} is damaged" in read_error(path)
    assert read_error(tmp_path / "none.png") == f"{tmp_path / 'none.png'} cannot be read: No such file or directory"
    assert read_error(tmp_path) == f"{tmp_path} is not a file"
    assert "the image is in none of the supported formats" in read_error(io.BytesIO(b"\0" * 100))


def test_floating_point_and_32_bit_pixels_are_refused():
    assert "floating-point" in read_error(Image.new("F", (9, 9)))
    assert "32-bit" in read_error(Image.new("I", (9, 9), 70000))


@pytest.mark.parametrize("format", ["PPM", "TGA", "PCX", "ICO"])
def test_other_formats_that_pillow_supports_are_refused(format):
    assert "is in none of the supported formats" in read_error(encode(paint(draw_strokes(7), BLACK, WHITE), format))


@pytest.mark.parametrize("format", ["PNG", "GIF", "TIFF", "BMP"])
def test_a_decompression_bomb_is_refused_by_its_header(format):
    error = read_error(encode(Image.new("1", (5000, 5000)), format))
    assert "x 5,000 pixels, more than 14,000,000: reduce its size" in error


def test_a_file_of_more_than_64_mb_is_refused(tmp_path):
    path = tmp_path / "long.png"
    with open(str(path), "wb") as file:
        file.truncate(2**26 + 1)
    assert "more than 67,108,864 bytes" in read_error(path)


def test_a_preview_shows_the_image_and_the_networks_input(seven):
    image = paint(draw_strokes(7, image_size=(400, 200)), RED, WHITE)
    pixels = np.asarray(draw_preview(image, seven))
    assert pixels.shape == (280, 580, 3)
    assert (pixels[140, 5] == WHITE).all() and (pixels[5, 140] == 128).all()
    np.testing.assert_array_equal(pixels[5::10, 305::10, 0], (seven * 255).round())
