"""The page as people use it: real Chromium, a real server, a network trained on MNIST, digits drawn by hand."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, environment

from mnist_cnn import Recipe, train

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs a browser's driver: pip install playwright, on Python 3.9 or newer"
)
expect = playwright.expect

pytestmark = pytest.mark.slow

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)

# Strokes as a hand draws them: (x, y) in hundredths of the paper's side.
STROKES = {
    0: [[(52, 20), (40, 23), (33, 35), (31, 50), (34, 66), (42, 78), (53, 80), (64, 72), (69, 55), (68, 38), (61, 24), (51, 20)]],
    1: [[(52, 20), (51, 40), (49, 60), (48, 81)]],
    2: [[(33, 34), (38, 23), (51, 19), (63, 25), (65, 37), (58, 51), (44, 66), (31, 78), (50, 77), (70, 78)]],
    3: [[(33, 27), (42, 20), (54, 19), (64, 26), (64, 37), (57, 45), (46, 48), (59, 52), (67, 61), (65, 73), (55, 80), (42, 81), (32, 74)]],
    4: [[(42, 20), (36, 38), (30, 56), (50, 56), (72, 55)], [(61, 36), (59, 60), (57, 84)]],
    5: [[(66, 22), (52, 22), (40, 23), (38, 36), (36, 47), (48, 43), (60, 47), (67, 58), (64, 71), (53, 80), (41, 79), (32, 73)]],
    6: [[(62, 19), (49, 29), (39, 44), (34, 60), (38, 74), (49, 81), (61, 77), (66, 66), (60, 56), (48, 55), (37, 63)]],
    7: [[(30, 24), (50, 23), (70, 23), (60, 44), (52, 62), (46, 82)]],
    8: [[(62, 28), (50, 20), (39, 26), (40, 38), (51, 47), (62, 57), (64, 71), (52, 80), (39, 74), (38, 60), (49, 48), (60, 39), (62, 28)]],
    9: [[(64, 34), (55, 22), (42, 22), (35, 33), (38, 45), (50, 50), (60, 45), (65, 33), (63, 55), (60, 82)]],
}  # fmt: skip


@contextlib.contextmanager
def serving(run, python=sys.executable, port=0):
    """The address of a server in a process of its own."""
    server = subprocess.Popen(
        [python, str(ROOT / "scripts" / "serve.py"), "--run-dir", str(run), "--port", str(port)],
        env=environment(),
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        assert server.wait(30) == 0
        server.stdout.close()


@pytest.fixture(scope="module")
def address(fast_run):
    with serving(fast_run) as address:
        yield address


@pytest.fixture(scope="module", params=["this TensorFlow", "the other TensorFlow"])
def either_address(request, fast_run):
    if request.param == "this TensorFlow":
        yield request.getfixturevalue("address")
    else:
        with serving(fast_run, request.getfixturevalue("other")) as address:
            yield address


@pytest.fixture(scope="module")
def browser():
    if not Path(CHROMIUM).exists():
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens the page. At the end of the test, nothing may have failed or gone elsewhere, but where `expected`, a
    regular expression, allows it.
    """
    with contextlib.ExitStack() as opened:

        def visit(address, expected="(?!)", **options):
            context = browser.new_context(**options)
            opened.callback(context.close)
            page = context.new_page()
            trouble = []
            page.on("console", lambda said: said.type == "error" and trouble.append(said.text))
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.on("requestfailed", lambda request: trouble.append(f"{request.url}: {request.failure}"))
            page.on("response", lambda it: it.status >= 400 and trouble.append(f"{it.url}: {it.status}"))
            page.on(
                "request",
                lambda it: it.url.startswith((address, "data:", "blob:")) or trouble.append(f"elsewhere: {it.url}"),
            )
            opened.callback(lambda: check([it for it in trouble if not re.search(expected, it)]))
            page.goto(address)
            return page

        def check(trouble):
            assert not trouble

        yield visit


def points(page, stroke):
    box = page.locator("#paper").bounding_box()
    return [(box["x"] + x / 100 * box["width"], box["y"] + y / 100 * box["height"]) for x, y in stroke]


def draw(page, digit):
    by_mouse(page, STROKES[digit])


def by_mouse(page, strokes):
    for stroke in strokes:
        first, *others = points(page, stroke)
        page.mouse.move(*first)
        page.mouse.down()
        for point in others:
            page.mouse.move(*point, steps=3)
        page.mouse.up()


class Fingers:
    """Real touches, which scroll the page where it lets them."""

    def __init__(self, page):
        self.page = page
        self.session = page.context.new_cdp_session(page)

    def touch(self, kind, *places):
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def draw(self, digit):
        for stroke in STROKES[digit]:
            first, *others = points(self.page, stroke)
            self.touch("touchStart", first)
            for point in others:
                self.touch("touchMove", point)
            self.touch("touchEnd")


