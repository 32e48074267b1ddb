"""What the page explains, end to end: cells, units, the replay, filters that are off, misread digits, languages."""

import json
import re

import numpy as np
import pytest
from helpers import ROOT
from page import (
    COUNT_COLOURS,
    Touchscreen,
    assert_accessible,
    draw,
    draw_strokes,
    expect,
    serve,
    wait_for_colours,
    wait_for_prediction,
)

from mnist_cnn import Recipe, evaluate, restore_run, train

pytestmark = pytest.mark.slow

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
SECTIONS = "replay", "sliding", "filters", "misread"


def draw_digit(page, digit):
    draw(page, digit)
    wait_for_prediction(page, digit)


def find_cell(page, layer, channel, row, column):
    """The position of a cell's middle in its canvas."""
    side, columns, gap = {"pool1": (14, 8, 1), "pool2": (7, 16, 0.5), "dense": (1, 64, 0.2)}[layer]
    box = page.locator(f"#{layer}").bounding_box()
    scale = box["width"] / (columns * (side + gap) - gap)
    x = (channel % columns) * (side + gap) + column + 0.5
    y = channel // columns * (side + gap) + row + 0.5
    return {"x": x * scale, "y": y * scale}


def open_section(page, name):
    page.locator(f"#{name} summary").click()


def read_grid(page, caption):
    """The numbers of a table of the explanation."""
    cells = page.locator("#explanation table").filter(has_text=caption).first.locator("td").all_text_contents()
    return np.array([read_number(text) for text in cells]).reshape(3, 3)


def read_number(text):
    return float(text.replace("−", "-"))


def wait_for_title(page, text):
    expect(page.locator("#explanation-title")).to_have_text(text)


def collect(page, path):
    """The contents of all responses to a path, as they come."""
    contents = []
    page.on("response", lambda response: path in response.url and contents.append(response.json()))
    return contents


