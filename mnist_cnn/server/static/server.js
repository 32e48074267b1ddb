// Requests to the server.

import { $ } from "./dom.js";
import { t } from "./i18n.js";
import { BASE } from "./state.js";

const REQUEST_TIMEOUT_MS = 10000;

// Posts a PNG file, or another value as JSON. Returns the response's content, or throws an Error with its message.
export function post(path, content) {
  const isPng = content instanceof Blob;
  return request(path, {
    method: "POST",
    headers: { "Content-Type": isPng ? "image/png" : "application/json" },
    body: isPng ? content : JSON.stringify(content),
  });
}

export const get = (path) => request(path, {});

async function request(path, options) {
  let response;
  try {
    response = await fetch(BASE + path, { ...options, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  } catch (error) {
    throw new Error(t("error.silent"));
  }
  const content = await response.json().catch(() => null); // null if it is not JSON: a proxy's login page, for example
  if (!response.ok) throw new Error((content && content.error) || t("error.status", { status: response.status }));
  if (!content) throw new Error(t("error.unreadable"));
  return content;
}

// Shows one error at a time, until a request succeeds.
export function showError(message) {
  const line = $("error");
  if (line.textContent !== message) line.textContent = message;
  line.hidden = !message;
}

// Returns a function that calls `load()` and then `show(result)`, one call at a time and always for the latest state:
// a call in the meantime is made once, afterwards.
export function makeLatest(load, show) {
  let running = false, again = false;
  return async function run() {
    again = true;
    if (running) return;
    running = true;
    while (again) {
      again = false;
      try {
        const result = await load();
        if (!again) show(result);
      } catch (error) {
        showError(error.message);
      }
    }
    running = false;
  };
}