def reads(page, digit):
    """Waits until the page says this digit, and everywhere the same."""
    expect(page.locator("#digit")).to_have_text(str(digit))
    expect(page.locator("#bars .winner")).to_have_text(re.compile(rf"^{digit}\s*(> )?\d\d\.\d %$"))
    expect(page.get_by_role("status")).to_have_text(re.compile(rf"^It reads {digit}, "))


def is_empty(page):
    expect(page.locator("#digit")).to_have_text("?")
    expect(page.locator("#bars .winner")).to_have_count(0)
    expect(page.get_by_role("status")).to_have_text(re.compile("^(The paper is empty.)?$"))
    assert page.locator(".invitation").evaluate("it => getComputedStyle(it).opacity") != "0"
    for canvas in ("paper", "seen", "conv1", "conv2"):
        shows(page, canvas, "<= 2")  # what lies between the maps, and they


def shows(page, canvas, so_many):
    """Waits until a canvas has so many colours. Not by wait_for_function, whose eval the page's policy forbids."""
    assert page.evaluate(f"""async () => {{
        const until = performance.now() + 5000;
        while (!(({COLOURS})({canvas!r}) {so_many}) && performance.now() < until) await new Promise(requestAnimationFrame);
        return ({COLOURS})({canvas!r}) {so_many};
    }}"""), f"{canvas} should have {so_many} colours"


# How many colours a canvas has.
COLOURS = """id => {
    const canvas = document.getElementById(id);
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return new Set(new Uint32Array(pixels.buffer)).size;
}"""


def test_all_ten_digits_drawn_by_mouse_are_read(visit, either_address):
    page = visit(either_address)
    is_empty(page)
    for digit in STROKES:
        draw(page, digit)
        expect(page.locator("#digit")).to_have_text(str(digit))
        expect(page.locator("#bars .winner")).to_have_text(re.compile(f"^{digit}"))
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#digit")).to_have_text("?")
    is_empty(page)


def test_digits_drawn_by_touch_are_read_and_the_page_stays_where_it_is(visit, either_address):
    page = visit(either_address, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    fingers = Fingers(page)
    page.evaluate("scrollTo(0, 60)")
    for digit in (4, 2, 7):
        fingers.draw(digit)
        reads(page, digit)
        assert page.evaluate("scrollY") == 60
        page.get_by_role("button", name="Clear").tap()
        expect(page.locator("#digit")).to_have_text("?")


def test_a_second_finger_draws_nothing(visit, address):
    page = visit(address, has_touch=True)
    fingers = Fingers(page)
    (stroke,) = STROKES[1]
    first, *others = points(page, stroke)
    palm = points(page, [(15, 50), (50, 50), (90, 50)])
    fingers.touch("touchStart", first)
    for place in palm:
        fingers.touch("touchMove", first, place)
    for place in others:
        fingers.touch("touchMove", place, palm[-1])
    fingers.touch("touchEnd")
    reads(page, 1)


def test_it_reads_along_and_asks_once_at_a_time(visit, address):
    page = visit(address)
    asking, most = [], []
    page.on("request", lambda request: (asking.append(request), most.append(len(asking))))
    page.on("requestfinished", lambda request: asking.remove(request))
    first, *others = points(page, STROKES[7][0])
    page.mouse.move(*first)
    page.mouse.down()
    for point in others[:2]:
        page.mouse.move(*point, steps=20)
    expect(page.locator("#digit")).to_have_text(re.compile(r"\d"))  # the pen is still down
    for point in others[2:]:
        page.mouse.move(*point, steps=20)
    expect(page.locator("#digit")).to_have_text("7")
    page.mouse.up()
    reads(page, 7)
    assert len(most) > 3 and max(most) == 1


def test_what_the_network_saw_and_its_maps_light_up(visit, address):
    page = visit(address)
    draw(page, 3)
    reads(page, 3)
    for name, text in [
        ("seen", "Your 3, white on black, in 28 by 28 pixels"),
        ("conv1", r"32 maps of 14 by 14: \d+ are lit, the brightest is number \d+"),
        ("conv2", r"64 maps of 7 by 7: \d+ are lit, the brightest is number \d+"),
    ]:
        expect(page.locator(f"#{name}")).to_have_attribute("aria-label", re.compile(f"^{text}$"))
        shows(page, name, "> 30")


def test_undo_takes_strokes_away_and_brings_back_what_was_cleared(visit, address):
    page = visit(address)
    draw(page, 1)
    reads(page, 1)
    page.mouse.move(*points(page, [(52, 20)])[0])
    # Turn it into something else.
    by_mouse(page, [[(52, 20), (40, 20), (28, 22)], [(52, 20), (40, 33), (30, 48)]])
    expect(page.locator("#digit")).not_to_have_text("1")
    page.keyboard.press("Control+z")
    page.get_by_role("button", name="Undo").click()
    reads(page, 1)
    page.keyboard.press("Escape")
    is_empty(page)
    page.keyboard.press("Control+z")
    reads(page, 1)
    page.keyboard.press("Control+z")
    is_empty(page)
    page.keyboard.press("Control+z")
    is_empty(page)


def test_a_reload_begins_anew(visit, address):
    page = visit(address)
    draw(page, 5)
    reads(page, 5)
    page.reload()
    is_empty(page)
    draw(page, 6)
    reads(page, 6)


def test_a_digit_is_drawn_by_the_keyboard_alone(visit, address):
    page = visit(address)
    page.keyboard.press("Tab")
    expect(page.get_by_role("application", name="Paper to draw a digit on")).to_be_focused()
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
    page.keyboard.down("ArrowDown")  # with another one, a diagonal
    press("ArrowLeft", 2)
    page.keyboard.up("ArrowDown")
    press("ArrowDown", 3)
    press("Space")
    reads(page, 7)
    press("Tab")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    press("Enter")
    is_empty(page)


def test_a_server_that_is_gone_is_said_in_one_line_until_it_is_back(visit, fast_run):
    with serving(fast_run) as address:
        page = visit(address, expected="ERR_CONNECTION_REFUSED")
    draw(page, 4)
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("No answer. Is serve.py still running?")
    assert alert.bounding_box()["height"] < 60
    with serving(fast_run, port=int(address.rstrip("/").rsplit(":", 1)[1])):
        reads(page, 4)
        expect(alert).to_be_hidden()


def test_what_the_server_refuses_is_said_in_its_words(visit, address):
    page = visit(address, expected=" 400")
    page.route("**/v1/digits*", lambda route: route.continue_(post_data=b"no picture"))
    draw(page, 4)
    expect(page.get_by_role("alert")).to_have_text(re.compile("^the picture is"))
    page.unroute("**/v1/digits*")
    reads(page, 4)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_in_the_dark_it_reads_the_same(visit, address):
    page = visit(address, color_scheme="dark")
    draw(page, 2)
    reads(page, 2)
    paper, ink = page.locator("#paper").evaluate(
        "it => [getComputedStyle(it.parentElement).backgroundColor, getComputedStyle(it).color]"
    )
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (paper, ink)]
    assert brightness[0] < 150 and brightness[1] > 600


