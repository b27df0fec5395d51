// Elements and words of the page. Text only ever goes in as text, so a name cannot become markup.

import { number, percent, whole } from "./page_metrics.js";

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) made.style.setProperty(key, each);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
  return made;
}

// A number of a summary with its unit, as the command line prints it.
export function withUnit(value, unit) {
  if (unit.startsWith("share of")) return percent(value);
  return unit === "" ? number(value) : `${number(value)} ${unit}`;
}

export const unitOf = (unit) => (unit.startsWith("share of") ? unit.replace("share of", "% of") : unit);

export function signed(value, digits = 3) {
  if (value === 0) return "0";
  return (value > 0 ? "+" : "−") + number(Math.abs(value), digits);
}

// How a value differs from the base's: in percent of it, shares in percentage points; with its interval, if there is one.
// `difference` has mean, low and high in the measure's own unit.
export function change(measure, base, value, difference) {
  if (base === null || value === null || base === undefined || value === undefined) return null;
  const points = measure.unit.startsWith("share of");
  if (!points && base === 0 && value !== 0) return null;
  const scale = points ? 100 : 100 / Math.abs(base);
  const apart = number(base) === number(value) ? 0 : scale * (value - base); // not told apart by what is shown
  const unit = points ? "points" : "%";
  const ends = difference ? [scale * difference.low, scale * difference.high] : null;
  const shown = difference ? difference.low > 0 || difference.high < 0 : null;
  return {
    apart,
    better: apart === 0 ? null : apart > 0 === measure.higher,
    sure: difference && difference.sure !== undefined ? difference.sure : shown,
    text: apart === 0 ? "=" : `${signed(apart)} ${unit}`,
    unit,
    interval: ends && apart !== 0 ? `${signed(ends[0])} to ${signed(ends[1])}` : "",
  };
}

export const seconds = (value) =>
  value === null || value === undefined ? "-" : value !== 0 && Math.abs(value) < 1 ? `${number(1000 * value, 3)} ms` : `${number(value, 3)} s`;

export const plural = (count, noun) => `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;

// A section with its heading, and what stands beside it.
export function section(id, title, note, ...children) {
  return el("section", { id, "aria-labelledby": `${id}-title` },
    el("h2", { id: `${id}-title` }, title), note ? el("p", { class: "note" }, note) : null, ...children);
}

export const dot = (colour) => el("span", { class: "dot", "aria-hidden": "true", style: { background: colour } });
