// The network's layers for the shown digit: its input, the maps of both blocks, the dense units and the outputs.

import { announce } from "./announce.js";
import { ACTIVATIONS, PIXELS } from "./colours.js";
import { $, ARROWS, formatPercent, make, makeButton, nextFrame, reducedMotion } from "./dom.js";
import { t, tKind } from "./i18n.js";
import { rankClasses } from "./prediction.js";
import { getShownDigit, NAMES, on, RESIZED, select, state } from "./state.js";

const ACTIVE = 25; // a map is active if its largest value is above this, a tenth of the layer's largest

// All maps of a layer on one canvas, with `columns` maps in a row and `gap` pixels between them. In each frame, every
// shown value moves the fraction `speed` of its distance to the new value.
export class MapView {
  constructor(canvas, { side, count, columns, gap = 0, speed = 1, colours = ACTIVATIONS, zero = 0 }) {
    Object.assign(this, { canvas, side, count, columns, gap, speed, colours });
    this.frames = []; // {map, row, column, size, weak}: squares that are outlined
    this.crossedOut = []; // maps
    this.shown = new Float32Array(count * side * side).fill(zero); // [count, side, side], in 0..255
    this.target = new Float32Array(this.shown);
    this.pixels = new ImageData(side, side * count);
    this.strip = Object.assign(document.createElement("canvas"), { width: side, height: side * count });
    const getLength = (maps) => maps * (side + gap) - gap;
    [this.width, this.height] = [getLength(columns), getLength(Math.ceil(count / columns))];
    canvas.style.aspectRatio = `${this.width} / ${this.height}`;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // `getValue(map, cell)` is in 0..255; cells are counted row by row.
  setValues(getValue) {
    const area = this.side ** 2;
    for (let i = 0; i < this.target.length; i++) this.target[i] = getValue(Math.floor(i / area), i % area);
    this.animate();
  }

  setMarks(frames, crossedOut = []) {
    Object.assign(this, { frames, crossedOut });
    this.draw();
  }

  // The layer's maps that are active, and the number of the brightest.
  measure() {
    const { side, count } = this;
    const getValues = (map) => this.target.subarray(map * side ** 2, (map + 1) * side ** 2);
    const largest = Array.from({ length: count }, (_, map) => Math.max(...getValues(map)));
    const active = largest.filter((value) => value > ACTIVE).length;
    return { count, side, active, brightest: largest.indexOf(Math.max(...largest)) + 1 };
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
      const jump = this.speed === 1 || reducedMotion.matches || Math.abs(distance) < 2;
      this.shown[i] = jump ? this.target[i] : this.shown[i] + distance * speed;
    }
    return moved;
  }

  draw() {
    const { canvas, side, count, columns, gap } = this;
    if (!canvas.clientWidth) return;
    this.shown.forEach((value, i) => this.pixels.data.set(this.colours[Math.round(value)], 4 * i));
    this.strip.getContext("2d").putImageData(this.pixels, 0, 0);
    const scale = (canvas.clientWidth * devicePixelRatio) / this.width;
    canvas.width = Math.round(scale * this.width);
    canvas.height = Math.round(scale * this.height);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    const size = Math.round(side * scale);
    const step = (side + gap) * scale;
    const getCorner = (map) => [(map % columns) * step, Math.floor(map / columns) * step];
    for (let map = 0; map < count; map++) {
      const [x, y] = getCorner(map).map(Math.round);
      context.drawImage(this.strip, 0, map * side, side, side, x, y, size, size);
    }
    const style = getComputedStyle(canvas);
    Object.assign(context, { strokeStyle: style.accentColor, lineWidth: 2 * devicePixelRatio });
    for (const map of this.crossedOut) {
      const [x, y] = getCorner(map);
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + size, y + size);
      context.moveTo(x + size, y);
      context.lineTo(x, y + size);
      context.stroke();
    }
    for (const { map, row, column, size: cells, weak } of this.frames) {
      const [x, y] = getCorner(map);
      context.strokeStyle = weak ? style.color : style.accentColor;
      context.strokeRect(x + column * scale, y + row * scale, cells * scale, cells * scale);
    }
  }

  // Returns the cell {channel, row, column} at a point of the window; in a gap, the one before it; otherwise null.
  findCell({ clientX, clientY }) {
    const { left, top, width } = this.canvas.getBoundingClientRect();
    const [x, y] = [clientX - left, clientY - top].map((distance) => Math.max(0, (distance * this.width) / width));
    const step = this.side + this.gap;
    const across = Math.min(this.columns - 1, Math.floor(x / step));
    const channel = Math.floor(y / step) * this.columns + across;
    const [row, column] = [y % step, x - across * step].map((cell) => Math.min(this.side - 1, Math.floor(cell)));
    return channel < this.count ? { channel, row, column } : null;
  }

  // Returns the cell that an arrow key leads to from another one: the next cell, or with `byMap` that of the next map.
  move({ channel, row, column }, [right, down], byMap) {
    const { side, columns } = this;
    let across = (channel % columns) * side + column + right * (byMap ? side : 1);
    let below = Math.floor(channel / columns) * side + row + down * (byMap ? side : 1);
    across = Math.max(0, Math.min(columns * side - 1, across));
    below = Math.max(0, Math.min(Math.ceil(this.count / columns) * side - 1, below));
    const map = Math.floor(below / side) * columns + Math.floor(across / side);
    return { channel: map, row: below % side, column: across % side };
  }
}