def test_a_network_without_convolutions_has_no_maps(visit, sample, tmp_path):
    train(sample, tmp_path / "run", Recipe(1, 100, 0.003, 0.8, initial_weights="he"), model="mlp")
    with serving(tmp_path / "run") as address:
        page = visit(address)
        draw(page, 1)
        expect(page.locator("#digit")).to_have_text(re.compile(r"\d"))  # whichever, after so little training
        expect(page.locator("#conv1, #conv2").first).to_be_hidden()
        expect(page.get_by_text("no convolutions")).to_be_visible()


@pytest.mark.parametrize("width", [320, 360, 820, 1280])
def test_nothing_is_wider_than_the_window(visit, address, width):
    page = visit(address, viewport={"width": width, "height": 740})
    draw(page, 8)
    reads(page, 8)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_without_motion_nothing_moves(visit, address):
    page = visit(address, reduced_motion="reduce")
    draw(page, 9)
    expect(page.locator("#digit")).to_have_text("9")
    assert page.evaluate("document.getAnimations().length") == 0
    colours = page.evaluate(f"['conv1', 'conv2'].map({COLOURS})")
    reads(page, 9)
    assert page.evaluate(f"['conv1', 'conv2'].map({COLOURS})") == colours


@pytest.fixture(scope="module")
def axe():
    """The path of axe-core's script."""
    places = [Path(os.environ.get("AXE_CORE", "")), ROOT / "node_modules" / "axe-core"]
    for file in (place / "axe.min.js" for place in places):
        if file.exists():
            return str(file)
    pytest.skip("needs axe-core: npm install axe-core, and AXE_CORE, the folder that it is in")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_serious(visit, address, axe, scheme, width):
    page = visit(address, bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.add_script_tag(path=axe)

    def check():
        page.evaluate("Promise.all(document.getAnimations().map(it => it.finished))")
        found = page.evaluate("axe.run()")
        assert len(found["passes"]) > 20
        assert [] == [
            (it["id"], [node["html"] for node in it["nodes"]])
            for it in found["violations"]
            if it["impact"] in ("serious", "critical")
        ]

    check()
    draw(page, 5)
    reads(page, 5)
    check()
    page.locator("#paper").focus()
    page.keyboard.press("ArrowUp")
    check()
