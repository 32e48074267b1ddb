"""The demo page in Chromium: a server for it, and hand-drawn strokes on it. Skips the tests that import it if
playwright is missing.
"""

import contextlib
import re
import sys

import pytest
from helpers import script_command, start

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs a browser driver: pip install playwright, on Python 3.9 or newer"
)
expect = playwright.expect

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)

# Hand-drawn strokes: lists of points (x, y) in hundredths of the drawing area's side.
STROKES = {
    0: [
        [(52, 20), (40, 23), (33, 35), (31, 50), (34, 66), (42, 78)]
        + [(53, 80), (64, 72), (69, 55), (68, 38), (61, 24), (51, 20)]
    ],
    1: [[(52, 20), (51, 40), (49, 60), (48, 81)]],
    2: [[(33, 34), (38, 23), (51, 19), (63, 25), (65, 37), (58, 51), (44, 66), (31, 78), (50, 77), (70, 78)]],
    3: [
        [(33, 27), (42, 20), (54, 19), (64, 26), (64, 37), (57, 45), (46, 48)]
        + [(59, 52), (67, 61), (65, 73), (55, 80), (42, 81), (32, 74)]
    ],
    4: [[(42, 20), (36, 38), (30, 56), (50, 56), (72, 55)], [(61, 36), (59, 60), (57, 84)]],
    5: [
        [(66, 22), (52, 22), (40, 23), (38, 36), (36, 47), (48, 43)]
        + [(60, 47), (67, 58), (64, 71), (53, 80), (41, 79), (32, 73)]
    ],
    6: [[(62, 19), (49, 29), (39, 44), (34, 60), (38, 74), (49, 81), (61, 77), (66, 66), (60, 56), (48, 55), (37, 63)]],
    7: [[(30, 24), (50, 23), (70, 23), (60, 44), (52, 62), (46, 82)]],
    8: [
        [(62, 28), (50, 20), (39, 26), (40, 38), (51, 47), (62, 57), (64, 71)]
        + [(52, 80), (39, 74), (38, 60), (49, 48), (60, 39), (62, 28)]
    ],
    9: [[(64, 34), (55, 22), (42, 22), (35, 33), (38, 45), (50, 50), (60, 45), (65, 33), (63, 55), (60, 82)]],
}


@contextlib.contextmanager
def serve(run, python=sys.executable, port=0, collect=None, data_dir=None, log=""):
    """Starts a server and yields the page's URL. At the end, SIGTERM has to stop the server without an error.

    `log` is a regular expression for the lines that the server has written to stderr.
    """
    flags = [*(["--collect", collect] if collect else []), *(["--data-dir", data_dir] if data_dir else [])]
    if collect:
        log = f"NOTICE: corrected drawings are saved in {collect}\n"
    server = start(script_command("serve.py", "--run-dir", run, "--port", port, *flags, python=python))
    url = server.stdout.readline().strip()
    assert url, server.communicate()
    try:
        yield url
    finally:
        server.terminate()
        stdout, stderr = server.communicate(timeout=30)
        assert (stdout, server.returncode) == ("", 0) and re.fullmatch(log, stderr), stderr


def get_points(page, stroke):
    """The stroke's points in the page's coordinates."""
    box = page.locator("#drawing").bounding_box()
    return [(box["x"] + x / 100 * box["width"], box["y"] + y / 100 * box["height"]) for x, y in stroke]


def draw(page, digit):
    draw_strokes(page, STROKES[digit])


def draw_number(page, text):
    """Draws the digits of a number beside each other."""
    count = len(text)
    scale = 1.9 / (count + 0.3)
    for index, digit in enumerate(map(int, text)):
        centre = 100 * (index + 0.5) / count
        draw_strokes(
            page, [[(centre + (x - 50) * scale, 50 + (y - 50) * scale) for x, y in stroke] for stroke in STROKES[digit]]
        )


