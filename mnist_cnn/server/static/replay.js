// The training, replayed from the run's snapshots: the slider chooses the step whose network the page shows.

import { announce } from "./announce.js";
import { SIGNED, toSigned } from "./colours.js";
import { $, makeSvg } from "./dom.js";
import { t } from "./i18n.js";
import { MapView } from "./maps.js";
import { get, makeLatest, post, showError } from "./server.js";
import { changeNetwork, getNetwork, getShownDigit, on, state } from "./state.js";

const PLAY_MS = 500; // per snapshot
const BLANK = Array.from({ length: 28 }, () => new Array(28).fill(0));
const WIDTH = 300, HEIGHT = 90; // of the curve, in its own units

let snapshots = []; // {step, cost, accuracy}, in order; loaded when this part of the page is opened
let timer = null; // while it plays
const slider = $("replay-slider");
const options = { side: 3, count: 32, columns: 16, gap: 0.5, colours: SIGNED, zero: 127.5 };
const filters = new MapView($("replay-filters"), options);

async function load() {
  try {
    ({ snapshots } = await get("v1/explain"));
  } catch (error) {
    return showError(error.message);
  }
  showError("");
  slider.max = Math.max(0, snapshots.length - 1);
  slider.value = slider.max;
  $("replay-controls").hidden = !snapshots.length;
  $("replay-missing").hidden = snapshots.length > 0;
  show();
}

// The slider at its end is the trained network, of which the last snapshot is a copy.
function getIndex() {
  const index = snapshots.findIndex(({ step }) => step === state.step);
  return index < 0 ? snapshots.length - 1 : index;
}

function choose(index) {
  changeNetwork({ step: index >= snapshots.length - 1 ? null : snapshots[index].step });
}

function show() {
  if (!snapshots.length) return;
  const { step, cost, accuracy } = snapshots[getIndex()];
  const values = { step: step.toLocaleString("en"), last: snapshots[snapshots.length - 1].step.toLocaleString("en") };
  const text = t("replay.text", { ...values, cost: cost.toFixed(3), accuracy: accuracy.toFixed(3) });
  slider.value = getIndex();
  slider.setAttribute("aria-valuetext", text);
  $("replay-text").textContent = text;
  $("replay-play").textContent = t(timer ? "replay.pause" : "replay.play");
  drawCurve();
}

// Cost and accuracy by snapshot, which are even over the logarithm of the steps, with a mark at the shown one.
function drawCurve() {
  const highest = Math.max(...snapshots.map(({ cost }) => cost));
  const getX = (index) => 4 + (index * (WIDTH - 8)) / Math.max(1, snapshots.length - 1);
  const getY = (fraction) => HEIGHT - 4 - fraction * (HEIGHT - 8);
  const index = getIndex();
  const curves = [["cost", ({ cost }) => cost / highest], ["accuracy", ({ accuracy }) => accuracy]];
  const parts = curves.flatMap(([name, getFraction]) => {
    const points = snapshots.map((snapshot, i) => `${getX(i)},${getY(getFraction(snapshot))}`);
    return [
      makeSvg("polyline", { class: name, points: points.join(" ") }),
      makeSvg("path", { class: `${name} dot`, d: `M${points[index]}h0` }),
    ];
  });
  const mark = makeSvg("line", { class: "mark", x1: getX(index), x2: getX(index), y1: 0, y2: HEIGHT });
  $("replay-curve").replaceChildren(mark, ...parts);
}

const showFilters = makeLatest(
  async () => {
    if (!$("replay").open) return null;
    const digit = getShownDigit();
    return digit && digit.kernels ? digit : post("v1/explain/network", { image: BLANK, ...getNetwork() });
  },
  (network) => {
    if (!network) return;
    showError("");
    const { kernels } = network;
    const largest = Math.max(...kernels.flat(2).map(Math.abs));
    filters.setValues((filter, cell) => toSigned(kernels[Math.floor(cell / 3)][cell % 3][filter], largest));
  },
);

function play() {
  if (timer) return stop();
  const next = getIndex() >= snapshots.length - 1 ? 0 : getIndex() + 1;
  timer = setInterval(() => {
    if (getIndex() >= snapshots.length - 1) stop();
    else choose(getIndex() + 1);
  }, PLAY_MS);
  choose(next);
}

function stop() {
  clearInterval(timer);
  timer = null;
  show();
}

slider.addEventListener("input", () => {
  const index = Number(slider.value);
  stop();
  choose(index);
});
slider.addEventListener("change", () => announce($("replay-text").textContent));
$("replay-play").addEventListener("click", play);
$("replay").addEventListener("toggle", () => {
  if (!snapshots.length) load();
  showFilters();
});
on("network language", show);
on("shown", showFilters);
