// The panel that explains the selected cell, unit or output: its sum, term by term. The server computes all numbers.

import { announce } from "./announce.js";
import { paint, PIXELS, ACTIVATIONS, SIGNED, toSigned } from "./colours.js";
import { $, formatNumber, formatSigned, make, makeButton, reducedMotion } from "./dom.js";
import { isOff, toggleFilter } from "./filters.js";
import { t } from "./i18n.js";
import { MapView, views } from "./maps.js";
import { makeLatest, post, showError } from "./server.js";
import { getNetwork, getShownDigit, NAMES, on, select, state } from "./state.js";

const TERMS_SHOWN = 5; // of each sign
const SMALLEST_TERM = 0.0005; // smaller ones would be shown as 0.000
const SOURCES = { conv1: "images", conv2: "pool1" }; // the layer before each convolution
const POOLS = { conv1: "pool1", conv2: "pool2" };
const panel = $("explanation");
let announced = null; // the latest selection that screen readers were told of

const update = makeLatest(
  async () => {
    const digit = getShownDigit();
    const { selection } = state;
    if (!digit || !selection || !digit.maps) return null;
    const path = "row" in selection ? "v1/explain/cell" : "v1/explain/unit";
    return post(path, { image: digit.image, ...selection, ...getNetwork() });
  },
  (explanation) => {
    showError("");
    show(explanation);
  },
);

function show(explanation) {
  const opens = panel.hidden;
  panel.hidden = !explanation;
  if (!explanation) return markCells(null);
  const isCell = "channels" in explanation;
  $("explanation-title").textContent = getTitle(explanation);
  $("explanation-body").replaceChildren(...(isCell ? explainCell(explanation) : explainUnit(explanation)));
  markCells(explanation);
  if (announced !== state.selection) announce(`${getTitle(explanation)}: ${formatNumber(explanation.sum)}`);
  announced = state.selection; // while the drawing changes, its prediction is announced
  if (opens) uncover();
}

// Scrolls if the panel, which has just opened, covers the layer that it explains.
function uncover() {
  const { layer } = state.selection;
  const chosen = (views[layer.replace("conv", "pool")] || { canvas: $("outputs") }).canvas;
  const covered = chosen.getBoundingClientRect().bottom - panel.getBoundingClientRect().top;
  if (covered > 0) scrollBy({ top: covered + 12, behavior: reducedMotion.matches ? "auto" : "smooth" });
}

function getTitle({ layer, row, column, channel, index }) {
  if (layer === "logits") return t("output.title", { name: NAMES[index] });
  if (layer === "dense") return t("unit.title", { unit: index + 1 });
  return t(`cell.title.${layer}`, { map: channel + 1, row: row + 1, column: column + 1 });
}

// --- A cell of a map ---

function explainCell(cell) {
  const sum = cell.layer === "conv1" ? explainFirst(cell) : explainSecond(cell);
  return [...sum, explainPooling(cell), makeSwitch(cell)];
}

function explainFirst({ channels: [{ window, kernel, products }], sum }) {
  return [
    make("p", { className: "definition" }, t("definition.window"), " ", t("definition.kernel")),
    make(
      "div",
      { className: "equation" },
      makeGrid(t("window"), window, (value) => PIXELS[Math.round(255 * value)]),
      make("span", { className: "operator" }, "×"),
      makeGrid(t("kernel"), kernel, paintSigned(kernel.flat())),
      make("span", { className: "operator" }, "="),
      makeGrid(t("products"), products, paintSigned(products.flat())),
      make("p", { className: "sum" }, t("sum"), make("b", {}, formatNumber(sum))),
    ),
  ];
}

function explainSecond({ channels, others, sum }) {
  const largest = Math.max(...channels.flatMap(({ window }) => window.flat()));
  const kernels = channels.flatMap(({ kernel }) => kernel.flat());
  const rows = channels.map((part) =>
    make(
      "li",
      { className: "equation" },
      make("span", { className: "term" }, t("map", { map: part.channel + 1 })),
      makeGrid(t("window"), part.window, (value) => ACTIVATIONS[Math.round((255 * value) / (largest || 1))]),
      make("span", { className: "operator" }, "×"),
      makeGrid(t("kernel"), part.kernel, paintSigned(kernels)),
      make("span", {}, "= ", make("b", {}, formatSigned(part.sum))),
    ),
  );
  return [
    make("p", { className: "definition" }, t("definition.second")),
    make("ol", { className: "channels", role: "list" }, ...rows),
    make("p", {}, t("others", { number: others.number, sum: formatSigned(others.sum) })),
    make("p", { className: "sum" }, t("sum"), make("b", {}, formatNumber(sum))),
  ];
}

// The four cells of the pooling window are buttons: each can be explained.
function explainPooling({ layer, row, column, channel, pooled, kept, output }) {
  const cells = pooled.flatMap((values, down) =>
    values.map((value, across) => {
      const cell = { layer, channel, row: row - (row % 2) + down, column: column - (column % 2) + across };
      const button = makeButton(formatNumber(value), () => select(cell));
      button.classList.toggle("kept", down === kept[0] && across === kept[1]);
      button.setAttribute("aria-pressed", cell.row === row && cell.column === column);
      return button;
    }),
  );
  return make(
    "div",
    { className: "pooling" },
    make("div", { className: "four", role: "group", ariaLabel: t("pooling.group") }, ...cells),
    make("p", {}, t("pooling", { largest: formatNumber(Math.max(...pooled.flat())), output: formatNumber(output) })),
  );
}