def test_a_click_on_a_cell_shows_its_window_kernel_products_sum_and_pooling(visit, url_of_either_tensorflow):
    page = visit(url_of_either_tensorflow)
    draw_digit(page, 3)
    with page.expect_response("**/v1/explain/cell") as response:
        page.locator("#pool1").click(position=find_cell(page, "pool1", 10, 5, 7))
    cell = response.value.json()
    assert (cell["channel"], cell["row"] // 2, cell["column"] // 2) == (10, 5, 7)
    wait_for_title(page, f"First block, map 11, row {cell['row'] + 1}, column {cell['column'] + 1} of 28")
    window, kernel, products = (read_grid(page, name) for name in ("window", "kernel", "products"))
    np.testing.assert_allclose(products, window * kernel, atol=0.002)
    (total,) = re.findall(r"[−\d.]+", page.locator("#explanation .sum").text_content())
    assert total == f"{cell['sum']:.3f}".replace("-", "−") and abs(read_number(total) - products.sum()) < 0.006
    four = page.locator(".four button")
    expect(four).to_have_count(4)
    expect(page.locator(".four .kept")).to_have_text(total)  # of a map, the cell that pooling kept is explained
    shown = f"Pooling keeps the largest of the four, {total}; ReLU makes it {max(read_number(total), 0):.3f}."
    expect(page.get_by_text(shown)).to_be_visible()
    other = (four.all_text_contents().index(total) + 1) % 4
    four.nth(other).click()
    expect(four.nth(other)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#explanation .sum b")).to_have_text(four.nth(other).text_content())
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#explanation")).to_be_hidden()
    expect(page.locator("#number")).to_have_text("3")


def test_a_cell_of_the_second_block_shows_the_channels_that_add_most(visit, url):
    page = visit(url)
    draw_digit(page, 5)
    page.locator("#pool2").click(position=find_cell(page, "pool2", 40, 3, 3))
    wait_for_title(page, re.compile(r"^Second block, map 41, row [78], column [78] of 14$"))
    rows = page.locator(".channels li")
    expect(rows).to_have_count(8)
    sums = [read_number(text.rpartition("=")[2]) for text in rows.all_text_contents()]
    assert [abs(value) for value in sums] == sorted(map(abs, sums), reverse=True)
    (others,) = re.findall(r"and 24 more: ([+−][\d.]+)", page.locator("#explanation").text_content())
    total = read_number(page.locator("#explanation .sum b").text_content())
    assert abs(sum(sums) + read_number(others) - total) < 0.006


def test_cells_are_explained_with_the_keyboard_alone(visit, url):
    page = visit(url)
    draw_digit(page, 2)
    page.locator("#pool1").focus()
    page.keyboard.press("Enter")
    wait_for_title(page, re.compile(r"^First block, map 1, row 1[56], column 1[56] of 28$"))
    page.keyboard.press("ArrowRight")
    wait_for_title(page, re.compile(r"^First block, map 1, row 1[56], column 1[78] of 28$"))
    page.keyboard.press("Shift+ArrowRight")
    wait_for_title(page, re.compile(r"^First block, map 2, row 1[56], column 1[78] of 28$"))
    page.keyboard.press("Shift+ArrowDown")
    wait_for_title(page, re.compile(r"^First block, map 10, "))
    expect(page.locator("#status")).to_have_text(re.compile(r"^First block, map 10, row .*: [−\d.]+$"))
    page.locator("#explanation-close").focus()
    page.keyboard.press("Escape")  # closes the explanation, and leaves the drawing
    expect(page.locator("#explanation")).to_be_hidden()
    expect(page.locator("#pool1")).to_be_focused()
    expect(page.locator("#number")).to_have_text("2")
    for _ in range(2):
        page.keyboard.press("Tab")
    expect(page.locator("#dense")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    wait_for_title(page, "Dense layer, unit 65")
    page.locator("#outputs button").first.focus()
    page.keyboard.press("Enter")
    wait_for_title(page, "Output 0")


def test_a_cell_is_explained_by_touch(visit, url):
    page = visit(url, **PHONE)
    Touchscreen(page).draw(4)
    wait_for_prediction(page, 4)
    page.locator("#pool2").tap(position=find_cell(page, "pool2", 20, 2, 4))
    wait_for_title(page, re.compile("^Second block, map 21,"))
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    canvas, panel = page.locator("#pool2"), page.locator("#explanation")
    expect(canvas).to_be_in_viewport(ratio=0.99)  # the panel does not cover the layer that it explains

    def is_uncovered():
        box = canvas.bounding_box()
        return box["y"] + box["height"] <= panel.bounding_box()["y"]

    assert poll(page, is_uncovered)
    page.locator("#explanation-close").tap()
    expect(panel).to_be_hidden()


def poll(page, condition):
    """Waits until a condition holds, one frame after the other."""
    for _ in range(300):
        if condition():
            return True
        page.evaluate("new Promise(requestAnimationFrame)")
    return False


def test_an_explanation_follows_the_drawing(visit, url):
    page = visit(url)
    draw_digit(page, 7)
    page.locator("#outputs button").nth(7).click()
    wait_for_title(page, "Output 7")
    before = page.locator("#explanation .sum").text_content()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#explanation")).to_be_hidden()
    draw_digit(page, 1)
    wait_for_title(page, "Output 7")
    expect(page.locator("#explanation .sum")).not_to_have_text(before)


def test_an_output_shows_what_speaks_for_and_against_it_back_to_the_strokes(visit, url):
    page = visit(url)
    draw_digit(page, 8)
    with page.expect_response("**/v1/explain/unit") as response:
        page.locator("#bars li").nth(8).click()
    unit = response.value.json()
    wait_for_title(page, "Output 8")
    expect(page.locator("#outputs button").nth(8)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#explanation .sum b")).to_have_text(f"{unit['sum']:.3f}")
    wait_for_colours(page, page.locator(".strokes").evaluate("it => it.id = 'strokes'"), "> 20")
    best = int(np.argmax(unit["units"]))
    page.get_by_role("button", name=f"unit {best + 1}: +{unit['units'][best]:.3f}").click()
    wait_for_title(page, f"Dense layer, unit {best + 1}")
    expect(page.get_by_text("ReLU makes it")).to_be_visible()
    text = page.locator(".term-list button").first.text_content()
    page.locator(".term-list button").first.click()
    wait_for_title(page, re.compile(f"^Second block, {text.partition(':')[0]}, "))


def test_the_window_is_moved_by_mouse_touch_and_keyboard(visit, url):
    for options in ({}, PHONE):
        page = visit(url, **options)
        open_section(page, "sliding")
        text, window = page.locator("#sliding-text"), page.locator("#sliding-input")
        expect(text).to_have_text(re.compile("^Output: 28 × 28.*1 on each side.$"))
        sizes = {
            ("3", "2", "SAME"): "14 × 14.*0 at the top and left and 1 at the bottom and right",
            ("5", "2", "SAME"): "14 × 14.*1 at the top and left and 2 at the bottom and right",
            ("5", "1", "VALID"): "24 × 24.*4 smaller",
            ("3", "1", "VALID"): "26 × 26.*2 smaller",
            ("5", "2", "VALID"): "12 × 12.*last row and column.*12 windows reach 27 of 28",
            ("3", "2", "VALID"): "13 × 13.*last row and column.*13 windows reach 27 of 28",
        }
        for values, expected in sizes.items():
            for name, value in zip(("kernel", "stride", "padding"), values):
                page.locator(f"[name={name}][value='{value}']").check()
            expect(text).to_have_text(re.compile(f"^Output: {expected}"))
        box = window.bounding_box()
        middle = {"x": box["width"] / 2, "y": box["height"] / 2}
        if options:
            window.tap(position=middle)
        else:
            window.click(position=middle)
        expect(window).to_have_attribute("aria-label", "Window at row 7, column 7 of 13")
        window.focus()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowDown")
        expect(window).to_have_attribute("aria-label", "Window at row 8, column 6 of 13")
        expect(page.locator("#status")).to_have_text("Window at row 8, column 6 of 13")
        if not options:
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] - 2, steps=5)
            page.mouse.up()
            expect(window).to_have_attribute("aria-label", "Window at row 13, column 13 of 13")


def test_sliding_over_all_of_it_fills_the_output(visit, url):
    page = visit(url, reduced_motion="reduce")
    draw_digit(page, 0)
    open_section(page, "sliding")
    expect(page.locator("#sliding-input")).to_have_attribute("aria-label", "Window at row 1, column 1 of 28")
    before = page.evaluate(f"({COUNT_COLOURS})('sliding-output')")
    page.locator("#slide").click()
    wait_for_colours(page, "sliding-output", f"> {before + 20}")
    expect(page.locator("#sliding-input")).to_have_attribute("aria-label", "Window at row 28, column 28 of 28")


def test_the_training_is_replayed_by_keyboard_mouse_and_play(visit, url_of_either_tensorflow, fast_run):
    page = visit(url_of_either_tensorflow)
    draw_digit(page, 6)
    last = json.loads((fast_run / "result.json").read_text())["steps"]
    open_section(page, "replay")
    text, slider = page.locator("#replay-text"), page.locator("#replay-slider")
    expect(text).to_have_text(re.compile(rf"^Step {last} of {last}: cost \d.\d+, accuracy 0\.9\d+ on"))
    wait_for_colours(page, "replay-filters", "> 20")
    slider.focus()
    page.keyboard.press("Home")
    expect(text).to_have_text(re.compile(rf"^Step 0 of {last}: cost \d\.\d+, accuracy 0\.[012]\d+ on"))
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^Step 0 of"))
    expect(page.get_by_text("You see the network after step 0 of its training.")).to_be_visible()
    expect(page.locator("#probability")).not_to_have_text(re.compile(r"9\d\.\d %"))
    page.keyboard.press("ArrowRight")
    expect(text).to_have_text(re.compile("^Step 1 of"))
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    expect(text).to_have_text(re.compile(r"^Step 1?\d\d of .*accuracy 0\.9"))
    page.get_by_role("button", name="Back to the trained network").click()
    expect(text).to_have_text(re.compile(f"^Step {last} of"))
    expect(page.locator("#notice")).to_be_hidden()
    wait_for_prediction(page, 6)
    page.get_by_role("button", name="Play").click()  # from the start, since the slider is at its end
    expect(text).to_have_text(re.compile("^Step 0 of"))
    expect(text).to_have_text(re.compile("^Step 2 of"))
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_the_replay_slider_is_dragged_by_touch(visit, url):
    page = visit(url, **PHONE)
    Touchscreen(page).draw(6)
    wait_for_prediction(page, 6)
    page.locator("#replay summary").tap()
    text, slider = page.locator("#replay-text"), page.locator("#replay-slider")
    expect(text).to_have_text(re.compile("^Step "))
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    touchscreen, y = Touchscreen(page), box["y"] + box["height"] / 2
    touchscreen.send("touchStart", (box["x"] + box["width"] - 8, y))
    for fraction in (0.8, 0.6, 0.4, 0.2, 0):
        touchscreen.send("touchMove", (box["x"] + 2 + (box["width"] - 10) * fraction, y))
    touchscreen.send("touchEnd")
    expect(text).to_have_text(re.compile("^Step 0 of"))


def test_a_run_without_snapshots_says_how_to_get_them(visit, sample, tmp_path):
    train(sample, tmp_path / "run", Recipe(1, 100, 0.003, 0.8, initial_weights="he"), max_steps=20)
    with serve(tmp_path / "run") as url:
        page = visit(url)
        open_section(page, "replay")
        expect(page.get_by_text("train.py --replay 20")).to_be_visible()
        expect(page.locator("#replay-slider")).to_be_hidden()


def test_a_filter_is_switched_off_and_the_test_accuracy_without_it_is_evaluates(
    visit, url_of_either_tensorflow, fast_run, mnist
):
    page = visit(url_of_either_tensorflow)
    draw_digit(page, 9)
    probability = page.locator("#bars .winner").text_content()
    open_section(page, "filters")
    expect(page.get_by_text("All filters are on.")).to_be_visible()
    for channel in (1, 10):
        page.locator("#pool1").click(position=find_cell(page, "pool1", channel, 7, 7))
        name = f"filter {channel + 1} of the first block"
        page.locator("#explanation").get_by_role("button", name=f"Switch {name} off").click()
        expect(page.locator("#explanation").get_by_role("button", name=f"Switch {name} on")).to_be_visible()
        expect(page.locator("#explanation .sum b")).to_have_text("0.000")
    page.locator("#explanation-close").click()
    expect(page.get_by_text("Switched off: 2 of 96 filters.")).to_be_visible()
    expect(page.locator("#bars .winner")).not_to_have_text(probability)
    page.get_by_role("button", name="Measure the test accuracy").click()
    with restore_run(fast_run) as (session, model):
        weights = session.run(model.weights["W1"])
        weights[..., [1, 10]] = 0
        session.run(model.weights["W1"].assign(weights))
        accuracy = evaluate(session, model, mnist.test).accuracy
    expect(page.locator("#accuracy")).to_have_text(f"Test accuracy {accuracy:.4f}, on 10,000 images.", timeout=60000)
    page.locator("#filters").get_by_role("button", name="Switch filter 2 of the first block on").click()
    expect(page.locator("#accuracy")).to_be_empty()  # that of another network
    page.get_by_role("button", name="Back to the trained network").click()
    expect(page.get_by_text("All filters are on.")).to_be_visible()
    expect(page.locator("#bars .winner")).to_have_text(probability)


def test_without_mnist_the_page_says_what_is_missing(visit, fast_run):
    with serve(fast_run, log=r".*the page can show no test accuracy: MNIST is not in .*\n") as url:
        page = visit(url)
        open_section(page, "misread")
        page.get_by_role("button", name="Find them").click()
        expect(page.locator("#mistakes-count")).to_contain_text("serve.py --data-dir FOLDER")
        expect(page.locator("#mistakes-progress")).to_be_hidden()
        open_section(page, "filters")
        page.get_by_role("button", name="Measure the test accuracy").click()
        expect(page.locator("#accuracy")).to_contain_text("serve.py --data-dir FOLDER")


@pytest.mark.parametrize("options", [PHONE, {}], ids=["touch", "keyboard"])
def test_filters_misread_digits_and_the_language_are_chosen_by_touch_and_with_the_keyboard(visit, url, options):
    def press(locator):
        if options:
            locator.tap()
        else:
            locator.focus()
            page.keyboard.press("Enter")

    page = visit(url, **options)
    draw_digit(page, 3)
    press(page.locator("#outputs button").nth(3))
    wait_for_title(page, "Output 3")
    press(page.locator(".term-list").nth(1).locator("button").first)  # a map
    wait_for_title(page, re.compile("^Second block, map "))
    press(page.locator("#explanation-body > button"))
    expect(page.get_by_text("Switched off: 1 of 96 filters.")).to_be_visible()
    press(page.locator("#explanation-close"))
    press(page.get_by_role("button", name="Back to the trained network"))
    expect(page.locator("#notice")).to_be_hidden()
    press(page.locator("#misread summary"))
    press(page.get_by_role("button", name="Find them"))
    expect(page.locator("#mistakes button").first).to_be_visible(timeout=60000)
    press(page.locator("#mistakes button").first)
    expect(page.locator("#test-digit")).to_have_text(re.compile(r"^Test image \d+, labelled \d\.$"))
    press(page.get_by_role("button", name="한국어"))
    expect(page.locator("#test-digit")).to_have_text(re.compile(r"^테스트 이미지 \d+, 레이블 \d\.$"))


CORNER = [[(4, 4), (12, 4), (20, 4), (16, 14), (13, 22), (11, 30)]]  # a small 7 in the upper left


def test_a_digit_in_a_corner_is_read_only_if_it_is_centred(visit, url):
    page = visit(url)
    draw_strokes(page, CORNER)
    expect(page.locator("#number")).to_have_text("7")

    def get_centre():
        """Of the input's bright pixels, as fractions of its width and height."""
        return page.locator("#input").evaluate("""it => {
            const { data } = it.getContext("2d").getImageData(0, 0, it.width, it.height);
            let [x, y, mass] = [0, 0, 0];
            for (let i = 0; i < data.length; i += 4) {
                const pixel = i / 4;
                x += data[i] * (pixel % it.width), y += data[i] * Math.floor(pixel / it.width), mass += data[i];
            }
            return [x / mass / it.width, y / mass / it.height];
        }""")

    assert max(abs(np.subtract(get_centre(), 0.5))) < 0.05
    box = page.get_by_label("Fit and centre the drawing first.")
    box.focus()
    page.keyboard.press("Space")
    assert poll(page, lambda: max(get_centre()) < 0.25)
    expect(page.locator("#number")).not_to_have_text("7")
    box.click()
    expect(page.locator("#number")).to_have_text("7")
    assert max(abs(np.subtract(get_centre(), 0.5))) < 0.05


def test_a_misread_test_digit_is_put_on_the_drawing_area(visit, url, fast_run, mnist):
    page = visit(url)
    with restore_run(fast_run) as (session, model):
        evaluation = evaluate(session, model, mnist.test)
    wrong = np.flatnonzero(evaluation.predictions != mnist.test.labels)
    parts = collect(page, "/v1/explain/test")
    open_section(page, "misread")
    page.get_by_role("button", name="Find them").click()
    shown = min(len(wrong), 60)
    text = f"Misread: {len(wrong)} of 10,000. Shown: {shown}."
    expect(page.locator("#mistakes-count")).to_have_text(text, timeout=60000)
    mistakes = sorted(
        (mistake for part in parts for mistake in part["mistakes"]), key=lambda mistake: -mistake["probability"]
    )
    buttons = page.locator("#mistakes button")
    expect(buttons).to_have_count(shown)
    for number in (0, 3):
        index = mistakes[number]["index"]
        label, read = mnist.test.labels[index], evaluation.predictions[index]
        buttons.nth(number).click()
        expect(page.locator("#number")).to_have_text(str(read))
        expect(page.locator("#test-digit")).to_have_text(f"Test image {index}, labelled {label}.")
        expect(page.locator("#probability")).to_have_text(f"{mistakes[number]['probability'] * 100:.1f} %")
    page.locator("#pool1").click(position=find_cell(page, "pool1", 0, 7, 7))
    page.locator("#explanation").get_by_role("button", name="Switch filter 1 of the first block off").click()
    expect(buttons).to_have_count(0)  # the list was another network's
    page.get_by_role("button", name="Back to the trained network").click()
    page.locator("#drawing").focus()
    page.keyboard.press("Control+z")
    expect(page.locator("#test-digit")).to_contain_text(f"Test image {mistakes[0]['index']},")
    draw_strokes(page, [[(10, 50), (90, 50)]])  # a stroke over it: no longer a test digit
    expect(page.locator("#test-digit")).to_be_empty()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#number")).to_have_text("?")


def test_the_page_is_in_the_browsers_language_until_another_is_chosen(visit, url):
    page = visit(url, locale="ko-KR")
    expect(page.get_by_role("heading", name="숫자를 그려 보세요")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "ko"
    draw(page, 4)
    expect(page.locator("#status")).to_have_text(re.compile("^예측: 4, "))
    page.locator("#pool1").click(position=find_cell(page, "pool1", 0, 7, 7))
    for term in ("윈도우", "커널", "스트라이드"):
        expect(page.locator("#explanation")).to_contain_text(term)
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Draw a number")).to_be_visible()
    expect(page.locator("#explanation")).to_contain_text("Kernel: the filter’s own 3 × 3 weights")
    expect(page.locator("#number")).to_have_text("4")
    english = page.locator("main").inner_text()
    for text in ("한국어", page.locator("#status").inner_text()):  # the switch, and the latest announcement
        english = english.replace(text, "")
    assert not re.search("[가-힣]", english)
    page.reload()
    expect(page.get_by_role("heading", name="Draw a number")).to_be_visible()
    page.get_by_role("button", name="한국어").click()
    words = re.findall(r"[A-Za-z]{3,}", page.locator("main").inner_text())
    assert set(words) <= {"English", "MNIST", "ReLU", "Ctrl", "Esc", "Tab", "Shift"}


def test_both_languages_have_the_same_texts(visit, url):
    page = visit(url)
    texts = page.evaluate("""async () => {
        const modules = await Promise.all(["en", "ko"].map(name => import(`./static/${name}.js`)));
        return modules.map(module => module.default);
    }""")
    english, korean = texts
    assert list(english) == list(korean) and all(english.values()) and all(korean.values())
    for key, text in english.items():
        names = [set(re.findall(r"\{(\w+)\}", translation)) for translation in (text, korean[key])]
        assert names[1] == names[0], key
    static = ROOT / "mnist_cnn" / "server" / "static"
    code = "".join(path.read_text() for path in static.glob("*.js") if path.name not in ("en.js", "ko.js"))
    used = set(re.findall(r'\bt(?:Kind)?\(\s*"([\w.]+)"', code)) - set(english)
    assert all(f"{key}.digit" in english for key in used)


def open_everything(page):
    draw_digit(page, 5)
    for section in SECTIONS:
        open_section(page, section)
    expect(page.locator("#replay-text")).to_have_text(re.compile("^Step "))
    page.locator("#mistakes-find").click()
    expect(page.locator("#mistakes button").first).to_be_visible(timeout=60000)
    page.locator("#replay-slider").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#notice")).to_be_visible()


def explain(page, what):
    if what == "output":
        page.locator("#outputs button").nth(5).click()
    else:
        page.locator(f"#{what}").click(position=find_cell(page, what, 20, 0, 0))
    expect(page.locator("#explanation")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_no_serious_accessibility_problem_in_explanations(visit, url, axe, scheme, width):
    page = visit(url, bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.add_script_tag(path=axe)
    open_everything(page)
    for what in ("pool1", "pool2", "dense", "output"):
        explain(page, what)
        assert_accessible(page)
        page.locator("#explanation-close").click()


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
@pytest.mark.parametrize("width", [320, 1121])
def test_no_explanation_is_wider_than_the_window(visit, url, width, locale):
    page = visit(url, viewport={"width": width, "height": 740}, locale=locale)
    draw(page, 8)
    expect(page.locator("#number")).to_have_text("8")
    for section in SECTIONS:
        open_section(page, section)
    for what in ("pool1", "pool2", "dense", "output"):
        explain(page, what)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        panel = page.locator("#explanation")
        assert panel.evaluate("it => it.scrollWidth <= it.clientWidth"), what
        page.locator("#explanation-close").click()
