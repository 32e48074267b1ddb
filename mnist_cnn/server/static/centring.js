// Whether a digit is centred before the network gets it, and what is known of a test digit on the drawing area.

import { $ } from "./dom.js";
import { t, tKind } from "./i18n.js";
import { NAMES, on, setCentred, state } from "./state.js";

const box = $("centred");
if (box) {
  box.addEventListener("change", () => {
    $("input-text").dataset.text = box.checked ? "input.text" : "input.uncentred";
    $("input-text").textContent = tKind($("input-text").dataset.text);
    setCentred(box.checked);
  });
}

on("drawing language", () => {
  const { picture, strokes } = state.drawing;
  const isShown = picture !== null && !strokes.length;
  $("test-digit").textContent = isShown ? t("test.digit", { number: picture.index, name: NAMES[picture.label] }) : "";
});
