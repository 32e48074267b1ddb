"""What becomes of a picture before the network sees it."""

import io

import numpy as np
import pytest
from drawings import FONTS, ink, painted, uneven_light
from PIL import Image

from mnist_cnn import InputError, NoDigitFound, prepare
from mnist_cnn.inference.image_io import read_image, side_by_side

BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (220, 20, 30), (20, 140, 60)


@pytest.fixture(scope="module")
def seven():
    """What a large black 7 on white is prepared to."""
    return prepare(painted(ink(7), BLACK, WHITE))


def same(one, other, at_most=0.04):
    """Whether two prepared digits are the same to a person: their mean difference, of 1."""
    assert abs(one - other).mean() <= at_most
    return True


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return io.BytesIO(file.getvalue())


@pytest.mark.parametrize("font", FONTS)
@pytest.mark.parametrize("digit", [0, 1, 4, 7])
def test_a_digit_is_made_as_mnists_are(digit, font):
    image = prepare(painted(ink(digit, font), BLACK, WHITE))
    assert image.shape == (28, 28) and image.dtype == np.float32
    assert image.min() == 0 and image.max() == 1
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    assert max(height, width) == 20
    strokes = ink(digit, font) > 127
    true_height, true_width = (np.count_nonzero(strokes.any(axis=axis)) for axis in (1, 0))
    assert width / height == pytest.approx(true_width / true_height, abs=0.08)
    y, x = ((image * places).sum() / image.sum() for places in np.indices([28, 28]))
    assert abs(y - 13.5) <= 0.51 and abs(x - 13.5) <= 0.51


@pytest.mark.parametrize(
    "colour, background",
    [(WHITE, BLACK), (RED, WHITE), ((250, 240, 90), (20, 30, 120)), (RED, GREEN), ((90, 90, 90), (120, 120, 120))],
    ids=["white on black", "red on white", "yellow on blue", "red on green", "grey on grey"],
)
def test_colours_make_no_difference(seven, colour, background):
    assert same(prepare(painted(ink(7), colour, background)), seven)


def test_red_on_green_of_the_same_brightness_is_seen(seven):
    green = (0, 117, 0)
    image = painted(ink(7), (230, 0, 0), green)
    levels = np.asarray(image.convert("L"), np.int32)
    assert levels.max() - levels.min() <= 2
    assert same(prepare(image), seven)


def test_uneven_light_makes_no_difference(seven):
    for colour, background in ((BLACK, (235, 230, 220)), (WHITE, (90, 60, 60))):
        assert same(prepare(painted(ink(7), colour, background, light=uneven_light(200, 200))), seven)


def test_noise_and_jpeg_make_little_difference(seven):
    image = painted(ink(7), (60, 60, 60), (200, 200, 190), noise=20)
    assert same(prepare(image), seven)
    assert same(prepare(encoded(image, "JPEG", quality=15)), seven)


@pytest.mark.parametrize(
    "size, picture, at",
    [(24, (1600, 1200), (1200, 900)), (100, (200, 200), (1, 1)), (100, (75, 75), (4, 2)), (900, (2000, 1400), None)],
    ids=["small in a large picture", "near the border", "filling the picture", "large"],
)
def test_size_and_place_make_no_difference(seven, size, picture, at):
    assert same(prepare(painted(ink(7, size=size, picture=picture, at=at), BLACK, WHITE)), seven, 0.06)


def test_specks_are_none_of_the_digit(seven):
    strokes = ink(7).copy()
    strokes[5:9, 5:9] = strokes[180:185, 20:24] = 255
    assert same(prepare(painted(strokes, BLACK, WHITE)), seven)


def test_a_digit_of_two_parts_keeps_both():
    strokes = ink(7).copy()
    strokes[108:112] = 0  # the stem is cut
    image = prepare(painted(strokes, BLACK, WHITE))
    rows = np.flatnonzero(image.any(axis=1))
    assert rows[-1] - rows[0] == 19


def test_a_digit_of_mnist_stays_as_it_is(sample):
    for original in sample.test.images[:50, ..., 0]:
        image = prepare(Image.fromarray(original))
        ways = [np.roll(image, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        assert min(abs(way - original / 255).mean() for way in ways) < 0.06


@pytest.mark.parametrize(
    "blank",
    [
        Image.new("L", (100, 100), 255),
        Image.new("RGBA", (100, 100), (0, 0, 0, 0)),
        Image.new("1", (1, 1)),
        Image.new("L", (3000, 1)),
        painted(np.zeros([200, 300], np.uint8), BLACK, (200, 190, 180), light=uneven_light(200, 300), noise=5),
        painted(np.zeros([28, 28], np.uint8), BLACK, (128, 128, 128), noise=40),
        painted(np.zeros([500, 500], np.uint8), BLACK, (128, 128, 128), noise=60),
    ],
    ids=["white", "transparent", "one pixel", "a line", "uneven paper", "coarse noise", "fine noise"],
)
def test_a_blank_picture_is_no_digit(blank):
    with pytest.raises(NoDigitFound, match="^the picture: no digit found$"):
        prepare(blank)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "HSV"])
