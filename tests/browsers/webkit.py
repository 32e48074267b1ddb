"""The page in WebKit: see README.md in this folder."""

import re
import sys
import time

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

# Strokes: points (x, y) in hundredths of the drawing area's side.
FOUR = [[(42, 20), (36, 38), (30, 56), (50, 56), (72, 55)], [(61, 36), (59, 60), (57, 84)]]
SEVEN = [[(30, 24), (50, 23), (70, 23), (60, 44), (52, 62), (46, 82)]]


class Page:
    def __init__(self, url, folder):
        options = webdriver.WebKitGTKOptions()
        options.binary_location = "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser"
        options.add_argument("--automation")
        service = webdriver.WebKitGTKService(executable_path="/usr/bin/WebKitWebDriver")
        self.driver = webdriver.WebKitGTK(options=options, service=service)
        self.folder = folder
        self.driver.set_window_size(1280, 900)
        self.driver.get(url)

    def draw(self, strokes):
        area = self.driver.find_element(By.ID, "drawing")
        side = area.size["width"]
        for stroke in strokes:
            # Offsets are from the middle of the element.
            points = [(round((x - 50) / 100 * side), round((y - 50) / 100 * side)) for x, y in stroke]
            actions = ActionChains(self.driver, duration=50).move_to_element_with_offset(area, *points[0])
            actions.click_and_hold()
            for point in points[1:]:
                actions.move_to_element_with_offset(area, *point)
            actions.release().perform()

    def expect_text(self, name, pattern):
        deadline = time.monotonic() + 5
        while not re.search(pattern, self.driver.find_element(By.ID, name).text):
            assert time.monotonic() < deadline, f"{name} should match {pattern}"
            time.sleep(0.05)

    def expect_number(self, pattern):
        self.expect_text("number", pattern)

    def click(self, selector):
        self.driver.execute_script("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def done(self, name):
        if self.folder:
            self.driver.save_screenshot(f"{self.folder}/webkit {name}.png")
        print("ok:", name)

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()


def main(url, folder=None):
    page = Page(url, folder)
    try:
        page.draw(SEVEN)
        page.expect_number("^7$")
        page.done("draws by mouse")
        page.click("#pool1")
        page.expect_text("explanation-title", r"^First block, map \d+, row \d+, column \d+ of 28$")
        page.click("#explanation-close")
        page.click("#outputs button:nth-child(8)")
        page.expect_text("explanation-title", "^Output 7$")
        page.click("#explanation-close")
        page.done("explains a cell and an output")
        page.click("#replay summary")
        page.expect_text("replay-text", r"^Step (\S+) of \1: cost")
        page.driver.find_element(By.ID, "replay-slider").send_keys(Keys.HOME)
        page.expect_text("replay-text", "^Step 0 of")
        page.click("#notice-reset")
        page.click("#sliding summary")
        page.click("[name=padding][value=VALID]")
        page.expect_text("sliding-text", "^Output: 26 × 26")
        page.driver.execute_script("scrollTo(0, 0)")
        page.done("replays, and moves the window")
        page.driver.find_element(By.ID, "clear").click()
        page.expect_number(r"^\?$")
        page.done("clears")
        page.driver.find_element(By.ID, "undo").click()
        page.expect_number("^7$")
        page.press(Keys.ESCAPE)
        page.expect_number(r"^\?$")
        page.done("undoes")
        page.driver.execute_script("document.getElementById('drawing').focus()")
        page.press(Keys.SPACE, *[Keys.ARROW_DOWN] * 6, Keys.SPACE)
        page.expect_number(r"^\d$")
        page.press(Keys.ESCAPE)
        page.expect_number(r"^\?$")
        page.done("draws with the keyboard")
        page.driver.set_window_size(360, 900)
        page.draw(FOUR)
        page.expect_number("^4$")
        assert page.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        page.done("fits a phone")
        print(page.driver.capabilities["browserName"], page.driver.capabilities["browserVersion"])
    finally:
        page.driver.quit()


main(*sys.argv[1:])
