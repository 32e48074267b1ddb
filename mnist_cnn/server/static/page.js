"use strict";

// Three parts: what is drawn, what the server answers to it, and what is shown of the answer.

const $ = (id) => document.getElementById(id);
const frame = () => new Promise(requestAnimationFrame);

// --- What is drawn: strokes, each a list of points [x, y] in 0..1 ---

const PEN = 0.075; // its width, of the paper's: in 20 x 20 pixels the strokes are MNIST's, about 2 wide
const PICTURE = 280, MARGIN = 28; // pixels sent, of which white on each side, since the border tells the background

const paper = $("paper");
let strokes = [];
const before = []; // what undo brings back: `strokes` before each change
let changes = 0;
let removal = 0; // the change that last took something away

function change(next) {
  before.push(strokes);
  replace(next);
}

function undo() {
  if (before.length) replace(before.pop());
}

function clear() {
  if (!strokes.length) return;
  change([]);
  haunt();
}

function replace(next) {
  if (next.length <= strokes.length) removal = changes + 1;
  strokes = next;
  changed();
}

function changed() {
  changes += 1;
  document.body.classList.toggle("blank", !strokes.length);
  $("undo").setAttribute("aria-disabled", !before.length);
  $("clear").setAttribute("aria-disabled", !strokes.length);
  redraw();
  ask();
}

function trace(context, side, colour) {
  Object.assign(context, { strokeStyle: colour, lineWidth: PEN * side, lineCap: "round", lineJoin: "round" });
  for (const stroke of strokes) {
    context.beginPath();
    let [x, y] = stroke[0];
    context.moveTo(x * side, y * side);
    for (const [nextX, nextY] of stroke) {
      // Through the middle between two points, bent by the first: smooth however few the mouse has told of.
      context.quadraticCurveTo(x * side, y * side, ((x + nextX) / 2) * side, ((y + nextY) / 2) * side);
      [x, y] = [nextX, nextY];
    }
    context.lineTo(x * side + 0.01, y * side); // of no length, a dot would not be drawn everywhere
    context.stroke();
  }
}

let redrawing = false;

async function redraw() {
  if (redrawing) return;
  redrawing = true;
  await frame();
  redrawing = false;
  const side = Math.round(paper.clientWidth * devicePixelRatio);
  paper.width = paper.height = side; // which also wipes it
  const context = paper.getContext("2d");
  const style = getComputedStyle(paper);
  trace(context, side, style.color);
  if (!keyboard.shown) return;
  context.beginPath();
  context.arc(keyboard.x * side, keyboard.y * side, (PEN * side) / 2, 0, 7);
  Object.assign(context, { lineWidth: 3 * devicePixelRatio, strokeStyle: style.accentColor, fillStyle: style.accentColor });
  if (keyboard.down) context.fill();
  context.stroke();
}

// Mouse, pen and touch: one at a time, so that a resting palm draws nothing.

let pointer = null;

paper.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  pointer = event.pointerId;
  paper.setPointerCapture(pointer);
  keyboard.leave();
  change([...strokes, [place(event)]]);
});

paper.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  strokes[strokes.length - 1].push(...(events.length ? events : [event]).map(place));
  changed();
});

for (const end of ["pointerup", "pointercancel"]) {
  paper.addEventListener(end, (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    say();
  });
}

// Else Chromium takes a quick stroke for the throw of a scroll, and the next tap, on a button, for what stops it.
paper.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });

function place(event) {
  const { left, top, width } = paper.getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / width];
}

// The keyboard: a pen that moves from point to point of a grid.

const STEPS = 12, FINE = 48; // to the paper's side
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const keyboard = {
  x: 0.5,
  y: 0.25,
  down: false,
  shown: false,
  held: new Set(),

  move(step) {
    for (const arrow of this.held) {
      this.x = Math.min(1, Math.max(0, this.x + ARROWS[arrow][0] * step));
      this.y = Math.min(1, Math.max(0, this.y + ARROWS[arrow][1] * step));
    }
    if (this.down) strokes[strokes.length - 1].push([this.x, this.y]);
    if (this.down) changed();
    else redraw();
    announce(`${Math.round(this.x * 100)} across, ${Math.round(this.y * 100)} down`);
  },

  toggle() {
    this.down = !this.down;
    if (this.down) change([...strokes, [[this.x, this.y]]]);
    else redraw();
    announce(this.down ? "Pen down" : "Pen up");
    if (!this.down) say();
  },

  leave() {
    this.down = this.shown = false;
    this.held.clear();
    redraw();
  },
};