function makeSwitch({ layer, channel }) {
  const filter = { filter: channel + 1 };
  return makeButton(t(isOff(layer, channel) ? `filter.on.${layer}` : `filter.off.${layer}`, filter), () => {
    toggleFilter(layer, channel);
  });
}

function makeGrid(caption, rows, getColour) {
  const table = make("table", { className: "numbers" }, make("caption", {}, caption));
  for (const row of rows) {
    const line = table.insertRow();
    for (const value of row) {
      const cell = line.insertCell();
      cell.textContent = formatNumber(value || 0);
      cell.classList.toggle("outside", value === null);
      if (value === null) cell.title = t("outside");
      paint(cell, getColour(value || 0));
    }
  }
  return table;
}

function paintSigned(values) {
  const largest = Math.max(...values.map(Math.abs));
  return (value) => SIGNED[toSigned(value, largest)];
}

// --- A dense unit or an output ---

function explainUnit({ layer, sum, units, maps, pixels }) {
  const largest = Math.max(...pixels.flat().map(Math.abs));
  const canvas = make("canvas", { className: "strokes", role: "img", ariaLabel: t("strokes.label") });
  const strokes = make("figure", {}, canvas, make("figcaption", {}, t("strokes")));
  const view = new MapView(canvas, { side: 28, count: 1, columns: 1, colours: SIGNED, zero: 127.5 });
  view.setValues((_, cell) => toSigned(pixels[Math.floor(cell / 28)][cell % 28], largest));
  const relu = layer === "dense" ? t("unit.relu", { output: formatNumber(Math.max(0, sum)) }) : t("output.softmax");
  const lists = [makeTerms("terms.maps", maps, (map) => selectMap(map, maps[map]))];
  const showUnit = (index) => select({ layer: "dense", index });
  if (layer === "logits") lists.unshift(makeTerms("terms.units", units, showUnit));
  return [
    make("p", { className: "definition" }, t(`definition.${layer}`)),
    make("div", { className: "terms" }, strokes, ...lists),
    make("p", { className: "sum" }, t("sum"), make("b", {}, formatNumber(sum)), " ", relu),
  ];
}

// What adds most and what subtracts most. Each is a button that leads to it.
function makeTerms(key, values, show) {
  const order = [...values.keys()].sort((a, b) => values[b] - values[a]);
  const positive = order.filter((i) => values[i] >= SMALLEST_TERM).slice(0, TERMS_SHOWN);
  const negative = order.reverse().filter((i) => values[i] <= -SMALLEST_TERM).slice(0, TERMS_SHOWN);
  const shown = [...positive, ...negative];
  const rest = values.reduce((sum, value) => sum + value, 0) - shown.reduce((sum, i) => sum + values[i], 0);
  const makeList = (title, indices) =>
    make(
      "div",
      {},
      make("h4", {}, title),
      ...indices.map((i) => {
        const text = t(`${key}.one`, { number: i + 1, sum: formatSigned(values[i]) });
        return makeButton(text, () => show(i));
      }),
    );
  return make(
    "div",
    { className: "term-list" },
    makeList(t(`${key}.for`), positive),
    makeList(t(`${key}.against`), negative),
    make("p", {}, t("others", { number: values.length - shown.length, sum: formatSigned(rest) })),
  );
}

// Selects the brightest cell of a map of the second block.
function selectMap(map) {
  const { side, target } = views.pool2;
  const values = target.subarray(map * side ** 2, (map + 1) * side ** 2);
  const cell = values.indexOf(Math.max(...values));
  select({ layer: "pool2", channel: map, row: Math.floor(cell / side), column: cell % side });
}

// --- The frames on the layers ---

function markCells(explanation) {
  const frames = { images: [], pool1: [], pool2: [], dense: [] };
  if (explanation && "channels" in explanation) {
    const { layer, row, column, channel, channels } = explanation;
    for (const [rank, part] of channels.entries()) {
      const map = SOURCES[layer] === "images" ? 0 : part.channel;
      frames[SOURCES[layer]].push({ map, row: row - 1, column: column - 1, size: 3, weak: rank > 0 });
    }
    const [half, across] = [Math.floor(row / 2), Math.floor(column / 2)];
    frames[POOLS[layer]].push({ map: channel, row: half, column: across, size: 1 });
  } else if (explanation && explanation.layer === "dense") {
    frames.dense.push({ map: explanation.index, row: 0, column: 0, size: 1 });
  }
  const crossedOut = { pool1: state.off.conv1, pool2: state.off.conv2 };
  for (const [layer, view] of Object.entries(views)) view.setMarks(frames[layer], crossedOut[layer]);
}

function close() {
  const { selection } = state;
  const inside = panel.contains(document.activeElement);
  select(null);
  if (inside && selection) (views[selection.layer.replace("conv", "pool")] || views.dense).canvas.focus();
}

panel.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  event.preventDefault(); // on the page, it clears the drawing
  close();
});
$("explanation-close").addEventListener("click", close);

on("selection shown network language", update);
