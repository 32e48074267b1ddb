// Short names for what every module does with the document.

export const $ = (id) => document.getElementById(id);
export const nextFrame = () => new Promise(requestAnimationFrame);
export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

// Creates an element with properties, such as {className: "bar"}, and children: elements or texts.
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function makeButton(text, onclick, properties = {}) {
  return make("button", { type: "button", onclick, ...properties }, text);
}

export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function formatPercent(probability) {
  return probability > 0.9995 ? "> 99.9 %" : `${(probability * 100).toFixed(1)} %`;
}

export function formatNumber(value, digits = 3) {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) ? `−${text}` : text;
}

// With its sign, also if that is plus.
export function formatSigned(value, digits = 3) {
  const text = formatNumber(value, digits);
  return text.startsWith("−") ? text : `+${text}`;
}
