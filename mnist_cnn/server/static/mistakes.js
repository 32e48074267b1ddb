// The test digits that the network misreads, the surest first. A click puts one on the drawing area.

import { formatPercent, $, make, makeButton } from "./dom.js";
import { showPicture } from "./drawing.js";
import { t } from "./i18n.js";
import { NAMES, on } from "./state.js";
import { runTest } from "./testing.js";

const SHOWN = 60;
let found = null; // the result of the latest test

async function find() {
  const result = await runTest($("mistakes-progress"), $("mistakes-count"));
  if (!result) return;
  found = result;
  show();
}

function show() {
  if (!found) return;
  const { mistakes, correct, total } = found;
  const shown = mistakes.sort((a, b) => b.probability - a.probability).slice(0, SHOWN);
  const values = { number: total - correct, total: total.toLocaleString("en"), shown: shown.length };
  $("mistakes-count").textContent = t("mistakes.count", values);
  $("mistakes").replaceChildren(...shown.map(makePicture));
}

function makePicture(mistake) {
  const { image, label, probability, index } = mistake;
  const values = { label: NAMES[label], read: NAMES[mistake.class], probability: formatPercent(probability) };
  const canvas = make("canvas", { width: 28, height: 28 });
  const pixels = new ImageData(28, 28);
  image.flat().forEach((value, i) => pixels.data.set([value, value, value, 255], 4 * i));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const button = makeButton("", () => {
    showPicture({ image, label, index });
    $("drawing").scrollIntoView({ block: "nearest" });
  });
  button.append(canvas, make("span", {}, `${values.label} → ${values.read}`), make("span", {}, values.probability));
  button.title = t("mistakes.one", values);
  return button;
}

$("mistakes-find").addEventListener("click", find);
on("network", () => {
  found = null;
  $("mistakes-count").textContent = "";
  $("mistakes").replaceChildren();
});
on("language", show);
