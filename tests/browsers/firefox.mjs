// The page in Firefox: see README.md in this folder.

import assert from "node:assert";
import { pathToFileURL } from "node:url";

const [url, folder] = process.argv.slice(2);
const entry = pathToFileURL(`${process.env.PUPPETEER}/lib/esm/puppeteer/puppeteer-core.js`);
const { default: puppeteer } = await import(entry);

// Strokes: points (x, y) in hundredths of the drawing area's side.
const FOUR = [[[42, 20], [36, 38], [30, 56], [50, 56], [72, 55]], [[61, 36], [59, 60], [57, 84]]];
const SEVEN = [[[30, 24], [50, 23], [70, 23], [60, 44], [52, 62], [46, 82]]];

const browser = await puppeteer.launch({ browser: "firefox", executablePath: "/usr/bin/firefox-esr", headless: true });
const page = await browser.newPage();
const problems = [];
page.on("pageerror", (error) => problems.push(error.message));
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));

async function draw(strokes) {
  const area = await page.$eval("#drawing", (it) => {
    const { x, y, width } = it.getBoundingClientRect();
    return { x, y, width };
  });
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => [area.x + (x / 100) * area.width, area.y + (y / 100) * area.width]);
    await page.mouse.move(...points[0]);
    await page.mouse.down();
    for (const point of points.slice(1)) await page.mouse.move(...point, { steps: 3 });
    await page.mouse.up();
  }
}

async function expectText(selector, pattern) {
  // The Content-Security-Policy of the page forbids waitForFunction, which needs eval.
  for (let attempt = 0; attempt < 100; attempt++) {
    const text = await page.$eval(selector, (it) => it.textContent);
    if (pattern.test(text)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`${selector} should match ${pattern}`);
}

const expectNumber = (pattern) => expectText("#number", pattern);

async function step(name, action) {
  await action();
  if (folder) await page.screenshot({ path: `${folder}/firefox ${name}.png` });
  console.log(`ok: ${name}`);
}

try {
  await page.setViewport({ width: 1280, height: 800 });
  await page.goto(url);
  await step("draws by mouse", async () => {
    await draw(SEVEN);
    await expectNumber(/^7$/);
  });
  await step("explains a cell and an output", async () => {
    await page.click("#pool1");
    await expectText("#explanation-title", /^First block, map \d+, row \d+, column \d+ of 28$/);
    await page.click("#explanation-close");
    await page.click("#outputs button:nth-child(8)");
    await expectText("#explanation-title", /^Output 7$/);
    await page.click("#explanation-close");
  });
  await step("replays, and moves the window", async () => {
    await page.click("#replay summary");
    await expectText("#replay-text", /^Step (\S+) of \1: cost/);
    await page.focus("#replay-slider");
    await page.keyboard.press("Home");
    await expectText("#replay-text", /^Step 0 of/);
    await page.click("#notice-reset");
    await page.click("#sliding summary");
    await page.click("[name=padding][value=VALID]");
    await expectText("#sliding-text", /^Output: 26 × 26/);
    await page.evaluate("scrollTo(0, 0)");
  });
  await step("clears", async () => {
    await page.click("#clear");
    await expectNumber(/^\?$/);
  });
  await step("undoes", async () => {
    await page.click("#undo");
    await expectNumber(/^7$/);
    await page.keyboard.press("Escape");
    await expectNumber(/^\?$/);
  });
  await step("draws with the keyboard", async () => {
    await page.focus("#drawing");
    for (const key of [" ", ...Array(6).fill("ArrowDown"), " "]) await page.keyboard.press(key);
    await expectNumber(/^\d$/);
    await page.keyboard.press("Escape");
    await expectNumber(/^\?$/);
  });
  await step("fits a phone", async () => {
    await page.setViewport({ width: 360, height: 740 });
    await draw(FOUR);
    await expectNumber(/^4$/);
    assert(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"));
  });
  assert.deepEqual(problems, []);
  console.log(await browser.version());
} finally {
  await browser.close();
}
