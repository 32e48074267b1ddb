// What the modules share. A module that changes a value then calls `emit` with an event; others listen with `on`.

// The values that the server writes into the page.
const { base, names, kind, resized } = document.body.dataset;
export const BASE = base; // what stands before the addresses of requests
export const NAMES = JSON.parse(names); // of the classes
export const KIND = kind; // what a class is: a digit, another character, or a picture
export const RESIZED = resized === "true"; // whether drawings are scaled as a whole, instead of centred

export const state = {
  // A list of strokes, each a list of points [x, y] in 0..1, over a picture: null, or a test digit {image, label}.
  drawing: { strokes: [], picture: null },
  revision: 0, // the number of changes to the drawing and the network so far
  lastRemoval: 0, // the revision that last removed anything from the drawing
  busy: false, // whether a stroke is being drawn
  response: null, // the server's latest; null if the drawing is empty
  shown: -1, // the index of one of its digits; -1 for none
  centred: true, // whether a digit is centred before the network gets it
  step: null, // the snapshot whose network is shown; null for the trained one
  off: { conv1: [], conv2: [] }, // the filters that are switched off
  selection: null, // the cell {layer, channel, row, column} or the unit {layer, index} that is explained
};

// Events: "drawing"; "network", of step or off; "centring"; "stroke", of its end; "shown", of the digit; "selection";
// "language".
const listeners = {};

export function on(events, listener) {
  for (const event of events.split(" ")) (listeners[event] = listeners[event] || []).push(listener);
}

export function emit(event) {
  for (const listener of listeners[event] || []) listener();
}

export function isBlank() {
  return !state.drawing.strokes.length && !state.drawing.picture;
}

export function getShownDigit() {
  return state.response && state.shown >= 0 ? state.response.digits[state.shown] : null;
}

// Which weights the server computes with, for its routes under /v1/explain.
export function getNetwork() {
  return { step: state.step, off: state.off };
}

export function isChanged() {
  return state.step !== null || state.off.conv1.length + state.off.conv2.length > 0;
}

export function changeNetwork(change) {
  Object.assign(state, change);
  state.revision += 1;
  emit("network");
}

export function setCentred(centred) {
  state.centred = centred;
  state.revision += 1;
  emit("centring");
}

export function select(selection) {
  state.selection = selection;
  emit("selection");
}
