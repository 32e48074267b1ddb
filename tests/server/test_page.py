"""The demo page end to end: Chromium, a real server, a network trained on MNIST, hand-drawn digits."""

import re
import shutil

import numpy as np
import pytest
from page import (
    COUNT_COLOURS,
    STROKES,
    Touchscreen,
    assert_accessible,
    draw,
    draw_number,
    draw_strokes,
    expect,
    get_points,
    serve,
    wait_for_colours,
    wait_for_number,
    wait_for_prediction,
    wait_for_shown_digit,
    wait_until_empty,
)
from PIL import Image, ImageOps

from mnist_cnn import Dataset, Recipe, Split, prepare, train

pytestmark = pytest.mark.slow


def test_all_ten_digits_drawn_by_mouse_are_recognised(visit, url_of_either_tensorflow):
    page = visit(url_of_either_tensorflow)
    wait_until_empty(page)
    for digit in STROKES:
        draw(page, digit)
        expect(page.locator("#number")).to_have_text(str(digit))
        expect(page.locator("#bars .winner")).to_have_text(re.compile(f"^{digit}"))
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#number")).to_have_text("?")
    wait_until_empty(page)


def test_a_number_drawn_by_mouse_is_read_and_each_of_its_digits_can_be_shown(visit, url_of_either_tensorflow):
    page = visit(url_of_either_tensorflow)
    draw_number(page, "42")
    wait_for_number(page, "42")
    wait_for_shown_digit(page, "42", 1)
    maps = page.locator("#pool2").get_attribute("aria-label")
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="4, digit 1 of 2")).to_be_focused()
    page.keyboard.press("Enter")
    wait_for_shown_digit(page, "42", 0)
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^4, (> )?\d\d\.\d %"))
    expect(page.locator("#pool2")).not_to_have_attribute("aria-label", maps)
    expect(page.get_by_role("button", name="4, digit 1 of 2")).to_be_focused()
    page.get_by_role("button", name="한국어").click()
    page.get_by_role("button", name="English").click()
    wait_for_shown_digit(page, "42", 0)  # as chosen
    page.get_by_role("button", name="2, digit 2 of 2").click()
    wait_for_shown_digit(page, "42", 1)
    page.get_by_role("button", name="Undo").click()
    wait_for_prediction(page, 4)
    expect(page.locator("#number button")).to_have_count(0)
    page.get_by_role("button", name="Clear").click()
    wait_until_empty(page)


def test_a_number_keeps_its_zeros_and_becomes_smaller_as_it_gets_longer(visit, url):
    page = visit(url, viewport={"width": 360, "height": 740})
    heights = []
    for text in ("7", "007", "314159"):
        if text == "7":
            draw(page, 7)
            wait_for_prediction(page, 7)
        else:
            draw_number(page, text)
            wait_for_number(page, text)
            tops = {it.bounding_box()["y"] for it in page.locator("#number button").all()}
            assert len(tops) == 1  # one line
        heights.append(page.locator("#number").bounding_box()["height"])
        page.get_by_role("button", name="Clear").click()
        wait_until_empty(page)
    assert heights == sorted(heights, reverse=True) and heights[-1] >= 24  # can be pressed


def test_a_scribble_is_shown_as_what_the_server_says_it_is(visit, url):
    page = visit(url)
    responses = []
    page.on("response", lambda response: "/v1/digits" in response.url and responses.append(response))
    draw_strokes(page, [[(10 + 8 * i, 15 if i % 2 else 85) for i in range(11)], [(5, 30), (95, 70), (5, 70), (95, 30)]])
    expect(page.get_by_role("status")).to_have_text(re.compile("^(Prediction: |No digit yet)"))
    response = responses[-1].json()
    expect(page.locator("#number")).to_have_text(response["text"] or "?")
    expect(page.locator("#probability")).to_have_text(re.compile(r"\d %$" if response["text"] else r"^[^\d]+$"))
    expect(page.locator("#bars .winner")).to_have_count(1 if response["text"] else 0)


