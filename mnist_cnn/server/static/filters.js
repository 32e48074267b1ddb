// Filters that are switched off, and the test accuracy without them.

import { $, make, makeButton } from "./dom.js";
import { t } from "./i18n.js";
import { changeNetwork, isChanged, on, state } from "./state.js";
import { runTest } from "./testing.js";

let measured = null; // the result of the latest test

export function isOff(layer, filter) {
  return state.off[layer].includes(filter);
}

export function toggleFilter(layer, filter) {
  const filters = state.off[layer];
  const changed = isOff(layer, filter) ? filters.filter((other) => other !== filter) : [...filters, filter];
  changeNetwork({ off: { ...state.off, [layer]: changed } });
}

function show() {
  const off = ["conv1", "conv2"].flatMap((layer) => state.off[layer].map((filter) => [layer, filter]));
  const buttons = off.map(([layer, filter]) =>
    makeButton(t(`filter.on.${layer}`, { filter: filter + 1 }), () => toggleFilter(layer, filter)),
  );
  $("filters-off").replaceChildren(...(off.length ? buttons : [make("p", {}, t("filters.none"))]));
  // Above the layers, it is said that they are not those of the trained network.
  const notices = [];
  if (state.step !== null) notices.push(t("notice.step", { step: state.step.toLocaleString("en") }));
  if (off.length) notices.push(t("notice.off", { number: off.length }));
  $("notice").hidden = !isChanged();
  $("notice-text").textContent = notices.join(" ");
}

async function measure() {
  measured = null;
  measured = await runTest($("accuracy-progress"), $("accuracy"));
  showAccuracy();
}

function showAccuracy() {
  if (!measured) return;
  const { correct, total } = measured;
  const values = { accuracy: (correct / total).toFixed(4), total: total.toLocaleString("en") };
  $("accuracy").textContent = t("accuracy", values);
}

$("notice-reset").addEventListener("click", () => changeNetwork({ step: null, off: { conv1: [], conv2: [] } }));
$("measure").addEventListener("click", measure);
on("network", () => {
  measured = null;
  $("accuracy").textContent = "";
});
on("network language", show);
on("language", showAccuracy);
