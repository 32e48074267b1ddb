"use strict";

// In four parts: the drawing, the requests to the server, the display of its response, corrections of it.

const $ = (id) => document.getElementById(id);
const nextFrame = () => new Promise(requestAnimationFrame);

// --- The drawing: a list of strokes, each a list of points [x, y] in 0..1 ---

const PEN_WIDTH = 0.05; // fraction of the drawing's side: six digits fit beside each other, and do not touch
const PNG_SIDE = 560; // pixels: even a sixth of it has enough for a digit
const PNG_MARGIN = 56; // pixels of white on each side: the server finds the background's colour at the border

const canvas = $("drawing");
let strokes = [];
const undoStack = []; // the value of `strokes` before each change
let revision = 0; // the number of changes so far
let lastRemoval = 0; // the revision that last removed anything

function commitStrokes(next) {
  undoStack.push(strokes);
  setStrokes(next);
}

function undo() {
  if (undoStack.length) setStrokes(undoStack.pop());
}

function clear() {
  if (!strokes.length) return;
  commitStrokes([]);
  showNextExample();
}

function setStrokes(next) {
  if (next.length <= strokes.length) lastRemoval = revision + 1;
  strokes = next;
  handleChange();
}

function handleChange() {
  revision += 1;
  document.body.classList.toggle("blank", !strokes.length);
  $("undo").setAttribute("aria-disabled", !undoStack.length);
  $("clear").setAttribute("aria-disabled", !strokes.length);
  redraw();
  requestPrediction();
}

function drawStrokes(context, drawn, side, colour) {
  Object.assign(context, { strokeStyle: colour, lineWidth: PEN_WIDTH * side, lineCap: "round", lineJoin: "round" });
  for (const stroke of drawn) {
    context.beginPath();
    let [x, y] = stroke[0];
    context.moveTo(x * side, y * side);
    for (const [nextX, nextY] of stroke) {
      // Curves between the midpoints of the segments: smooth even if the mouse reports few points.
      context.quadraticCurveTo(x * side, y * side, ((x + nextX) / 2) * side, ((y + nextY) / 2) * side);
      [x, y] = [nextX, nextY];
    }
    context.lineTo(x * side + 0.01, y * side); // some browsers do not draw a line of length 0: a dot would be missing
    context.stroke();
  }
}

let redrawPending = false;

async function redraw() {
  if (redrawPending) return;
  redrawPending = true;
  await nextFrame();
  redrawPending = false;
  const side = Math.round(canvas.clientWidth * devicePixelRatio);
  canvas.width = canvas.height = side; // also clears the canvas
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  drawStrokes(context, strokes, side, style.color);
  if (!keyboardPen.visible) return;
  context.beginPath();
  context.arc(keyboardPen.x * side, keyboardPen.y * side, (PEN_WIDTH * side) / 2, 0, 7);
  const colour = style.accentColor;
  Object.assign(context, { lineWidth: 3 * devicePixelRatio, strokeStyle: colour, fillStyle: colour });
  if (keyboardPen.down) context.fill();
  context.stroke();
}

// Mouse, pen and touch. Only one pointer draws at a time, so that a palm on the screen draws nothing.

let activePointer = null;

canvas.addEventListener("pointerdown", (event) => {
  if (activePointer !== null || event.button !== 0) return;
  activePointer = event.pointerId;
  canvas.setPointerCapture(activePointer);
  keyboardPen.hide();
  commitStrokes([...strokes, [getPoint(event)]]);
});

canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== activePointer) return;
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  strokes[strokes.length - 1].push(...(events.length ? events : [event]).map(getPoint));
  handleChange();
});

for (const type of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(type, (event) => {
    if (event.pointerId !== activePointer) return;
    activePointer = null;
    announceSummary();
  });
}

// Without this, Chromium takes a quick stroke for a fling, and uses the next tap, even on a button, to stop the scroll.
canvas.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });

function getPoint(event) {
  const { left, top, width } = canvas.getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / width];
}

// The keyboard moves a pen on a grid.

