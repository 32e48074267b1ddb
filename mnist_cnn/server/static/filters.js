// Filters that are switched off, and the test accuracy without them.

import { $, make, makeButton } from "./dom.js";
import { t } from "./i18n.js";
import { changeNetwork, isChanged, on, state } from "./state.js";
import { runTest } from "./testing.js";

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
  $("accuracy").textContent = "";
  // Above the layers, it is said that they are not those of the trained network.
  const notices = [];
  if (state.step !== null) notices.push(t("notice.step", { step: state.step.toLocaleString("en") }));
  if (off.length) notices.push(t("notice.off", { number: off.length }));
  $("notice").hidden = !isChanged();
  $("notice-text").textContent = notices.join(" ");
}

async function measure() {
  const result = await runTest($("accuracy-progress"), $("accuracy"));
  if (!result) return;
  const values = { accuracy: (result.correct / result.total).toFixed(4), total: result.total.toLocaleString("en") };
  $("accuracy").textContent = t("accuracy", values);
}

$("notice-reset").addEventListener("click", () => changeNetwork({ step: null, off: { conv1: [], conv2: [] } }));
$("measure").addEventListener("click", measure);
on("network language", show);