paper.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isArrow = event.key in ARROWS;
  if (!isArrow && event.key !== " ") return;
  event.preventDefault(); // the page would scroll
  keyboard.shown = true;
  if (isArrow) {
    keyboard.held.add(event.key); // two at once are a diagonal
    keyboard.move(1 / (event.shiftKey ? FINE : STEPS));
  } else if (!event.repeat) keyboard.toggle();
});
paper.addEventListener("keyup", (event) => keyboard.held.delete(event.key));
paper.addEventListener("blur", () => keyboard.leave());
paper.addEventListener("focus", () => {
  keyboard.shown = paper.matches(":focus-visible");
  redraw();
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop(clear);
  else if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    stop(undo);
  }
});
$("undo").addEventListener("click", () => stop(undo));
$("clear").addEventListener("click", () => stop(clear));

// Ends the stroke that is being drawn, which is then taken away.
function stop(takeAway) {
  pointer = null;
  keyboard.down = false;
  takeAway();
  say();
}

new ResizeObserver(redraw).observe(paper);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// --- What the server answers: asked once at a time, and then about the newest drawing ---

const PATIENCE = 10000, PAUSE = 2000; // ms, for an answer and before asking again where there was none
let asking = false;

async function ask() {
  if (asking) return;
  asking = true;
  for (let answered = 0; answered !== changes; ) {
    await frame();
    const asked = changes;
    try {
      const answer = strokes.length ? await answerTo(await picture()) : null;
      if (asked >= removal) show(answer); // else it would light up what is gone
      answered = asked;
      complain("");
    } catch (error) {
      complain(error.message);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }
  asking = false;
}

function picture() {
  const canvas = Object.assign(document.createElement("canvas"), { width: PICTURE, height: PICTURE });
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, PICTURE, PICTURE);
  context.translate(MARGIN, MARGIN);
  context.beginPath();
  context.rect(0, 0, PICTURE - 2 * MARGIN, PICTURE - 2 * MARGIN);
  context.clip(); // a stroke that goes on beside the paper is not seen there
  trace(context, PICTURE - 2 * MARGIN, "black"); // in either colour scheme
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

async function answerTo(png) {
  let response;
  try {
    response = await fetch("/v1/digits?maps=1", {
      method: "POST",
      headers: { "Content-Type": "image/png" },
      body: png,
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch (error) {
    throw new Error("No answer. Is serve.py still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `The server could not answer (status ${response.status}).`);
  return answer;
}

function complain(message) {
  const line = $("error");
  if (line.textContent !== message) line.textContent = message;
  line.hidden = !message;
}

// --- What is shown ---

const stillness = matchMedia("(prefers-reduced-motion: reduce)");
const GHOSTS = [
  "M36 28C44 18 66 20 65 35C64 46 52 48 47 48C58 48 68 53 67 66C66 82 42 83 34 71", // 3
  "M32 26H68C58 40 50 58 46 80", // 7
  "M64 25H40L37 48C46 41 66 44 66 61C66 81 42 83 34 72", // 5
  "M34 34C36 20 64 18 65 35C66 50 42 62 34 78H68", // 2
];
let ghost = -1;

function haunt() {
  ghost = (ghost + 1) % GHOSTS.length;
  $("ghost").setAttribute("d", GHOSTS[ghost]);
}

const bars = Array.from({ length: 10 }, (_, digit) => {
  const bar = $("bars").appendChild(document.createElement("li"));
  bar.innerHTML = `<span>${digit}</span><span class="bar" aria-hidden="true"><i></i></span><span></span>`;
  return bar;
});

let shown = null; // the last answer, null for a blank paper

function show(answer) {
  shown = answer;
  const read = answer && answer.class !== null ? answer : null;
  $("digit").textContent = read ? read.class : "?";
  $("digit").classList.toggle("unknown", !read);
  $("sure").textContent = read ? percent(read.probability) : answer ? "no digit yet" : "";
  bars.forEach((bar, digit) => {
    bar.querySelector("i").style.setProperty("--share", read ? read.probabilities[digit] : 0);
    bar.lastChild.textContent = read ? percent(read.probabilities[digit]) : "";
    bar.classList.toggle("winner", read !== null && digit === read.class);
  });
  showSeen(read);
  if (read) document.body.classList.toggle("mapless", !read.maps);
  for (const [name, block] of Object.entries(blocks)) block.light(read && read.maps ? read.maps[name] : null);
  if (changes && pointer === null && !keyboard.down) say();
}

function percent(share) {
  return share > 0.9995 && share < 1 ? "> 99.9 %" : `${(share * 100).toFixed(1)} %`;
}

// To screen readers: once a stroke is done and its answer there.

let saying = 0;

function announce(words) {
  clearTimeout(saying);
  $("said").textContent = words;
}

function say() {
  clearTimeout(saying);
  saying = setTimeout(() => announce(summary()), 500);
}

function summary() {
  if (!shown) return "The paper is empty.";
  if (shown.class === null) return "No digit yet.";
  const [first, second] = shown.probabilities.map((share, digit) => [share, digit]).sort(([a], [b]) => b - a);
  const rest = second[0] >= 0.05 ? `, or ${second[1]}, ${percent(second[0])}` : "";
  return `It reads ${first[1]}, ${percent(first[0])}${rest}.`;
}

// The picture and the maps.

function showSeen(answer) {
  const canvas = $("seen");
  const pixels = new ImageData(28, 28);
  pixels.data.forEach((_, i) => (pixels.data[i] = i % 4 === 3 ? 255 : answer ? answer.image[(i / 4 / 28) | 0][((i / 4) | 0) % 28] : 0));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  canvas.setAttribute("aria-label", answer ? `Your ${answer.class}, white on black, in 28 by 28 pixels` : "Nothing yet");
}

// From 0 to the largest number of a block: unlit, embers, flame, white.
const GLOW = [[0, 34, 31, 28], [0.3, 116, 49, 12], [0.65, 255, 153, 41], [1, 255, 246, 226]];

const COLOURS = Array.from({ length: 256 }, (_, value) => {
  const heat = (value / 255) ** 0.6; // most numbers are small
  const above = Math.max(1, GLOW.findIndex(([at]) => at >= heat));
  const [[low, ...from], [high, ...to]] = [GLOW[above - 1], GLOW[above]];
  return [...from.map((channel, i) => channel + ((to[i] - channel) * (heat - low)) / (high - low)), 255];
});

// All maps of a block, on one canvas, `columns` in a row with `gap` pixels between. At each frame every number goes
// `speed` of the way to its new value.
class Block {
  constructor(canvas, side, count, columns, gap, speed) {
    Object.assign(this, { canvas, side, count, columns, gap, speed });
    this.now = new Float32Array(count * side * side); // [count, side, side], in 0..255
    this.goal = new Float32Array(this.now.length);
    this.pixels = new ImageData(side, side * count);
    this.strip = Object.assign(document.createElement("canvas"), { width: side, height: side * count });
    const lengthOf = (maps) => maps * (side + gap) - gap;
    [this.width, this.height] = [lengthOf(columns), lengthOf(count / columns)];
    canvas.style.aspectRatio = `${this.width} / ${this.height}`;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // `maps` as the server sends them, [side, side, count]; null for none.
  light(maps) {
    const values = maps && Uint8Array.from(atob(maps.values), (character) => character.charCodeAt(0));
    const area = this.side ** 2;
    for (let i = 0; i < this.goal.length; i++) {
      this.goal[i] = values ? values[(i % area) * this.count + Math.floor(i / area)] : 0;
    }
    this.canvas.setAttribute("aria-label", values ? this.description() : "Nothing yet");
    this.move();
  }

  description() {
    const area = this.side ** 2;
    const largest = Array.from({ length: this.count }, (_, map) => Math.max(...this.goal.subarray(map * area, (map + 1) * area)));
    const lit = largest.filter((value) => value > 25).length;
    const brightest = largest.indexOf(Math.max(...largest)) + 1;
    return `${this.count} maps of ${this.side} by ${this.side}: ${lit} are lit, the brightest is number ${brightest}`;
  }

  async move() {
    if (this.moving) return;
    this.moving = true;
    while (this.approach()) {
      this.draw();
      await frame();
    }
    this.moving = false;
  }

  // Whether anything was still to be done.
  approach() {
    let moved = false;
    for (let i = 0; i < this.now.length; i++) {
      const way = this.goal[i] - this.now[i];
      if (way === 0) continue;
      moved = true;
      const speed = way > 0 ? this.speed : this.speed / 2; // they glow on for a moment
      this.now[i] = stillness.matches || Math.abs(way) < 2 ? this.goal[i] : this.now[i] + way * speed;
    }
    return moved;
  }

  draw() {
    const { canvas, side, count, columns, gap } = this;
    this.now.forEach((value, i) => this.pixels.data.set(COLOURS[Math.round(value)], 4 * i));
    this.strip.getContext("2d").putImageData(this.pixels, 0, 0);
    const dot = (canvas.clientWidth * devicePixelRatio) / this.width;
    canvas.width = Math.round(dot * this.width);
    canvas.height = Math.round(dot * this.height);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    const size = Math.round(side * dot);
    for (let map = 0; map < count; map++) {
      const x = (map % columns) * (side + gap) * dot, y = Math.floor(map / columns) * (side + gap) * dot;
      context.drawImage(this.strip, 0, map * side, side, side, Math.round(x), Math.round(y), size, size);
    }
  }
}

// The second block follows the first a little later, as in the network.
const blocks = {
  conv1: new Block($("conv1"), 14, 32, 8, 1, 0.35),
  conv2: new Block($("conv2"), 7, 64, 16, 0.5, 0.25),
};

haunt();
show(null);