const STEPS = 12, SMALL_STEPS = 48; // steps per side of the drawing
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const keyboardPen = {
  x: 0.5,
  y: 0.25,
  down: false,
  visible: false,
  heldArrows: new Set(),

  move(distance) {
    for (const arrow of this.heldArrows) {
      this.x = Math.min(1, Math.max(0, this.x + ARROWS[arrow][0] * distance));
      this.y = Math.min(1, Math.max(0, this.y + ARROWS[arrow][1] * distance));
    }
    if (this.down) strokes[strokes.length - 1].push([this.x, this.y]);
    if (this.down) handleChange();
    else redraw();
    announce(`${Math.round(this.x * 100)} across, ${Math.round(this.y * 100)} down`);
  },

  toggle() {
    this.down = !this.down;
    if (this.down) commitStrokes([...strokes, [[this.x, this.y]]]);
    else redraw();
    announce(this.down ? "Pen down" : "Pen up");
    if (!this.down) announceSummary();
  },

  hide() {
    this.down = this.visible = false;
    this.heldArrows.clear();
    redraw();
  },
};

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isArrow = event.key in ARROWS;
  if (!isArrow && event.key !== " ") return;
  event.preventDefault(); // these keys scroll the page by default
  keyboardPen.visible = true;
  if (isArrow) {
    keyboardPen.heldArrows.add(event.key); // two held arrows make a diagonal
    keyboardPen.move(1 / (event.shiftKey ? SMALL_STEPS : STEPS));
  } else if (!event.repeat) keyboardPen.toggle();
});
canvas.addEventListener("keyup", (event) => keyboardPen.heldArrows.delete(event.key));
canvas.addEventListener("blur", () => keyboardPen.hide());
canvas.addEventListener("focus", () => {
  keyboardPen.visible = canvas.matches(":focus-visible");
  redraw();
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape") endStrokeAnd(clear);
  else if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    endStrokeAnd(undo);
  }
});
$("undo").addEventListener("click", () => endStrokeAnd(undo));
$("clear").addEventListener("click", () => endStrokeAnd(clear));

// Ends the stroke in progress, then calls `removeStrokes`.
function endStrokeAnd(removeStrokes) {
  activePointer = null;
  keyboardPen.down = false;
  removeStrokes();
  announceSummary();
}

new ResizeObserver(redraw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// --- The requests to the server: one at a time, each for the latest revision ---

const REQUEST_TIMEOUT_MS = 10000;
const RETRY_DELAY_MS = 2000;
let requesting = false;

async function requestPrediction() {
  if (requesting) return;
  requesting = true;
  for (let shownRevision = 0; shownRevision !== revision; ) {
    await nextFrame();
    const requestedRevision = revision;
    try {
      const response = strokes.length ? await fetchPrediction(await renderPng()) : null;
      // A response to a drawing that has since lost strokes would show a digit that is no longer there.
      if (requestedRevision >= lastRemoval) showPrediction(response);
      shownRevision = requestedRevision;
      showError("");
    } catch (error) {
      showError(error.message);
      await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
    }
  }
  requesting = false;
}

// The drawing, or some strokes of it, as a PNG file.
function renderPng(drawn = strokes) {
  const png = Object.assign(document.createElement("canvas"), { width: PNG_SIDE, height: PNG_SIDE });
  const side = PNG_SIDE - 2 * PNG_MARGIN;
  const context = png.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, PNG_SIDE, PNG_SIDE);
  context.translate(PNG_MARGIN, PNG_MARGIN);
  context.beginPath();
  context.rect(0, 0, side, side);
  context.clip(); // parts of a stroke outside the drawing area are not visible on the page either
  drawStrokes(context, drawn, side, "black"); // black on white in both colour schemes
  return new Promise((resolve) => png.toBlob(resolve, "image/png"));
}

const fetchPrediction = (png) => post("v1/digits?maps=1", png);

