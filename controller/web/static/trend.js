import { draw, make } from "./dom.js";
import { minute } from "./format.js";

const WIDE = 100, HIGH = 30, EDGE = 2; // of the picture's own coordinates

// A score, minute after minute, beside the level above which it is a finding.
export function trendPicture({ name, values, threshold, until_unix_s: untilS }) {
  const known = [...values.filter((one) => one !== null), threshold];
  const low = Math.min(...known), high = Math.max(...known);
  const x = (i) => (values.length > 1 ? (i / (values.length - 1)) * WIDE : WIDE);
  const y = (value) => HIGH - EDGE - ((value - low) / (high - low || 1)) * (HIGH - 2 * EDGE);
  const said = `${name}: ${number(values.at(-1))} at last, above ${number(threshold)} it is a finding`;
  const picture = draw(
    "svg",
    { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": said },
    draw("path", { class: "threshold", d: `M 0 ${y(threshold)} H ${WIDE}` }),
    draw("path", { class: "score", d: line(values, x, y) }),
  );
  const firstS = untilS - 60 * (values.length - 1);
  return make(
    "div",
    { class: "trend" },
    picture,
    make("div", { class: "quiet times" }, make("span", {}, minute(firstS)), make("span", {}, said), make("span", {}, minute(untilS))),
  );
}

// With a hole where nothing is known; a minute that is alone is a dot.
function line(values, x, y) {
  const steps = [];
  values.forEach((value, i) => {
    if (value === null) return;
    const begins = i === 0 || values[i - 1] === null;
    steps.push(begins ? `M ${x(i)} ${y(value)} h 0` : `L ${x(i)} ${y(value)}`);
  });
  return steps.join(" ");
}

// What was seen as a bar, what was expected as a mark on it, both from 0.
export function comparison({ said, seen, expected }) {
  const low = Math.min(seen, expected, 0), high = Math.max(seen, expected, 0);
  const at = (value) => ((value - low) / (high - low || 1)) * 100;
  const bar = make("span", { class: "seen" }), mark = make("span", { class: "expected" });
  bar.style.left = `${at(Math.min(seen, 0))}%`;
  bar.style.width = `${Math.abs(at(seen) - at(0))}%`;
  mark.style.left = `${at(expected)}%`;
  return make("li", {}, make("span", { class: "bar-of", "aria-hidden": "true" }, bar, mark), make("span", {}, said));
}

const number = (value) => (value === null ? "unknown" : String(Number(value.toPrecision(3))));
