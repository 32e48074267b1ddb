// The network on all test images, in parts, with progress. One test at a time.

import { t } from "./i18n.js";
import { post } from "./server.js";
import { getNetwork, on } from "./state.js";

let number = 0; // of the latest test
let bar = null; // its <progress> element

function cancel() {
  number += 1;
  if (bar) bar.hidden = true;
}

// Tests the network as it is now. Shows progress in a <progress> element, and problems in `line`.
// Returns {correct, total, mistakes}, or null if that cannot be done or was cancelled.
export async function runTest(progress, line) {
  cancel();
  const own = number;
  const result = { correct: 0, total: 0, mistakes: [] };
  const network = getNetwork();
  bar = progress;
  bar.hidden = false;
  bar.removeAttribute("value");
  line.textContent = "";
  try {
    for (let start = 0; start === 0 || start < result.total; ) {
      const part = await post("v1/explain/test", { start, ...network });
      if (own !== number) return null;
      if (part.missing) throw new Error(t("test.missing"));
      result.correct += part.correct;
      result.total = part.total;
      result.mistakes.push(...part.mistakes);
      start = part.end;
      bar.value = start / part.total;
    }
  } catch (error) {
    if (own === number) line.textContent = error.message;
    return null;
  } finally {
    if (own === number) bar.hidden = true;
  }
  return result;
}

on("network", cancel); // the result would be another network's
