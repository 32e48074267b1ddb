// The page's language: the browser's, until the visitor chooses another. All text is in one file per language.

import { $ } from "./dom.js";
import en from "./en.js";
import ko from "./ko.js";
import { emit, KIND } from "./state.js";

const LANGUAGES = { en, ko };
const STORED = "mnist_cnn.language";
let language = "en";

// Returns a text, with the values of the names in braces.
export function t(key, values = {}) {
  return LANGUAGES[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// Returns the first text that there is: that of KEY.KIND, where KIND is what a class is, or that of KEY.
export function tKind(key, values = {}) {
  const ofKind = `${key}.${KIND}`;
  return t(ofKind in LANGUAGES[language] ? ofKind : key, values);
}

export function chooseLanguage(chosen = getPreferred()) {
  language = chosen;
  document.documentElement.lang = language;
  document.title = tKind("title");
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = tKind(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", tKind(element.dataset.label));
  }
  for (const element of document.querySelectorAll("[data-role]")) {
    element.setAttribute("aria-roledescription", t(element.dataset.role));
  }
  const other = language === "en" ? "ko" : "en";
  Object.assign($("language"), { lang: other, textContent: LANGUAGES[other].language });
  emit("language");
}

function getPreferred() {
  let stored = null;
  try {
    stored = localStorage.getItem(STORED);
  } catch (error) {
    // Some browsers forbid it in frames of other sites.
  }
  const wanted = [stored, ...navigator.languages].filter(Boolean).map((name) => name.slice(0, 2));
  return wanted.find((name) => name in LANGUAGES) || "en";
}

$("language").addEventListener("click", (event) => {
  chooseLanguage(event.target.lang);
  try {
    localStorage.setItem(STORED, language);
  } catch (error) {
    // It is asked for again at the next visit.
  }
});
