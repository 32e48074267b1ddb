// The network's answer: requests for the latest drawing, the number, the bars, and announcements to screen readers.

import { announce, announceLater } from "./announce.js";
import { $, formatPercent, make, nextFrame } from "./dom.js";
import { renderPixels, renderPng } from "./drawing.js";
import { t, tKind } from "./i18n.js";
import { post, showError } from "./server.js";
import { emit, getNetwork, isBlank, isChanged, KIND, NAMES, on, select, state } from "./state.js";

const RETRY_DELAY_MS = 2000;
let requesting = false;
let drawingRevision = 0; // the number of changes to the drawing alone
let latestRead = {}; // {key, response}: of the drawing with that key, by the trained network
let shownKey = ""; // the key of the drawing whose response is shown

// One request at a time, each for the latest revision.
async function requestPrediction() {
  if (requesting) return;
  requesting = true;
  for (let shownRevision = 0; shownRevision !== state.revision; ) {
    await nextFrame();
    const requestedRevision = state.revision;
    try {
      const response = isBlank() ? null : await fetchPrediction();
      // A response to a drawing that has since lost strokes would show a digit that is no longer there.
      if (requestedRevision >= state.lastRemoval) showPrediction(response);
      shownRevision = requestedRevision;
      showError("");
    } catch (error) {
      showError(error.message);
      await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
    }
  }
  requesting = false;
}

async function fetchPrediction() {
  const key = `${drawingRevision} ${state.centred}`;
  if (latestRead.key !== key) latestRead = { key, response: await readDrawing() };
  const { response } = latestRead;
  return isChanged() || !("text" in response) ? computeWithNetwork(response) : response;
}

// Asks the server which digits the drawing shows. An image that is the network's input as it stands is not asked for.
async function readDrawing() {
  const { strokes, picture } = state.drawing;
  if (!state.centred) return { digits: [{ image: renderPixels() }] };
  // A test digit is in MNIST's format already: preparing it again would change it.
  if (picture && !strokes.length) return { digits: [{ image: picture.image }] };
  const response = await post("v1/digits?maps=1", renderPng());
  if (response.digits.length === 1) response.digits[0].maps = response.maps;
  return response;
}

// The digits of a response, read by the network that the visitor has chosen: of another step, or without some filters.
async function computeWithNetwork(response) {
  const digits = await Promise.all(
    response.digits.map(async (digit) => {
      const computed = await post("v1/explain/network", { image: digit.image, ...getNetwork() });
      return { ...digit, ...computed, probability: computed.probabilities[computed.class] };
    }),
  );
  const text = digits.map((digit) => NAMES[digit.class]).join("");
  return { digits, text, probability: digits.reduce((product, digit) => product * digit.probability, 1) };
}

function showPrediction(response) {
  state.response = response;
  const { text, digits } = response || { text: "", digits: [] };
  $("number").classList.toggle("unknown", !text);
  $("probability").textContent = text ? formatPercent(response.probability) : response ? tKind("none") : "";
  document.querySelector(".prediction").classList.toggle("several", digits.length > 1);
  const names = [...text]; // a name of one character may have two UTF-16 code units
  if (digits.length > 1) showDigitButtons(names);
  else $("number").textContent = text || "?";
  $("number").style.setProperty("--length", Math.max(1, names.length));
  document.querySelector(".prediction").classList.toggle("words", KIND === "picture");
  // Of the same drawing, the digit that the visitor chose. Of another, the last: in most cases it was drawn last.
  const isSame = shownKey === latestRead.key && state.shown >= 0 && state.shown < digits.length;
  shownKey = latestRead.key;
  showDigit(isSame ? state.shown : digits.length - 1);
  if (state.revision && !state.busy) announceLater(getSummary);
}

// The digits of a number are buttons that choose the digit to show. A button is kept while the text changes, so that it
// keeps the focus.
function showDigitButtons(names) {
  const number = $("number");
  if (!number.firstElementChild) number.textContent = "";
  while (number.children.length > names.length) number.lastChild.remove();
  while (number.children.length < names.length) {
    const index = number.children.length;
    const button = number.appendChild(make("button", { type: "button" }));
    button.addEventListener("click", () => {
      showDigit(index);
      announce(describeDigit(index));
    });
  }
  [...number.children].forEach((button, index) => {
    button.textContent = names[index];
    button.setAttribute("aria-label", tKind("digit", { name: names[index], position: index + 1, count: names.length }));
  });
}

// One bar for each digit. Of other data, the ten most probable classes.
const bars = NAMES.slice(0, 10).map(() => {
  const bar = $("bars").appendChild(make("li"));
  bar.innerHTML = `<span></span><span class="bar" aria-hidden="true"><i></i></span><span></span>`;
  // For the mouse and touch; the keyboard has the outputs below the layers.
  bar.addEventListener("click", () => state.response && select({ layer: "logits", index: Number(bar.dataset.index) }));
  return bar;
});

export function rankClasses(probabilities) {
  return [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
}

// Shows one digit of the latest response; none for index -1.
function showDigit(index) {
  state.shown = index;
  const digits = state.response ? state.response.digits : [];
  const prediction = index < 0 ? null : digits[index];
  [...$("number").children].forEach((button, i) => button.setAttribute("aria-pressed", i === index));
  showBars(prediction, index, digits.length);
  emit("shown");
}

function showBars(prediction, position, count) {
  const label = count > 1 ? "bars.position" : "bars";
  $("bars").setAttribute("aria-label", tKind(label, { position: position + 1, count }));
  const ranked = prediction ? rankClasses(prediction.probabilities) : [...NAMES.keys()];
  const shown = ranked.slice(0, bars.length).sort((a, b) => a - b);
  bars.forEach((bar, row) => {
    const index = shown[row];
    bar.dataset.index = index;
    bar.firstChild.textContent = NAMES[index];
    bar.querySelector("i").style.setProperty("--probability", prediction ? prediction.probabilities[index] : 0);
    bar.lastChild.textContent = prediction ? formatPercent(prediction.probabilities[index]) : "";
    bar.classList.toggle("winner", prediction !== null && index === prediction.class);
  });
}

// What screen readers are told, after the end of a stroke and its response.

function getSummary() {
  if (!state.response) return t("summary.empty");
  const { text, digits, probability } = state.response;
  if (!text) return tKind("summary.none");
  if (digits.length === 1) return t("summary.one", { digit: describeDigit(0) });
  // Spaces, so that a zero at the start is read out too.
  return t("summary.several", { digits: [...text].join(" "), probability: formatPercent(probability) });
}

function describeDigit(index) {
  const { probabilities } = state.response.digits[index];
  const [first, second] = rankClasses(probabilities);
  const describe = (number) => `${NAMES[number]}, ${formatPercent(probabilities[number])}`;
  const values = { first: describe(first), second: describe(second) };
  return t(probabilities[second] >= 0.05 ? "describe.two" : "describe.one", values);
}

on("drawing", () => {
  drawingRevision += 1;
  if (isBlank()) showPrediction(null); // not only after a request that is under way
});
on("drawing network centring", requestPrediction);
on("stroke", () => announceLater(getSummary));
on("language", () => showPrediction(state.response));
