// A window to move over the input: its size, the stride and the padding, and the output as it comes about.

import { announce } from "./announce.js";
import { PIXELS } from "./colours.js";
import { $, ARROWS, nextFrame, reducedMotion } from "./dom.js";
import { t } from "./i18n.js";
import { getShownDigit, on } from "./state.js";

const SIDE = 28;
const MARGIN = 2; // cells around the input, enough for the padding of a 5 by 5 window
const SLIDING_MS = 4000; // for all positions

const form = $("sliding-form");
let position = 0; // of the window, counted row by row
let sliding = 0; // the number of the latest animation

// The arithmetic of TensorFlow's convolutions, for one direction.
function getGeometry() {
  const data = new FormData(form);
  const [kernel, stride, padding] = [Number(data.get("kernel")), Number(data.get("stride")), data.get("padding")];
  const output = padding === "SAME" ? Math.ceil(SIDE / stride) : Math.floor((SIDE - kernel) / stride) + 1;
  const covered = (output - 1) * stride + kernel;
  const padded = padding === "SAME" ? Math.max(covered - SIDE, 0) : 0;
  const before = Math.floor(padded / 2);
  return { kernel, stride, padding, output, before, after: padded - before, lost: Math.max(0, SIDE - covered) };
}

function getImage() {
  const digit = getShownDigit();
  return digit ? digit.image : null;
}

// The mean of the window's pixels, 0 for those of the padding.
function computeMean(image, { kernel, stride, before, output }, index) {
  const [top, left] = [Math.floor(index / output) * stride - before, (index % output) * stride - before];
  let sum = 0;
  for (let y = top; y < top + kernel; y++) {
    for (let x = left; x < left + kernel; x++) sum += image && image[y] && image[y][x] ? image[y][x] : 0;
  }
  return sum / kernel ** 2;
}

function setUp(canvas, cells) {
  const side = Math.round(canvas.clientWidth * devicePixelRatio);
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const scale = side / cells;
  const fill = (x, y, value) => {
    const [red, green, blue] = PIXELS[Math.round(value)];
    context.fillStyle = `rgb(${red} ${green} ${blue})`;
    context.fillRect(Math.floor(x * scale), Math.floor(y * scale), Math.ceil(scale), Math.ceil(scale));
  };
  return { context, scale, fill, style: getComputedStyle(canvas) };
}

function draw() {
  const canvas = $("sliding-input");
  if (!canvas.clientWidth) return;
  const geometry = getGeometry();
  const { kernel, stride, output, before, after, lost } = geometry;
  position = Math.min(position, output ** 2 - 1);
  const image = getImage();
  const row = Math.floor(position / output), column = position % output;

  const { context, scale, fill, style } = setUp(canvas, SIDE + 2 * MARGIN);
  for (let y = 0; y < SIDE; y++) for (let x = 0; x < SIDE; x++) fill(x + MARGIN, y + MARGIN, image ? image[y][x] : 0);
  context.lineWidth = devicePixelRatio;
  context.strokeStyle = style.color;
  const padded = SIDE + before + after;
  context.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  const edge = (MARGIN - before) * scale;
  if (before + after) context.strokeRect(edge, edge, padded * scale, padded * scale);
  context.setLineDash([]);
  if (lost) { // the rows and columns that no window reaches
    context.fillStyle = style.accentColor;
    context.globalAlpha = 0.45;
    context.fillRect((MARGIN + SIDE - lost) * scale, MARGIN * scale, lost * scale, SIDE * scale);
    context.fillRect(MARGIN * scale, (MARGIN + SIDE - lost) * scale, (SIDE - lost) * scale, lost * scale);
    context.globalAlpha = 1;
  }
  Object.assign(context, { strokeStyle: style.accentColor, lineWidth: 2 * devicePixelRatio });
  const corner = (index) => (index * stride - before + MARGIN) * scale;
  context.strokeRect(corner(column), corner(row), kernel * scale, kernel * scale);

  // The output, at the input's scale, as far as the window has come.
  const result = setUp($("sliding-output"), SIDE + 2 * MARGIN);
  result.context.lineWidth = devicePixelRatio;
  result.context.strokeStyle = style.color;
  result.context.strokeRect(MARGIN * scale, MARGIN * scale, output * scale, output * scale);
  for (let index = 0; index <= position; index++) {
    const [x, y] = [index % output, Math.floor(index / output)];
    result.fill(x + MARGIN, y + MARGIN, computeMean(image, geometry, index));
  }
  Object.assign(result.context, { strokeStyle: style.accentColor, lineWidth: 2 * devicePixelRatio });
  result.context.strokeRect((column + MARGIN) * scale, (row + MARGIN) * scale, scale, scale);
  describe(geometry, row, column);
}

function describe(geometry, row, column) {
  const { kernel, stride, padding, output, before, after, lost } = geometry;
  const values = { ...geometry, row: row + 1, column: column + 1, covered: SIDE - lost, fewer: kernel - 1 };
  const parts = [t(padding === "SAME" ? "sliding.same" : "sliding.valid", values)];
  if (before + after) parts.push(t(before === after ? "sliding.padded" : "sliding.uneven", values));
  if (lost) parts.push(t("sliding.lost", values));
  else if (padding === "VALID" && stride === 1) parts.push(t("sliding.smaller", values));
  const text = parts.join(" ");
  if ($("sliding-text").textContent !== text) $("sliding-text").textContent = text;
  $("sliding-input").setAttribute("aria-label", t("sliding.position", values));
}

function moveTo(row, column) {
  const { output } = getGeometry();
  const limit = (index) => Math.max(0, Math.min(output - 1, index));
  sliding += 1;
  position = limit(row) * output + limit(column);
  draw();
}

function followPointer(event) {
  const { left, top, width } = $("sliding-input").getBoundingClientRect();
  const { kernel, stride, before } = getGeometry();
  const toIndex = (distance) => {
    const cell = (distance / width) * (SIDE + 2 * MARGIN) - MARGIN;
    return Math.round((cell - kernel / 2 + before) / stride);
  };
  moveTo(toIndex(event.clientY - top), toIndex(event.clientX - left));
}

async function slide() {
  const own = (sliding += 1);
  const { output } = getGeometry();
  const started = performance.now();
  position = reducedMotion.matches ? output ** 2 - 1 : 0;
  while (own === sliding) {
    draw();
    if (position >= output ** 2 - 1) return;
    await nextFrame();
    position = Math.floor((output ** 2 - 1) * Math.min(1, (performance.now() - started) / SLIDING_MS));
  }
}

const canvas = $("sliding-input");
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  followPointer(event);
});
canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && followPointer(event));
canvas.addEventListener("keydown", (event) => {
  if (!(event.key in ARROWS) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const { output } = getGeometry();
  const [right, down] = ARROWS[event.key];
  moveTo(Math.floor(position / output) + down, (position % output) + right);
  announce(canvas.getAttribute("aria-label"));
});
form.addEventListener("change", () => {
  sliding += 1;
  position = Infinity; // all of the output
  draw();
});
form.addEventListener("submit", (event) => event.preventDefault());
$("slide").addEventListener("click", slide);
new ResizeObserver(draw).observe(canvas);
on("shown language", draw);