def draw_strokes(page, strokes):
    """Draws with the mouse."""
    for stroke in strokes:
        first, *others = get_points(page, stroke)
        page.mouse.move(*first)
        page.mouse.down()
        for point in others:
            page.mouse.move(*point, steps=3)
        page.mouse.up()


class Touchscreen:
    """Sends real touch events, which scroll the page if it allows that."""

    def __init__(self, page):
        self.page = page
        self.session = page.context.new_cdp_session(page)

    def send(self, event_type, *points):
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self.session.send("Input.dispatchTouchEvent", {"type": event_type, "touchPoints": touches})

    def draw(self, digit):
        for stroke in STROKES[digit]:
            first, *others = get_points(self.page, stroke)
            self.send("touchStart", first)
            for point in others:
                self.send("touchMove", point)
            self.send("touchEnd")


def wait_for_prediction(page, digit):
    """Waits until the large digit, the bars and the announcement all show this digit."""
    expect(page.locator("#number")).to_have_text(str(digit))
    expect(page.locator("#bars .winner")).to_have_text(re.compile(rf"^{digit}\s*(> )?\d\d\.\d %$"))
    expect(page.get_by_role("status")).to_have_text(re.compile(rf"^Prediction: {digit}, "))


def wait_for_number(page, text):
    """Waits until the large number, its buttons and the announcement show this number of several digits."""
    expect(page.locator("#number")).to_have_text(text)
    expect(page.get_by_role("button", name=re.compile(rf"^\d, digit \d of {len(text)}$"))).to_have_text([*text])
    expect(page.get_by_role("status")).to_have_text(re.compile(rf"^Prediction: {' '.join(text)}, "))


def wait_for_shown_digit(page, text, index):
    """Waits until the bars, the network's input and the pressed button show one digit of a number."""
    digit, name = text[index], f"{text[index]}, digit {index + 1} of {len(text)}"
    expect(page.locator("#bars .winner")).to_have_text(re.compile(f"^{digit}"))
    bars = page.get_by_role("list", name=f"Probability of each digit at position {index + 1} of {len(text)}")
    expect(bars).to_be_visible()
    expect(page.locator("#input")).to_have_attribute("aria-label", re.compile(f"^Your {digit},"))
    expect(page.get_by_role("button", pressed=True)).to_have_count(1)
    expect(page.get_by_role("button", name=name, pressed=True)).to_be_visible()


def wait_until_empty(page):
    expect(page.locator("#number")).to_have_text("?")
    expect(page.locator("#bars .winner")).to_have_count(0)
    expect(page.get_by_role("status")).to_have_text(re.compile("^(The drawing area is empty.)?$"))
    assert page.locator(".prompt").evaluate("it => getComputedStyle(it).opacity") != "0"
    for canvas in ("drawing", "input", "pool1", "pool2"):
        wait_for_colours(page, canvas, "<= 2")  # that of the maps and that of the gaps between them


def wait_for_colours(page, canvas, condition):
    """Waits until the number of colours in a canvas meets a condition, such as "<= 2"."""
    # Not with wait_for_function: it needs eval, which the page's Content-Security-Policy forbids.
    assert page.evaluate(f"""async () => {{
        const until = performance.now() + 5000;
        const holds = () => ({COUNT_COLOURS})({canvas!r}) {condition};
        while (!holds() && performance.now() < until) await new Promise(requestAnimationFrame);
        return holds();
    }}"""), f"the number of colours of {canvas} should be {condition}"


# A JavaScript function that counts the colours of a canvas.
COUNT_COLOURS = """id => {
    const canvas = document.getElementById(id);
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return new Set(new Uint32Array(pixels.buffer)).size;
}"""


def assert_accessible(page):
    """axe, which must have been added to the page, finds no serious problem."""
    found = page.evaluate("axe.run()")
    assert len(found["passes"]) > 20
    problems = [
        (it["id"], [node["html"] for node in it["nodes"]])
        for it in found["violations"]
        if it["impact"] in ("serious", "critical")
    ]
    assert not problems, problems
