"""Reading image files and converting them to MNIST format."""

import io
import os
import struct
import warnings

import numpy as np
import pytest
from drawings import FONTS, draw_strokes, make_uneven_light, paint
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageDraw

from mnist_cnn import InputError, NoDigitFound, prepare
from mnist_cnn.inference.image_io import draw_preview, find_memory_problem, is_large, read_image
from mnist_cnn.inference.preprocessing import prepare_number, resize

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


@pytest.mark.parametrize("width", [9, 40, 53, 66, 1000])
def test_a_digit_in_a_strip_is_found_whole(width):
    for transpose in (False, True):
        strip = np.full([1000, width], 255, np.uint8)
        height = min(60, width * 5 // 6)
        strip[900 : 900 + height, width // 3 : width // 3 + max(2, width // 12)] = 0  # a 1
        rows, columns = np.nonzero(strip.T == 0 if transpose else strip == 0)
        ((digit,), _) = prepare_number(Image.fromarray(strip.T if transpose else strip))
        box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        np.testing.assert_allclose(digit.box, box, atol=2)


@pytest.mark.parametrize("size", [(5, 300), (300, 5), (1, 2000), (6000, 100)])
def test_a_narrow_picture_is_scaled_as_a_whole(size):
    image = resize(Image.new("L", size, 200))
    lit = np.argwhere(image > 0)
    assert image.shape == (28, 28) and sorted(np.ptp(lit, axis=0) + 1) == [1, 28]


@pytest.mark.parametrize("pen", [2, 5, 12])
def test_a_thin_pen_makes_strokes_as_wide_as_those_of_mnist(pen):
    image = Image.new("L", (400, 400), 255)
    ImageDraw.Draw(image).line([(110, 80), (290, 80), (180, 330)], 0, pen)
    digit = prepare(image)
    ink = np.sort(digit[digit > 0])
    assert ink[len(ink) // 2 :].mean() >= 0.86  # as 99 % of MNIST's test images
    assert digit[14:18].sum(axis=1).mean() == pytest.approx(2.1, abs=0.5)  # a tenth of 20 pixels, slanted


@pytest.mark.parametrize("grey", [0, 120, 180])
@pytest.mark.parametrize("depth", [2, 8, 40])
def test_a_strip_along_an_edge_makes_no_difference(seven, depth, grey):
    plain = 255 - draw_strokes(7, size=200, image_size=(400, 400))
    for edge in range(4):
        image = np.rot90(plain, edge).copy()
        image[:depth] = grey
        assert_similar(prepare(Image.fromarray(np.rot90(image, -edge))), seven, 0.06)


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


def test_parts_of_a_photo_show_no_digit():
    with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as photo:
        for left, top, side in ((103, 9, 295), (165, 25, 188), (290, 128, 128)):
            with pytest.raises(NoDigitFound):
                prepare(photo.crop((left, top, left + side, top + side)))


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


def test_floating_point_and_32_bit_pixels_are_refused(tmp_path):
    assert "floating-point" in read_error(Image.new("F", (9, 9)))
    assert "32-bit" in read_error(Image.new("I", (9, 9), 70000))
    Image.new("I", (9, 9), 200).save(str(tmp_path / "dark.tif"))
    assert "32-bit" in read_error(tmp_path / "dark.tif")


def test_what_is_no_image_is_named_by_its_type():
    assert read_error(b"content").startswith("the image is of type bytes: name a file")


@pytest.mark.parametrize("format", ["PPM", "TGA", "PCX", "ICO"])
def test_other_formats_that_pillow_supports_are_refused(format):
    assert "is in none of the supported formats" in read_error(encode(paint(draw_strokes(7), BLACK, WHITE), format))


@pytest.mark.parametrize(
    "format, kind",
    [
        ("PNG", "36,000,000 of PNG images: reduce its size"),
        ("GIF", "36,000,000 of GIF images: reduce its size"),
        ("TIFF", "36,000,000 of TIFF images: reduce its size"),
        ("BMP", "36,000,000 of BMP images: reduce its size"),
        ("JPEG", "50,000,000 of JPEG images: reduce its size"),
    ],
)
def test_a_decompression_bomb_is_refused_by_its_header(format, kind):
    side = 7072 if format == "JPEG" else 6001
    error = read_error(encode(Image.new("L" if format == "JPEG" else "1", (side, side)), format))
    assert error == f"the image has {side:,} x {side:,} = {side**2:,} pixels, more than the {kind}"


def test_images_with_more_than_8_bits_per_channel_have_a_lower_limit():
    def read(format, **options):
        return read_error(encode(Image.new("I;16", (3742, 3742)), format, **options))

    deep = (
        "the image has 3,742 x 3,742 = 14,002,564 pixels, more than the 14,000,000 of images with more than 8 bits per "
        "channel: reduce its size, or save it with 8 bits per channel"
    )
    assert deep == read("PNG") == read("TIFF", compression="tiff_lzw") == read_error(Image.new("I", (3742, 3742)))


def test_images_that_need_too_much_memory_beside_tensorflow_are_recognised(tmp_path):
    def find(mode, format, side, **options):
        return find_memory_problem(encode(Image.new(mode, (side, side)), format, **options))

    found = "has 3,742 x 3,742 = 14,002,564 pixels, more than the 14,000,000 of "
    webp = f"{found}WEBP images: reduce its size, or save it as JPEG or PNG"
    assert find("RGB", "WEBP", 3742, method=0) == f"the image {webp}"
    frames = {"save_all": True, "append_images": [Image.new("RGB", (3742, 3742), "white")]}
    animated = f"{found}animated PNG images: reduce its size, or save its first frame alone"
    assert find("RGB", "PNG", 3742, **frames) == f"the image {animated}"
    file = tmp_path / "a.webp"
    Image.new("RGB", (3742, 3742)).save(str(file), method=0)
    assert find_memory_problem(file) == find_memory_problem(str(file)) == f"{file} {webp}"
    # Neither a smaller image, nor a larger PNG, nor what cannot be read: a pipe would never end.
    os.mkfifo(str(tmp_path / "pipe"))
    assert find("RGB", "WEBP", 3741, method=0) == find("RGB", "PNG", 3742) == find_memory_problem(tmp_path) == ""
    assert find_memory_problem(tmp_path / "pipe") == find_memory_problem(io.BytesIO(b"x")) == ""


def test_a_jpeg_whose_coefficients_need_too_much_memory_beside_tensorflow_is_recognised():
    def make_header(mode="RGB", **options):
        """Returns a JPEG file whose header says that it has 5300 x 5300 pixels."""
        content = bytearray(encode(Image.new(mode, (16, 16)), "JPEG", **options).read())
        frame = content.index(b"\xff\xc2" if "progressive" in options else b"\xff\xc0")
        content[frame + 5 : frame + 9] = struct.pack(">HH", 5300, 5300)
        return content

    one_channel = make_header(subsampling="4:4:4")
    scan = one_channel.index(b"\xff\xda")
    one_channel[scan : scan + 14] = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"  # the first scan has one of three channels
    for content in (
        make_header(subsampling="4:4:4", progressive=True),
        make_header(subsampling="4:2:2", progressive=True),
        make_header("CMYK", progressive=True),
        one_channel,
    ):
        problem = find_memory_problem(io.BytesIO(content))
        assert "has 5,300 x 5,300 = 28,090,000 pixels, more than the 28,000,000 of progressive JPEG images" in problem
        assert problem.endswith(": reduce its size, or save it as a baseline JPEG")
    for content in (make_header("CMYK"), make_header(subsampling="4:2:0", progressive=True)):
        assert is_large(io.BytesIO(content)) and not find_memory_problem(io.BytesIO(content))


def test_a_tiff_whose_strips_tiles_or_orientation_need_too_much_memory_is_refused():
    turned = Image.Exif()
    turned[0x0112] = 6
    for mode, options in [("RGBA", {"strip_size": 2**30}), ("RGB", {"exif": turned})]:
        file = encode(Image.new(mode, (5820, 5820)), "TIFF", compression="tiff_lzw", **options)
        error = read_error(file)
        assert "has 5,820 x 5,820 pixels that need 27" in error and "more than the 270,000,000 of TIFF images" in error
        assert error.endswith(": reduce its size, or save it upright and in smaller strips or tiles")
    one_tile = {256: 9, 257: 9, 258: 8, 259: 8, 262: 1, 277: 1, 322: 20000, 323: 20000, 324: 200, 325: 9}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in one_tile.items())
    header = b"II*\0" + struct.pack("<IH", 8, len(one_tile)) + entries + bytes(4)
    assert "has 9 x 9 pixels that need 400,000" in read_error(io.BytesIO(header.ljust(300, b"\0")))


def test_a_large_png_file_with_much_metadata_is_refused(tmp_path):
    path = tmp_path / "long.png"
    content = encode(Image.new("L", (50, 50)), "PNG").read()
    end = content.index(b"IEND") - 4
    path.write_bytes(content[:end] + struct.pack(">I4s", 2**26, b"prIv") + bytes(2**26 + 4) + content[end:])
    assert "bytes of metadata, more than 16,777,216: remove them" in read_error(path)


def test_pillows_own_limit_is_reported_and_not_changed(monkeypatch):
    file = encode(paint(draw_strokes(7), BLACK, WHITE), "JPEG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10000)
    error = read_error(file)
    assert error == (
        "the image has too many pixels (Image size (40000 pixels) exceeds limit of 20000 pixels): reduce its size"
    )
    assert Image.MAX_IMAGE_PIXELS == 10000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "(Image size (40000 pixels) exceeds limit of 30000 pixels)" in read_error(file)


def test_large_images_are_reduced_as_others_are():
    strokes = Image.fromarray(draw_strokes(7, size=2500, image_size=(4000, 3520)))  # 14.1 megapixels
    expected = 255 - np.asarray(strokes.resize((1024, 901), Image.Resampling.BOX), np.float32)
    black, white = (Image.new("L", strokes.size, level) for level in (0, 255))
    grey = Image.composite(black, white, strokes)
    transparent = Image.merge("LA", [black, strokes])
    palette = strokes.point(lambda level: level > 127, "P")
    palette.putpalette([*WHITE, *BLACK])
    rotated = Image.Exif()
    rotated[0x0112] = 6
    for image, format, options in [
        (transparent, "PNG", {"compress_level": 1}),
        (transparent.convert("RGBA"), "TIFF", {}),
        (palette, "PNG", {"transparency": 0, "compress_level": 1}),
        (palette.transpose(Image.Transpose.ROTATE_90), "PNG", {"exif": rotated, "compress_level": 1}),
        (palette, "GIF", {}),
        (grey.convert("1"), "TIFF", {"compression": "group4"}),
        (grey.transpose(Image.Transpose.ROTATE_90), "TIFF", {"exif": rotated}),
        (grey, "BMP", {}),
    ]:
        file = encode(image, format, **options)
        assert is_large(file)
        assert abs(np.asarray(read_image(file)) - expected[..., np.newaxis]).mean() < 0.2  # of 255
    assert abs(np.asarray(read_image(grey)) - expected[..., np.newaxis]).mean() < 0.2


def test_files_of_too_many_bytes_are_refused(tmp_path):
    path = tmp_path / "long.png"
    with open(str(path), "wb") as file:
        file.truncate(150 * 10**6 + 1)
    assert "has 150,000,001 bytes, more than 150,000,000: reduce its size" in read_error(path)
    Image.new("L", (50, 50)).save(str(path), "JPEG")
    with open(str(path), "r+b") as file:
        file.truncate(2**26 + 1)
    assert "has 67,108,865 bytes, more than the 67,108,864 of JPEG files: reduce its size" in read_error(path)


def test_a_preview_shows_the_image_and_the_networks_input(seven):
    image = paint(draw_strokes(7, image_size=(400, 200)), RED, WHITE)
    pixels = np.asarray(draw_preview(image, [seven], [(150, 50, 250, 150)]))
    assert pixels.shape == (280, 580, 3)
    assert (pixels[140, 5] == WHITE).all() and (pixels[5, 140] == 128).all()
    np.testing.assert_array_equal(pixels[5::10, 305::10, 0], (seven * 255).round())


def test_a_preview_of_a_number_shows_each_digits_box_and_input(seven):
    image = Image.new("RGB", (2800, 1400), WHITE)  # is reduced when it is read; the boxes are in its own pixels
    boxes = [(500, 400, 1000, 1000), (1500, 400, 2000, 1000)]
    pixels = np.asarray(draw_preview(image, [seven, seven.T], boxes))
    assert pixels.shape == (280, 880, 3)
    np.testing.assert_array_equal(pixels[5::10, 305::10, 0][:, :28], (seven * 255).round())
    np.testing.assert_array_equal(pixels[5::10, 605::10, 0][:, :28], (seven.T * 255).round())
    red_y, red_x = np.nonzero((pixels[:, :280] == (255, 0, 0)).all(axis=-1))
    # In the preview, 10 pixels of the image are 1 pixel, and the image is 70 pixels lower. The lines are 2 outside.
    assert set(red_x[red_y == 140]) == {48, 101, 148, 201}
    assert (red_y.min(), red_y.max()) == (108, 171)