def test_each_kind_of_pixels_is_read(seven, mode):
    image = painted(ink(7), BLACK, WHITE)
    if mode in ("I", "I;16"):
        levels = np.asarray(image.convert("L"), np.uint16) * 257
        image = Image.fromarray(levels.astype(np.int32 if mode == "I" else np.uint16))
    else:
        image = image.convert(mode)
    assert image.mode == mode
    assert same(prepare(image), seven)


@pytest.mark.parametrize(
    "kind, mode",
    [
        *[("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")],
        *[("JPEG", mode) for mode in ("L", "RGB", "CMYK")],
        *[("TIFF", mode) for mode in ("1", "L", "RGB", "RGBA", "CMYK", "I;16")],
        *[("GIF", "P"), ("BMP", "RGB"), ("WEBP", "RGB"), ("WEBP", "RGBA")],
    ],
)
def test_each_format_is_read_from_an_open_file(seven, kind, mode):
    image = painted(ink(7), BLACK, WHITE)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    else:
        image = image.convert(mode)
    assert same(prepare(encoded(image, kind)), seven)


@pytest.mark.parametrize("colour", [BLACK, WHITE, RED])
def test_what_is_drawn_on_nothing_is_seen_in_any_colour(seven, colour):
    strokes = Image.fromarray(ink(7))
    image = Image.new("RGBA", strokes.size, (*colour, 0))
    image.putalpha(strokes)
    assert same(prepare(encoded(image, "PNG")), seven)


def test_a_palette_with_a_transparent_colour_is_read(seven):
    image = painted(ink(7), BLACK, WHITE).convert("L").point(lambda level: level > 127, "P")
    image.putpalette([*BLACK, *BLACK])
    assert same(prepare(encoded(image, "GIF", transparency=1)), seven)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_photo_is_turned_as_its_exif_says(seven, kind, orientation):
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's numbers for what undoes it
    image = painted(ink(7), BLACK, WHITE)
    image = image.transpose(turned[orientation]) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert same(prepare(encoded(image, kind, exif=exif)), seven)


def test_of_many_frames_the_first_is_read(seven):
    one, two = painted(ink(7), BLACK, WHITE), painted(ink(1), BLACK, WHITE)
    for kind in ("GIF", "TIFF", "WEBP", "PNG"):
        assert same(prepare(encoded(one, kind, save_all=True, append_images=[two] * 20)), seven)


def test_a_picture_of_the_callers_stays_as_it_is():
    image = Image.open(encoded(painted(ink(7, size=800), BLACK, WHITE), "JPEG"))
    prepare(image)
    assert image.size == (1600, 1600) and image.mode == "RGB"


def refused(source):
    with pytest.raises(InputError) as caught:
        read_image(source)
    (line,) = str(caught.value).splitlines()
    return line


def test_what_is_no_picture_is_refused_in_one_line_that_names_it(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"GIF87 or not?")
    assert refused(path) == f"{path} is not a picture of the kinds PNG, JPEG, GIF, BMP, TIFF, WEBP"
    path.write_bytes(b"")
    assert f"{path} is not a picture" in refused(str(path))
    whole = encoded(painted(ink(7), BLACK, WHITE), "PNG").read()
    path.write_bytes(whole[: len(whole) // 2])
    assert f"{path} is damaged" in refused(path)
    assert refused(tmp_path / "none.png") == f"{tmp_path / 'none.png'} cannot be read: No such file or directory"
    assert refused(tmp_path) == f"{tmp_path} is not a file"
    assert "the picture is not a picture" in refused(io.BytesIO(b"\0" * 100))
    assert "floating-point" in refused(Image.new("F", (9, 9)))
    assert "32 bits" in refused(Image.new("I", (9, 9), 70000))


def test_a_format_that_is_not_on_the_list_is_not_even_tried(seven):
    for kind in ("PPM", "TGA", "PCX", "ICO"):
        assert "is not a picture" in refused(encoded(painted(ink(7), BLACK, WHITE), kind))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_a_bomb_is_refused_by_its_header(kind):
    assert "x 5,000 pixels, over 14,000,000: reduce it" in refused(encoded(Image.new("1", (5000, 5000)), kind))


def test_too_long_a_file_is_refused(tmp_path):
    path = tmp_path / "long.png"
    with open(str(path), "wb") as file:
        file.truncate(2**26 + 1)
    assert "67,108,864 bytes" in refused(path)


def test_what_the_network_saw_stands_beside_the_picture(seven):
    image = painted(ink(7, picture=(400, 200)), RED, WHITE)
    pixels = np.asarray(side_by_side(image, seven))
    assert pixels.shape == (280, 580, 3)
    assert (pixels[140, 5] == WHITE).all() and (pixels[5, 140] == 128).all()
    np.testing.assert_array_equal(pixels[5::10, 305::10, 0], (seven * 255).round())