async function post(path, png) {
  let response;
  try {
    response = await fetch(document.body.dataset.base + path, {
      method: "POST",
      headers: { "Content-Type": "image/png" },
      body: png,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
  } catch (error) {
    throw new Error("The server does not respond.");
  }
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(content.error || `The server returned an error (status ${response.status}).`);
  return content;
}

function showError(message) {
  const line = $("error");
  if (line.textContent !== message) line.textContent = message;
  line.hidden = !message;
}

// --- The display ---

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
const EXAMPLES = [
  "M36 28C44 18 66 20 65 35C64 46 52 48 47 48C58 48 68 53 67 66C66 82 42 83 34 71", // 3
  "M26 30L12 56H41M33 43L31 72M57 39C60 25 83 26 81 42C79 54 62 62 56 71H86", // 42
  "M32 26H68C58 40 50 58 46 80", // 7
  "M64 25H40L37 48C46 41 66 44 66 61C66 81 42 83 34 72", // 5
  "M34 34C36 20 64 18 65 35C66 50 42 62 34 78H68", // 2
];
let example = -1;

function showNextExample() {
  if (!$("example")) return; // the classes are not digits
  example = (example + 1) % EXAMPLES.length;
  $("example").setAttribute("d", EXAMPLES[example]);
}

const NAMES = JSON.parse(document.body.dataset.names); // of the classes
const KIND = document.body.dataset.kind; // of what a class is: a digit, another character, or a picture

// One bar for each digit. Of other data, the ten most probable classes.
const bars = NAMES.slice(0, 10).map(() => {
  const bar = $("bars").appendChild(document.createElement("li"));
  bar.innerHTML = `<span></span><span class="bar" aria-hidden="true"><i></i></span><span></span>`;
  return bar;
});

function rankClasses(probabilities) {
  return [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
}

let shownResponse = null; // the latest response; null if the drawing is empty
let shownDigit = -1; // the index of one of its digits

function showPrediction(response) {
  shownResponse = response;
  const { text, digits } = response || { text: "", digits: [] };
  $("number").classList.toggle("unknown", !text);
  $("probability").textContent = text ? formatPercent(response.probability) : response ? `no ${KIND} yet` : "";
  document.querySelector(".prediction").classList.toggle("several", digits.length > 1);
  if (digits.length > 1) showDigitButtons(text);
  else $("number").textContent = text || "?";
  $("number").style.setProperty("--length", Math.max(1, text.length));
  document.querySelector(".prediction").classList.toggle("words", KIND === "picture");
  showDigit(digits.length - 1); // in most cases the digit that was drawn last
  if (revision && activePointer === null && !keyboardPen.down) announceSummary();
}

// The digits of a number are buttons that choose the digit to show. A button is kept while the text changes, so that it
// keeps the focus.
function showDigitButtons(text) {
  const number = $("number");
  if (!number.firstElementChild) number.textContent = "";
  while (number.children.length > text.length) number.lastChild.remove();
  while (number.children.length < text.length) {
    const index = number.children.length;
    const button = number.appendChild(Object.assign(document.createElement("button"), { type: "button" }));
    button.addEventListener("click", () => {
      showDigit(index);
      announce(describeDigit(index));
    });
  }
  number.style.setProperty("--length", text.length);
  [...number.children].forEach((button, index) => {
    button.textContent = text[index];
    button.setAttribute("aria-label", `${text[index]}, ${KIND} ${index + 1} of ${text.length}`);
  });
}

// Shows the probabilities, the network's input and its maps for one digit of the latest response; none for index -1.
function showDigit(index) {
  shownDigit = index;
  const digits = shownResponse ? shownResponse.digits : [];
  const prediction = index < 0 ? null : digits[index];
  [...$("number").children].forEach((button, i) => button.setAttribute("aria-pressed", i === index));
  const position = digits.length > 1 ? ` at position ${index + 1} of ${digits.length}` : "";
  $("bars").setAttribute("aria-label", `Probability of each ${KIND}${position}`);
  const ranked = prediction ? rankClasses(prediction.probabilities) : [...NAMES.keys()];
  const shown = ranked.slice(0, bars.length).sort((a, b) => a - b);
  bars.forEach((bar, row) => {
    const index = shown[row];
    bar.firstChild.textContent = NAMES[index];
    bar.querySelector("i").style.setProperty("--probability", prediction ? prediction.probabilities[index] : 0);
    bar.lastChild.textContent = prediction ? formatPercent(prediction.probabilities[index]) : "";
    bar.classList.toggle("winner", prediction !== null && index === prediction.class);
  });
  showInput(prediction);
  const maps = prediction && (digits.length > 1 ? prediction : shownResponse).maps;
  const hasMaps = Boolean(maps) && Object.entries(mapViews).every(([layer, view]) => view.fits(maps[layer]));
  if (prediction) document.body.classList.toggle("without-maps", !hasMaps);
  for (const [layer, view] of Object.entries(mapViews)) view.setMaps(hasMaps ? maps[layer] : null);
  showCorrection();
}

function formatPercent(probability) {
  return probability > 0.9995 ? "> 99.9 %" : `${(probability * 100).toFixed(1)} %`;
}

// Announcements to screen readers. The summary follows the end of a stroke and its response.

let announcementTimer = 0;

function announce(text) {
  clearTimeout(announcementTimer);
  $("status").textContent = text;
}

function announceSummary() {
  clearTimeout(announcementTimer);
  announcementTimer = setTimeout(() => announce(getSummary()), 500);
}

function getSummary() {
  if (!shownResponse) return "The drawing area is empty.";
  const { text, digits, probability } = shownResponse;
  if (!text) return `No ${KIND} yet.`;
  if (digits.length === 1) return `Prediction: ${describeDigit(0)}`;
  return `Prediction: ${[...text].join(" ")}, ${formatPercent(probability)}.`; // a zero at the start is read out too
}

function describeDigit(index) {
  const { probabilities } = shownResponse.digits[index];
  const [first, second] = rankClasses(probabilities);
  const describe = (number) => `${NAMES[number]}, ${formatPercent(probabilities[number])}`;
  return `${describe(first)}${probabilities[second] >= 0.05 ? `, or ${describe(second)}` : ""}.`;
}

// The network's input and its feature maps.

function showInput(prediction) {
  const input = $("input");
  const image = prediction ? prediction.image.flat() : new Array(28 * 28).fill(0);
  const pixels = new ImageData(28, 28);
  image.forEach((value, i) => pixels.data.set([value, value, value, 255], 4 * i));
  input.getContext("2d").putImageData(pixels, 0, 0);
  const { colours } = document.body.dataset;
  const label = prediction ? `Your ${NAMES[prediction.class]}, ${colours}, in 28 by 28 pixels` : "Empty";
  input.setAttribute("aria-label", label);
}

// Colours [position, red, green, blue] between which values from 0 to a layer's largest are interpolated.
const COLOUR_STOPS = [[0, 34, 31, 28], [0.3, 116, 49, 12], [0.65, 255, 153, 41], [1, 255, 246, 226]];

const COLOURS = Array.from({ length: 256 }, (_, value) => {
  const position = (value / 255) ** 0.6; // most values are small: this spreads them out
  const above = Math.max(1, COLOUR_STOPS.findIndex(([stop]) => stop >= position));
  const [[low, ...from], [high, ...to]] = [COLOUR_STOPS[above - 1], COLOUR_STOPS[above]];
  return [...from.map((channel, i) => channel + ((to[i] - channel) * (position - low)) / (high - low)), 255];
});

const ACTIVE = 25; // a map is active if its largest value is above this, a tenth of the layer's largest

// All maps of a layer on one canvas, with `columns` maps in a row and `gap` pixels between them. In each frame, every
// shown value moves the fraction `speed` of its distance to the new value.
class MapView {
  constructor(canvas, side, count, columns, gap, speed) {
    Object.assign(this, { canvas, side, count, columns, gap, speed });
    this.shown = new Float32Array(count * side * side); // [count, side, side], in 0..255
    this.target = new Float32Array(this.shown.length);
    this.pixels = new ImageData(side, side * count);
    this.strip = Object.assign(document.createElement("canvas"), { width: side, height: side * count });
    const getLength = (maps) => maps * (side + gap) - gap;
    [this.width, this.height] = [getLength(columns), getLength(count / columns)];
    canvas.style.aspectRatio = `${this.width} / ${this.height}`;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // Whether `maps` is there and has this view's shape: other networks have other layers.
  fits(maps) {
    return maps !== undefined && maps.shape.join() === [this.side, this.side, this.count].join();
  }

  // `maps` is in the server's format, its values of shape [side, side, count]; null shows zeros.
  setMaps(maps) {
    const values = maps && Uint8Array.from(atob(maps.values), (character) => character.charCodeAt(0));
    const area = this.side ** 2;
    for (let i = 0; i < this.target.length; i++) {
      this.target[i] = values ? values[(i % area) * this.count + Math.floor(i / area)] : 0;
    }
    this.canvas.setAttribute("aria-label", values ? this.describe() : "Empty");
    this.animate();
  }

  describe() {
    const { side, count } = this;
    const getValues = (map) => this.target.subarray(map * side ** 2, (map + 1) * side ** 2);
    const largest = Array.from({ length: count }, (_, map) => Math.max(...getValues(map)));
    const active = largest.filter((value) => value > ACTIVE).length;
    const brightest = largest.indexOf(Math.max(...largest)) + 1;
    return `${count} maps of ${side} by ${side}: ${active} are active, the brightest is number ${brightest}`;
  }

  async animate() {
    if (this.animating) return;
    this.animating = true;
    while (this.approachTarget()) {
      this.draw();
      await nextFrame();
    }
    this.animating = false;
  }

  // Moves the shown values towards the target. Returns false if they had reached it already.
  approachTarget() {
    let moved = false;
    for (let i = 0; i < this.shown.length; i++) {
      const distance = this.target[i] - this.shown[i];
      if (distance === 0) continue;
      moved = true;
      const speed = distance > 0 ? this.speed : this.speed / 2; // fading out is slower
      const jump = reducedMotion.matches || Math.abs(distance) < 2;
      this.shown[i] = jump ? this.target[i] : this.shown[i] + distance * speed;
    }
    return moved;
  }

  draw() {
    const { canvas, side, count, columns, gap } = this;
    this.shown.forEach((value, i) => this.pixels.data.set(COLOURS[Math.round(value)], 4 * i));
    this.strip.getContext("2d").putImageData(this.pixels, 0, 0);
    const scale = (canvas.clientWidth * devicePixelRatio) / this.width;
    canvas.width = Math.round(scale * this.width);
    canvas.height = Math.round(scale * this.height);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    const size = Math.round(side * scale);
    for (let map = 0; map < count; map++) {
      const x = (map % columns) * (side + gap) * scale, y = Math.floor(map / columns) * (side + gap) * scale;
      context.drawImage(this.strip, 0, map * side, side, side, Math.round(x), Math.round(y), size, size);
    }
  }
}

// The second layer is slower, so that it visibly follows the first, as in the network.
const mapViews = {
  pool1: new MapView($("pool1"), 14, 32, 8, 1, 0.35),
  pool2: new MapView($("pool2"), 7, 64, 16, 0.5, 0.25),
};

// --- Corrections: they are on the page only if the server saves them ---

const correction = $("correction");
let saving = false;

const isPart = () => shownResponse.digits.length > 1 && !$("whole").checked;

function showCorrection() {
  if (!correction) return;
  correction.hidden = !shownResponse;
  if (!shownResponse) return;
  $("saved").textContent = "";
  const count = shownResponse.digits.length;
  $("whole").parentElement.hidden = count < 2;
  const part = `${KIND[0].toUpperCase()}${KIND.slice(1)} ${shownDigit + 1} of ${count}`;
  $("wrong").textContent = `${isPart() ? part : "That"} is wrong`;
}

// The strokes of the shown digit, those nearest to it from left to right; all if it is the only digit.
function getWrongStrokes() {
  if (!isPart()) return strokes;
  const side = PNG_SIDE - 2 * PNG_MARGIN;
  const centres = shownResponse.digits.map(({ box }) => ((box[0] + box[2]) / 2 - PNG_MARGIN) / side);
  return strokes.filter((stroke) => {
    const across = stroke.map(([x]) => x);
    const centre = (Math.min(...across) + Math.max(...across)) / 2;
    const distances = centres.map((other) => Math.abs(other - centre));
    return distances.indexOf(Math.min(...distances)) === shownDigit;
  });
}

async function saveCorrection(name) {
  const drawn = getWrongStrokes();
  if (!drawn.length) throw new Error(`To correct this ${KIND}, draw it alone.`);
  const { file } = await post(`corrections/${encodeURIComponent(name)}`, await renderPng(drawn));
  showError("");
  correction.open = $("whole").checked = false;
  if (drawn === strokes) {
    clear();
    canvas.scrollIntoView({ block: "nearest" }); // for the next drawing
  } else showCorrection();
  $("saved").textContent = `Saved as ${file}.`;
}

if (correction) {
  $("whole").addEventListener("change", showCorrection);
  correction.addEventListener("toggle", () => correction.scrollIntoView({ block: "nearest" }));
  [...$("names").children].forEach((button, index) => {
    button.addEventListener("click", async () => {
      if (saving) return;
      saving = true;
      await saveCorrection(NAMES[index]).catch((error) => showError(error.message));
      saving = false;
    });
  });
}

showNextExample();
showPrediction(null);
