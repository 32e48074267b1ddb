// Corrections of wrong answers. They are on the page only if the server saves them.

import { $ } from "./dom.js";
import { clear, PNG_DRAWN, PNG_MARGIN, renderPng } from "./drawing.js";
import { t, tKind } from "./i18n.js";
import { post, showError } from "./server.js";
import { NAMES, on, state } from "./state.js";

const correction = $("correction");
let saving = false;

const isPart = () => state.response.digits.length > 1 && !$("whole").checked;

function show() {
  // A test digit, or a drawing over one, is nobody's handwriting to learn from.
  correction.hidden = !state.response || state.drawing.picture !== null;
  if (!state.response) return;
  $("saved").textContent = "";
  const count = state.response.digits.length;
  $("whole").parentElement.hidden = count < 2;
  const values = { position: state.shown + 1, count };
  $("wrong").textContent = isPart() ? tKind("correction.part", values) : t("correction.wrong");
}

// The strokes of the shown digit, those nearest to it from left to right; all if it is the only digit.
function getWrongStrokes() {
  const { strokes } = state.drawing;
  if (!isPart()) return strokes;
  const centres = state.response.digits.map(({ box }) => ((box[0] + box[2]) / 2 - PNG_MARGIN) / PNG_DRAWN);
  return strokes.filter((stroke) => {
    const across = stroke.map(([x]) => x);
    const centre = (Math.min(...across) + Math.max(...across)) / 2;
    const distances = centres.map((other) => Math.abs(other - centre));
    return distances.indexOf(Math.min(...distances)) === state.shown;
  });
}

async function save(name) {
  const drawn = getWrongStrokes();
  if (!drawn.length) throw new Error(tKind("correction.alone"));
  const { file } = await post(`corrections/${encodeURIComponent(name)}`, renderPng(drawn));
  showError("");
  correction.open = $("whole").checked = false;
  if (drawn === state.drawing.strokes) {
    clear();
    $("drawing").scrollIntoView({ block: "nearest" }); // for the next drawing
  } else show();
  $("saved").textContent = t("correction.saved", { file });
}

if (correction) {
  $("whole").addEventListener("change", show);
  correction.addEventListener("toggle", () => correction.scrollIntoView({ block: "nearest" }));
  [...$("names").children].forEach((button, index) => {
    button.addEventListener("click", async () => {
      if (saving) return;
      saving = true;
      await save(NAMES[index]).catch((error) => showError(error.message));
      saving = false;
    });
  });
  on("shown language", show);
}