// The second block is slower, so that it visibly follows the first, as in the network.
export const views = {
  images: new MapView($("input"), { side: 28, count: 1, columns: 1, colours: PIXELS }),
  pool1: new MapView($("pool1"), { side: 14, count: 32, columns: 8, gap: 1, speed: 0.35 }),
  pool2: new MapView($("pool2"), { side: 7, count: 64, columns: 16, gap: 0.5, speed: 0.25 }),
  dense: new MapView($("dense"), { side: 1, count: 256, columns: 64, gap: 0.2, speed: 0.25 }),
};
const LAYERS = ["pool1", "pool2", "dense"];
const SHAPES = { pool1: "14,14,32", pool2: "7,7,64", dense: "256" }; // other networks have other layers

// One button for each output; the digits' names are those of the classes.
const outputs = NAMES.slice(0, 10).map((name, row) => {
  const button = makeButton(name, () => select({ layer: "logits", index: Number(button.dataset.index) }));
  button.dataset.index = row;
  return $("outputs").appendChild(button);
});

function showLayers() {
  const prediction = getShownDigit();
  const maps = prediction && prediction.maps;
  const hasMaps = Boolean(maps) && LAYERS.every((layer) => maps[layer] && maps[layer].shape.join() === SHAPES[layer]);
  if (prediction) document.body.classList.toggle("without-maps", !hasMaps);
  const image = prediction ? prediction.image : null;
  views.images.setValues((_, cell) => (image ? image[Math.floor(cell / 28)][cell % 28] : 0));
  for (const layer of LAYERS) {
    const { side, count } = views[layer];
    const values = hasMaps && Uint8Array.from(atob(maps[layer].values), (character) => character.charCodeAt(0));
    views[layer].setValues((map, cell) => (values ? values[cell * count + map] : 0));
    const label = values ? t(side === 1 ? "units.label" : "maps.label", views[layer].measure()) : t("empty");
    views[layer].canvas.setAttribute("aria-label", label);
  }
  const name = prediction && NAMES[prediction.class];
  const label = prediction ? tKind(RESIZED ? "input.label.resized" : "input.label", { name }) : t("empty");
  $("input").setAttribute("aria-label", label);
  showOutputs(prediction);
}

function showOutputs(prediction) {
  const ranked = prediction && rankClasses(prediction.probabilities);
  const shown = ranked ? ranked.slice(0, outputs.length).sort((a, b) => a - b) : [...outputs.keys()];
  outputs.forEach((button, row) => {
    const index = shown[row];
    button.dataset.index = index;
    const probability = prediction ? formatPercent(prediction.probabilities[index]) : "";
    const role = make("span", { className: "visually-hidden" }, t("output"));
    button.replaceChildren(role, " ", make("b", {}, NAMES[index]), " ", make("span", {}, probability));
    button.disabled = !prediction;
    button.classList.toggle("winner", prediction !== null && index === prediction.class);
    const { selection } = state;
    const isSelected = selection !== null && selection.layer === "logits" && selection.index === index;
    button.setAttribute("aria-pressed", isSelected);
  });
}

// Choosing a cell, by mouse, touch or keyboard.

function choose(layer, { channel, row, column }) {
  select(layer === "dense" ? { layer, index: channel } : { layer, channel, row, column });
}

for (const layer of LAYERS) {
  const view = views[layer];
  view.canvas.addEventListener("click", (event) => {
    const cell = view.findCell(event);
    if (cell && getShownDigit()) choose(layer, cell);
  });
  view.canvas.addEventListener("keydown", (event) => {
    const isArrow = event.key in ARROWS;
    if ((!isArrow && event.key !== "Enter") || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (!getShownDigit()) return announce(t("empty"));
    const { selection } = state;
    let cell = { channel: 0, row: Math.floor(view.side / 2), column: Math.floor(view.side / 2) };
    if (selection && selection.layer === layer) {
      cell = layer === "dense" ? { channel: selection.index, row: 0, column: 0 } : selection;
      if (isArrow) cell = view.move(cell, ARROWS[event.key], event.shiftKey);
    }
    choose(layer, cell);
  });
}

on("shown language", showLayers);
on("selection", () => showOutputs(getShownDigit()));