def test_digits_drawn_by_touch_are_recognised_and_do_not_scroll_the_page(visit, url_of_either_tensorflow):
    page = visit(url_of_either_tensorflow, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    touchscreen = Touchscreen(page)
    page.evaluate("scrollTo(0, 60)")
    for digit in (4, 2, 7):
        touchscreen.draw(digit)
        wait_for_prediction(page, digit)
        assert page.evaluate("scrollY") == 60
        page.get_by_role("button", name="Clear").tap()
        expect(page.locator("#number")).to_have_text("?")


def test_a_second_finger_draws_nothing(visit, url):
    page = visit(url, has_touch=True)
    touchscreen = Touchscreen(page)
    (stroke,) = STROKES[1]
    first, *others = get_points(page, stroke)
    palm = get_points(page, [(15, 50), (50, 50), (90, 50)])
    touchscreen.send("touchStart", first)
    for point in palm:
        touchscreen.send("touchMove", first, point)
    for point in others:
        touchscreen.send("touchMove", point, palm[-1])
    touchscreen.send("touchEnd")
    wait_for_prediction(page, 1)


def test_a_stroke_ends_whose_release_was_lost(visit, url):
    page = visit(url)
    session = page.context.new_cdp_session(page)
    (x, y), *others = get_points(page, [(20, 20), (50, 50), (80, 20)])
    page.mouse.move(x, y)
    page.mouse.down()
    for x, y in others:  # no button is pressed: a menu took the release
        session.send("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y, "buttons": 0})
    expect(page.get_by_role("status")).not_to_be_empty()
    page.get_by_role("button", name="Clear").click()
    draw(page, 7)
    wait_for_prediction(page, 7)


def test_predictions_follow_the_pen_with_one_request_at_a_time(visit, url):
    page = visit(url)
    open_requests, numbers_open = [], []
    page.on("request", lambda request: (open_requests.append(request), numbers_open.append(len(open_requests))))
    page.on("requestfinished", lambda request: open_requests.remove(request))
    first, *others = get_points(page, STROKES[7][0])
    page.mouse.move(*first)
    page.mouse.down()
    for point in others[:2]:
        page.mouse.move(*point, steps=20)
    expect(page.locator("#number")).to_have_text(re.compile(r"\d"))  # the pen is still down
    for point in others[2:]:
        page.mouse.move(*point, steps=20)
    expect(page.locator("#number")).to_have_text("7")
    page.mouse.up()
    wait_for_prediction(page, 7)
    assert len(numbers_open) > 3 and max(numbers_open) == 1


def test_the_networks_input_and_feature_maps_are_shown(visit, url):
    page = visit(url)
    draw(page, 3)
    wait_for_prediction(page, 3)
    for name, text in [
        ("input", "Your 3, white on black, in 28 by 28 pixels"),
        ("pool1", r"32 maps of 14 by 14: \d+ are active, the brightest is number \d+"),
        ("pool2", r"64 maps of 7 by 7: \d+ are active, the brightest is number \d+"),
    ]:
        expect(page.locator(f"#{name}")).to_have_attribute("aria-label", re.compile(f"^{text}$"))
        wait_for_colours(page, name, "> 30")


def test_undo_removes_strokes_and_restores_a_cleared_drawing(visit, url):
    page = visit(url)
    draw(page, 1)
    wait_for_prediction(page, 1)
    page.mouse.move(*get_points(page, [(52, 20)])[0])
    # Two more strokes make it another digit.
    draw_strokes(page, [[(52, 20), (40, 20), (28, 22)], [(52, 20), (40, 33), (30, 48)]])
    expect(page.locator("#number")).not_to_have_text("1")
    page.keyboard.press("Control+z")
    page.get_by_role("button", name="Undo").click()
    wait_for_prediction(page, 1)
    page.keyboard.press("Escape")
    wait_until_empty(page)
    page.keyboard.press("Control+z")
    wait_for_prediction(page, 1)
    page.keyboard.press("Control+z")
    wait_until_empty(page)
    page.keyboard.press("Control+z")
    wait_until_empty(page)


def test_a_reload_starts_with_an_empty_drawing(visit, url):
    page = visit(url)
    draw(page, 5)
    wait_for_prediction(page, 5)
    page.reload()
    wait_until_empty(page)
    draw(page, 6)
    wait_for_prediction(page, 6)


def test_a_digit_can_be_drawn_with_the_keyboard_alone(visit, url):
    page = visit(url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("application", name="Drawing area for a number")).to_be_focused()
    expect(page.get_by_text("Arrow keys move the pen")).to_be_in_viewport()
    status = page.get_by_role("status")

    def press(key, times=1):
        for _ in range(times):
            page.keyboard.press(key)

    press("ArrowLeft", 2)
    expect(status).to_have_text("33 across, 25 down")
    press("Space")
    expect(status).to_have_text("Pen down")
    press("ArrowRight", 4)
    page.keyboard.down("ArrowDown")  # while another arrow is pressed: a diagonal
    press("ArrowLeft", 2)
    page.keyboard.up("ArrowDown")
    press("ArrowDown", 3)
    press("Space")
    wait_for_prediction(page, 7)
    press("Tab")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    press("Enter")
    wait_until_empty(page)


def test_a_stopped_server_is_reported_in_one_line_until_it_is_back(visit, fast_run):
    with serve(fast_run) as url:
        page = visit(url, expected_problems="ERR_CONNECTION_REFUSED")
    draw(page, 4)
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("The server does not respond.")
    assert alert.bounding_box()["height"] < 60
    with serve(fast_run, port=int(url.rstrip("/").rsplit(":", 1)[1])):
        wait_for_prediction(page, 4)
        expect(alert).to_be_hidden()


def test_the_servers_error_message_is_shown_until_a_request_succeeds(visit, url):
    page = visit(url, expected_problems=" 400")
    page.route("**/v1/digits*", lambda route: route.continue_(post_data=b"not an image"))
    draw(page, 4)
    expect(page.get_by_role("alert")).to_have_text(re.compile("^the image is"))
    page.unroute("**/v1/digits*")
    wait_for_prediction(page, 4)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_dark_mode_has_light_strokes_on_a_dark_area_and_the_same_prediction(visit, url):
    page = visit(url, color_scheme="dark")
    draw(page, 2)
    wait_for_prediction(page, 2)
    colours = page.locator("#drawing").evaluate(
        "it => [getComputedStyle(it.parentElement).backgroundColor, getComputedStyle(it).color]"
    )
    background, strokes = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert background < 150 and strokes > 600


def test_a_network_without_convolutions_shows_no_maps(visit, sample, tmp_path):
    train(sample, tmp_path / "run", Recipe(1, 100, 0.003, 0.8, initial_weights="he"), model="mlp")
    with serve(tmp_path / "run") as url:
        page = visit(url)
        expect(page.get_by_role("heading", name="Draw a number")).to_be_visible()
        for needs_maps in ("#centred", "#replay", "#pool1"):
            expect(page.locator(needs_maps)).to_be_hidden()
        draw(page, 1)
        expect(page.locator("#number")).to_have_text(re.compile(r"\d"))  # any digit: the training was short
        expect(page.locator("#pool1, #pool2").first).to_be_hidden()
        expect(page.get_by_text("no feature maps")).to_be_visible()


@pytest.mark.parametrize("width", [320, 360, 820, 1024, 1121, 1280])
def test_nothing_is_wider_than_the_window(visit, url, width):
    page = visit(url, viewport={"width": width, "height": 740})
    draw(page, 8)
    wait_for_prediction(page, 8)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.get_by_role("button", name="Clear").click()
    draw_number(page, "314159")
    wait_for_number(page, "314159")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_reduced_motion_turns_all_animations_off(visit, url):
    page = visit(url, reduced_motion="reduce")
    # Until the first request is answered, the page sends no other. So the next one has the whole drawing.
    held = []
    page.route("**/v1/digits*", lambda route: route.continue_() if held else held.append(route))
    draw(page, 9)
    held[0].continue_()
    expect(page.locator("#number")).to_have_text("9")
    assert page.evaluate("document.getAnimations().length") == 0
    colours = page.evaluate(f"['pool1', 'pool2'].map({COUNT_COLOURS})")
    wait_for_prediction(page, 9)
    assert page.evaluate(f"['pool1', 'pool2'].map({COUNT_COLOURS})") == colours


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_no_serious_accessibility_problem(visit, url, axe, scheme, width):
    page = visit(url, bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.add_script_tag(path=axe)

    def check():
        page.evaluate("Promise.all(document.getAnimations().map(it => it.finished))")
        assert_accessible(page)

    check()
    draw(page, 5)
    wait_for_prediction(page, 5)
    check()
    page.locator("#drawing").focus()
    page.keyboard.press("ArrowUp")
    check()
    page.get_by_role("button", name="Clear").click()
    draw_number(page, "42")
    wait_for_number(page, "42")
    check()


@pytest.fixture(scope="module")
def words_run(mnist, tmp_path_factory):
    """A run on three of MNIST's digits, whose classes are words."""
    digits = [0, 1, 7]

    def choose(split):
        chosen = np.isin(split.labels, digits)
        return Split(split.images[chosen], np.searchsorted(digits, split.labels[chosen]).astype(np.uint8), len(digits))

    names = "ring", "line", "crossing <b>"
    dataset = Dataset("words", choose(mnist.train), choose(mnist.validation), choose(mnist.test), class_names=names)
    run_dir = tmp_path_factory.mktemp("words") / "run"
    train(dataset, run_dir, "fast", max_steps=150)
    return run_dir


@pytest.mark.parametrize("size", [(1280, 800), (360, 740)])
def test_classes_that_are_words_are_shown_by_their_names(visit, words_run, size):
    with serve(words_run) as url:
        page = visit(url, viewport={"width": size[0], "height": size[1]})
        for digit, name in (0, "ring"), (7, "crossing <b>"):
            draw(page, digit)
            expect(page.locator("#number")).to_have_text(name)
            expect(page.locator("#bars .winner")).to_have_text(re.compile(rf"^{name}\s*(> )?\d\d\.\d %$"))
            expect(page.get_by_role("status")).to_have_text(re.compile(rf"^Prediction: {name}, "))
            assert page.locator("#bars li:visible").count() == 3
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.get_by_role("button", name="Clear").click()


@pytest.fixture
def hand(tmp_path):
    """The folder where corrected drawings are saved."""
    return tmp_path / "hand"


@pytest.fixture
def correcting(visit, fast_run, hand):
    """Opens a page whose server saves corrected drawings."""
    with serve(fast_run, collect=hand) as url:
        yield lambda **options: visit(url, **options)


def wait_for_saved(page, hand, name):
    """Waits until the page says that a drawing was saved under a name. Returns its file."""
    text = re.compile(rf"^Saved as {name}/\w+\.\d+Z\.png\.$")
    expect(page.locator("#saved")).to_have_text(text)
    return hand / page.locator("#saved").text_content().split()[-1].rstrip(".")


def test_a_wrong_answer_is_corrected_by_mouse(correcting, hand):
    page = correcting()
    responses = []
    page.on("response", lambda response: "/v1/digits" in response.url and responses.append(response))
    summary = page.get_by_text("That is wrong: it is …")
    expect(summary).to_be_hidden()
    draw(page, 4)
    wait_for_prediction(page, 4)
    image = responses[-1].json()["image"]
    expect(page.get_by_role("button", name="9", exact=True)).to_be_hidden()
    summary.click()
    page.get_by_role("button", name="9", exact=True).click()
    file = wait_for_saved(page, hand, "9")
    wait_until_empty(page)
    expect(summary).to_be_hidden()
    assert (prepare(file) * 255).round().astype(int).tolist() == image  # what the network was shown
    draw(page, 7)
    wait_for_prediction(page, 7)
    expect(page.locator("#saved")).to_be_empty()
    expect(page.get_by_role("button", name="9", exact=True)).to_be_hidden()
    assert list(hand.rglob("*.png")) == [file]


def test_a_wrong_answer_is_corrected_by_touch(correcting, hand):
    page = correcting(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    Touchscreen(page).draw(2)
    wait_for_prediction(page, 2)
    page.get_by_text("That is wrong: it is …").tap()
    boxes = [it.bounding_box() for it in page.locator("#names button").all()]
    assert len(boxes) == 10 and min(min(box["width"], box["height"]) for box in boxes) >= 44
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("button", name="3", exact=True).tap()
    assert wait_for_saved(page, hand, "3").exists()
    wait_until_empty(page)


def test_a_wrong_answer_is_corrected_with_the_keyboard_alone(correcting, hand):
    page = correcting()
    page.keyboard.press("Tab")
    for key in ("Space", *["ArrowDown"] * 6, "Space"):
        page.keyboard.press(key)
    expect(page.locator("#number")).to_have_text(re.compile(r"\d"))
    for _ in ("Undo", "Clear", "That is wrong"):
        page.keyboard.press("Tab")
    expect(page.locator("#correction summary")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(2):
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="1", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    assert wait_for_saved(page, hand, "1").exists()
    wait_until_empty(page)


def test_one_digit_of_a_number_is_corrected_or_the_whole_drawing_as_one_digit(correcting, hand):
    page = correcting()
    draw(page, 4)
    wait_for_prediction(page, 4)
    page.get_by_role("button", name="Clear").click()
    wait_until_empty(page)
    draw_number(page, "42")
    wait_for_number(page, "42")
    page.get_by_text("Digit 2 of 2 is wrong: it is …").click()
    page.get_by_role("button", name="4, digit 1 of 2").click()
    expect(page.locator("#correction summary")).to_have_text("Digit 1 of 2 is wrong: it is …")
    page.get_by_role("button", name="9", exact=True).click()
    part = wait_for_saved(page, hand, "9")
    expect(page.locator("#number")).to_have_text("42")  # the drawing stays: its other digit can be corrected
    with Image.open(part) as image:
        left, _, right, _ = ImageOps.invert(image).getbbox()
    assert right < 560 / 2, "only the 4, on the left, is in the picture"

    page.get_by_role("button", name="2, digit 2 of 2").click()
    page.get_by_text("Digit 2 of 2 is wrong: it is …").click()
    page.get_by_label("The whole drawing is one digit").check()
    expect(page.locator("#correction summary")).to_have_text("That is wrong: it is …")
    page.get_by_role("button", name="8", exact=True).click()
    whole = wait_for_saved(page, hand, "8")
    wait_until_empty(page)
    with Image.open(whole) as image:
        assert ImageOps.invert(image).getbbox()[2] > 560 / 2 > left


def test_a_correction_that_cannot_be_saved_is_reported_and_the_drawing_stays(visit, fast_run, hand):
    with serve(fast_run, collect=hand) as url:
        page = visit(url, expected_problems=" 507|status of 507")
        draw(page, 5)
        wait_for_prediction(page, 5)
        shutil.rmtree(str(hand))
        hand.touch()
        page.get_by_text("That is wrong: it is …").click()
        page.get_by_role("button", name="6", exact=True).click()
        expect(page.get_by_role("alert")).to_have_text(re.compile("^the drawing cannot be saved: "))
        expect(page.locator("#saved")).to_be_empty()
        wait_for_prediction(page, 5)
        hand.unlink()
        page.route("**/corrections/6", lambda route: route.fulfill(body="<h1>Log in</h1>"))  # as a proxy answers
        page.get_by_role("button", name="6", exact=True).click()
        expect(page.get_by_role("alert")).to_have_text(re.compile("^The server’s response cannot be read"))
        wait_for_prediction(page, 5)
        page.unroute("**/corrections/6")
        page.get_by_role("button", name="6", exact=True).click()
        assert wait_for_saved(page, hand, "6").exists()
        expect(page.get_by_role("alert")).to_be_hidden()


def draw_foot(page, number):
    """Draws a 7 as only one person writes it: an upright stroke with a bar across its foot."""
    chance = np.random.RandomState(number)
    x, top, bottom, left, right = [50, 20, 82, 34, 68] + chance.uniform(-4, 4, 5)
    slant = chance.uniform(-3, 3)
    draw_strokes(page, [[(x + slant, top), (x, bottom)], [(left, bottom - 15), (right, bottom - 15 + slant)]])


@pytest.mark.long
def test_ten_corrections_teach_a_network_ones_own_hand(visit, fast_run, hand, script, tmp_path, mnist_dir):
    def read_feet(url, numbers, name=None):
        """Draws feet. Returns what the page reads; with a name, also corrects them to it."""
        page, read = visit(url), []
        for number in numbers:
            draw_foot(page, number)
            expect(page.get_by_role("status")).to_have_text(re.compile("^(Prediction: |No digit yet)"))
            read.append(page.locator("#number").text_content())
            if name:
                page.locator("#correction summary").click()
                if page.get_by_label("The whole drawing is one digit").is_visible():
                    page.get_by_label("The whole drawing is one digit").check()
                page.get_by_role("button", name=name, exact=True).click()
                wait_for_saved(page, hand, name)
            else:
                page.get_by_role("button", name="Clear").click()
            wait_until_empty(page)
        return read

    others = range(10, 20)
    with serve(fast_run, collect=hand) as url:
        read_feet(url, range(10), "7")
        assert read_feet(url, others).count("7") < 5
    assert len(list((hand / "7").glob("*.png"))) == 10
    flags = "--init-from", fast_run, "--dataset", "folder", "--data-dir", hand, "--run-dir", "taught"
    done = script("train.py", *flags, MNIST_DATA_DIR=str(mnist_dir))
    assert done.returncode == 0, done.stderr
    with serve(tmp_path / "taught") as url:
        assert read_feet(url, others) == ["7"] * 10


def test_axe_finds_no_serious_accessibility_problem_in_corrections(visit, fast_run, hand, axe):
    with serve(fast_run, collect=hand) as url:
        page = visit(url, bypass_csp=True)
        page.add_script_tag(path=axe)
        draw_number(page, "42")
        wait_for_number(page, "42")
        page.locator("#correction summary").click()
        assert_accessible(page)
