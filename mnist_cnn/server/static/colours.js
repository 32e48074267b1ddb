// Colours for numbers: from dark to light for 0 and more, blue and orange for both signs, grey for pixels.

// Returns 256 colours [red, green, blue, 255], interpolated between stops [position, red, green, blue].
function interpolate(stops, exponent = 1) {
  return Array.from({ length: 256 }, (_, value) => {
    const position = (value / 255) ** exponent;
    const above = Math.max(1, stops.findIndex(([stop]) => stop >= position));
    const [[low, ...from], [high, ...to]] = [stops[above - 1], stops[above]];
    return [...from.map((channel, i) => channel + ((to[i] - channel) * (position - low)) / (high - low)), 255];
  });
}

// Most activations are small: the exponent spreads them out.
export const ACTIVATIONS = interpolate(
  [[0, 34, 31, 28], [0.3, 116, 49, 12], [0.65, 255, 153, 41], [1, 255, 246, 226]],
  0.6,
);
export const PIXELS = interpolate([[0, 0, 0, 0], [1, 255, 255, 255]]);
// 0 is in the middle, at 127.5.
export const SIGNED = interpolate([[0, 88, 178, 255], [0.5, 34, 31, 28], [1, 255, 153, 41]]);

// Returns the index in SIGNED of a value in -largest..largest.
export function toSigned(value, largest) {
  return Math.round(127.5 + 127.5 * Math.max(-1, Math.min(1, value / (largest || 1))));
}

// Sets an element's background, and black or white for its text.
export function paint(element, [red, green, blue]) {
  element.style.setProperty("background", `rgb(${red} ${green} ${blue})`);
  element.style.setProperty("color", 0.3 * red + 0.59 * green + 0.11 * blue > 110 ? "#000" : "#fff");
}
