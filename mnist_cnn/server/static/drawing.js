// The drawing: strokes by mouse, pen, touch or keyboard, over the picture of a test digit if one was chosen.

import { announce } from "./announce.js";
import { $, ARROWS, nextFrame } from "./dom.js";
import { t } from "./i18n.js";
import { emit, isBlank, on, state } from "./state.js";

const PEN_WIDTH = 0.05; // fraction of the drawing's side: six digits fit beside each other, and do not touch
const PNG_SIDE = 560; // pixels: even a sixth of it has enough for a digit
export const PNG_MARGIN = 56; // pixels of white on each side: the server finds the background's colour at the border
export const PNG_DRAWN = PNG_SIDE - 2 * PNG_MARGIN;
const THICK_PEN = 0.09; // for 28 by 28 pixels without centring: as wide as MNIST's strokes

const canvas = $("drawing");
const undoStack = []; // the drawing before each change

function commit(drawing) {
  undoStack.push(state.drawing);
  setDrawing(drawing);
}

function undo() {
  if (undoStack.length) setDrawing(undoStack.pop());
}

export function clear() {
  if (isBlank()) return;
  commit({ strokes: [], picture: null });
  showNextExample();
}

export function showPicture(picture) {
  endStrokeAnd(() => commit({ strokes: [], picture }));
}

function setDrawing(drawing) {
  const { strokes, picture } = state.drawing;
  if (drawing.strokes.length <= strokes.length || drawing.picture !== picture) state.lastRemoval = state.revision + 1;
  state.drawing = drawing;
  handleChange();
}

function addStroke(point) {
  const { strokes, picture } = state.drawing;
  commit({ strokes: [...strokes, [point]], picture });
}

function extendStroke(points) {
  const { strokes } = state.drawing;
  strokes[strokes.length - 1].push(...points);
  handleChange();
}

function handleChange() {
  state.revision += 1;
  document.body.classList.toggle("blank", isBlank());
  $("undo").setAttribute("aria-disabled", !undoStack.length);
  $("clear").setAttribute("aria-disabled", isBlank());
  redraw();
  emit("drawing");
}

function drawStrokes(context, strokes, side, colour, width = PEN_WIDTH) {
  Object.assign(context, { strokeStyle: colour, lineWidth: width * side, lineCap: "round", lineJoin: "round" });
  for (const stroke of strokes) {
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

// Draws 28 rows of 28 pixels in 0..255, white on black, in a colour on what is there.
function drawPicture(context, { image }, side, colour) {
  context.fillStyle = colour;
  image.forEach((row, y) => row.forEach((value, x) => {
    context.globalAlpha = value / 255;
    const [left, top, right, bottom] = [x, y, x + 1, y + 1].map((edge) => Math.round((edge * side) / 28));
    context.fillRect(left, top, right - left, bottom - top);
  }));
  context.globalAlpha = 1;
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
  const { strokes, picture } = state.drawing;
  if (picture) drawPicture(context, picture, side, style.color);
  drawStrokes(context, strokes, side, style.color);
  if (!keyboardPen.visible) return;
  context.beginPath();
  context.arc(keyboardPen.x * side, keyboardPen.y * side, (PEN_WIDTH * side) / 2, 0, 7);
  const colour = style.accentColor;
  Object.assign(context, { lineWidth: 3 * devicePixelRatio, strokeStyle: colour, fillStyle: colour });
  if (keyboardPen.down) context.fill();
  context.stroke();
}

// Returns the drawing, or some strokes of it without the picture, as a PNG file.
export function renderPng(strokes = null) {
  const png = Object.assign(document.createElement("canvas"), { width: PNG_SIDE, height: PNG_SIDE });
  const context = png.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, PNG_SIDE, PNG_SIDE);
  context.translate(PNG_MARGIN, PNG_MARGIN);
  context.beginPath();
  context.rect(0, 0, PNG_DRAWN, PNG_DRAWN);
  context.clip(); // parts of a stroke outside the drawing area are not visible on the page either
  if (!strokes && state.drawing.picture) drawPicture(context, state.drawing.picture, PNG_DRAWN, "black");
  drawStrokes(context, strokes || state.drawing.strokes, PNG_DRAWN, "black"); // black on white in both colour schemes
  // Not with toBlob(): while the page is idle, Chromium 156 calls back a second later, or never.
  const content = atob(png.toDataURL("image/png").split(",")[1]);
  return new Blob([Uint8Array.from(content, (byte) => byte.charCodeAt(0))], { type: "image/png" });
}

// Returns the drawing area as it stands in 28 rows of 28 pixels in 0..255, white on black.
export function renderPixels() {
  const pixels = Object.assign(document.createElement("canvas"), { width: 28, height: 28 });
  const context = pixels.getContext("2d");
  context.fillStyle = "black";
  context.fillRect(0, 0, 28, 28);
  if (state.drawing.picture) drawPicture(context, state.drawing.picture, 28, "white");
  drawStrokes(context, state.drawing.strokes, 28, "white", THICK_PEN);
  const { data } = context.getImageData(0, 0, 28, 28);
  return Array.from({ length: 28 }, (_, y) => Array.from({ length: 28 }, (_, x) => data[4 * (28 * y + x)]));
}

// Mouse, pen and touch. Only one pointer draws at a time, so that a palm on the screen draws nothing.

let activePointer = null;

canvas.addEventListener("pointerdown", (event) => {
  if (activePointer !== null || event.button !== 0) return;
  activePointer = event.pointerId;
  state.busy = true;
  canvas.setPointerCapture(activePointer);
  keyboardPen.hide();
  addStroke(getPoint(event));
});

canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== activePointer) return;
  if (!event.buttons) { // a menu or a dialog took the release
    activePointer = null;
    return endStroke();
  }
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  extendStroke((events.length ? events : [event]).map(getPoint));
});

for (const type of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(type, (event) => {
    if (event.pointerId !== activePointer) return;
    activePointer = null;
    endStroke();
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
    if (this.down) extendStroke([[this.x, this.y]]);
    else redraw();
    announce(t("pen.position", { x: Math.round(this.x * 100), y: Math.round(this.y * 100) }));
  },

  toggle() {
    this.down = state.busy = !this.down;
    if (this.down) addStroke([this.x, this.y]);
    else redraw();
    announce(t(this.down ? "pen.down" : "pen.up"));
    if (!this.down) endStroke();
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
canvas.addEventListener("blur", () => {
  if (keyboardPen.down) state.busy = false;
  keyboardPen.hide();
});
canvas.addEventListener("focus", () => {
  keyboardPen.visible = canvas.matches(":focus-visible");
  redraw();
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.defaultPrevented) endStrokeAnd(clear);
  else if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    endStrokeAnd(undo);
  }
});
$("undo").addEventListener("click", () => endStrokeAnd(undo));
$("clear").addEventListener("click", () => endStrokeAnd(clear));

function endStroke() {
  state.busy = false;
  emit("stroke");
}

// Ends the stroke in progress, then calls `change`.
function endStrokeAnd(change) {
  activePointer = null;
  keyboardPen.down = state.busy = false;
  change();
  endStroke();
}

// While the drawing area is empty, digits are drawn in it as examples.

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

new ResizeObserver(redraw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
on("language", redraw);
showNextExample();
