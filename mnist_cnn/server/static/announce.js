// Announcements to screen readers.

import { $ } from "./dom.js";

const DELAY_MS = 500; // a summary waits for the response to the last stroke
let timer = 0;

export function announce(text) {
  clearTimeout(timer);
  $("status").textContent = text;
}

// Announces `getText()` a little later, unless anything else is announced until then.
export function announceLater(getText) {
  clearTimeout(timer);
  timer = setTimeout(() => announce(getText()), DELAY_MS);
}
