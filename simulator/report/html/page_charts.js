// Charts, drawn by ECharts when they come into view, in the page's colours of the moment.

import { number } from "./page_metrics.js";
import { el } from "./page_text.js";

const charts = new Set();
let watcher = null;

export const theme = () => {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return { text: of("text"), muted: of("muted"), line: of("line"), card: of("card"), wait: of("wait"), font: of("font") };
};

export const isDark = () => getComputedStyle(document.documentElement).getPropertyValue("--dark").trim() === "1";

// A chart that is made when it is first seen; `option()` returns what it shows, and is asked again by `redraw`.
export function chart(label, option, { height = 260, group = null } = {}) {
  const place = el("div", { class: "chart", role: "img", "aria-label": label, style: { height: `${height}px` } });
  const own = { place, drawn: null, seen: false };
  charts.add(own);
  watcher ??= watch("0px");
  own.see = () => {
    own.seen = true;
    if (globalThis.echarts) own.show();
  };
  own.show = () => {
    if (own.drawn || !place.isConnected) return;
    own.drawn = echarts.init(place, null, { renderer: "svg" });
    if (group) {
      own.drawn.group = group;
      echarts.connect(group);
    }
    own.drawn.setOption(option());
  };
  watcher.observe(place);
  place.redraw = () => own.drawn?.setOption(option(), { replaceMerge: ["series"] });
  return place;
}

const watch = (rootMargin) => new IntersectionObserver((seen) => {
  for (const each of seen) if (each.isIntersecting) [...charts].find((one) => one.place === each.target)?.see();
}, { rootMargin });

// Draws charts before they come into view; at first only those in view, so that the page is there sooner.
export function drawAhead() {
  watcher?.disconnect();
  watcher = watch("300px");
  for (const each of charts) if (!each.drawn) watcher.observe(each.place);
}

// What has come into view before the library was there.
export function drawSeen() {
  for (const each of charts) if (each.seen) each.show();
}

export function redrawAll() {
  for (const each of charts) each.place.redraw();
}

export function resizeAll() {
  for (const each of charts) each.drawn?.resize();
}

export function drawAll() {
  for (const each of charts) each.show();
  resizeAll();
}

export function forgetAll() {
  for (const each of charts) each.drawn?.dispose();
  charts.clear();
}

// Lines over one x axis. `lines` have name, colour, points [[x, y], ...], and may have dashed, step, width and area.
export function lineOption({ lines, x, y, zoom = false, waits = [], at = null, shown = (value) => number(value, 3) }) {
  const { text, muted, line, card, wait, font } = theme();
  const [least, most] = extremes(lines, x.log);
  const narrow = document.documentElement.clientWidth < 560;
  return {
    animation: false,
    textStyle: { fontFamily: font },
    grid: { left: y.width ?? 8, right: 16, top: y.name ? 28 : 14, bottom: (zoom === "bar" ? 40 : 0) + (x.name ? 26 : 6) + (y.width === undefined ? 0 : 18), containLabel: y.width === undefined },
    tooltip: {
      trigger: "axis", renderMode: "richText", confine: true, backgroundColor: card, borderColor: line,
      textStyle: { color: text, fontSize: 12 }, axisPointer: { lineStyle: { color: muted } },
      formatter: (rows) => [
        `${x.name}: ${(x.shown ?? ((each) => number(each, 4)))(rows[0].value[0])}`,
        ...rows.map((each) => `${each.seriesName}: ${shown(each.value[1])}`),
      ].join("\n"),
    },
    xAxis: {
      type: x.log ? "log" : "value", name: x.name, nameLocation: "middle", nameGap: 26, min: x.min ?? least, max: x.max ?? most,
      nameTextStyle: { color: muted, fontSize: 12 }, axisLine: { lineStyle: { color: line } }, axisTick: { show: false },
      splitLine: { show: false }, splitNumber: narrow ? 4 : 6,
      axisLabel: { color: muted, fontSize: 11, hideOverlap: true, showMaxLabel: x.max !== "dataMax", formatter: x.label ?? ((value) => plainNumber(value)) },
    },
    yAxis: {
      type: y.log ? "log" : "value", name: y.name, nameTextStyle: { color: muted, align: "left" }, min: y.min, max: y.max, scale: y.scale ?? false, splitNumber: 4, interval: y.interval,
      axisLabel: { color: muted, fontSize: 11, formatter: y.label ?? ((value) => plainNumber(value)) },
      splitLine: { lineStyle: { color: line } },
    },
    dataZoom: zoom ? [
      { type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseMove: true },
      ...(zoom !== "bar" ? [] : [{ type: "slider", height: 18, bottom: 6, borderColor: line, textStyle: { color: muted }, fillerColor: `${muted}33`, showDetail: false, brushSelect: false }]),
    ] : [],
    series: lines.map((each, i) => ({
      name: each.name, type: "line", data: each.points, showSymbol: false, step: each.step ?? false, sampling: each.step ? undefined : "lttb",
      color: each.colour, lineStyle: { width: each.width ?? 2, type: each.dashed ? [5, 4] : "solid" },
      areaStyle: each.area ? { opacity: 0.15 } : undefined, emphasis: { disabled: true },
      markArea: i === 0 && waits.length ? { silent: true, itemStyle: { color: wait }, data: waits.map(([from, to]) => [{ xAxis: from }, { xAxis: to }]) } : undefined,
      markLine: i === 0 && at !== null ? {
        silent: true, symbol: "none", label: { show: false }, lineStyle: { color: muted, type: [2, 3] }, data: [{ xAxis: at }],
      } : undefined,
    })),
  };
}

// The ends of a logarithmic axis, at 1, 2 or 5 times a power of ten: else it would reach to the next powers.
function extremes(lines, log) {
  if (!log) return [undefined, undefined];
  const values = lines.flatMap((each) => each.points.map(([value]) => value)).filter((value) => value > 0);
  if (!values.length) return [undefined, undefined];
  const round = (value, up) => {
    const power = 10 ** Math.floor(Math.log10(value) + 1e-12);
    const steps = [1, 2, 5, 10].map((each) => each * power);
    return up ? steps.find((each) => each >= value * (1 - 1e-9)) : steps.filter((each) => each <= value * (1 + 1e-9)).at(-1);
  };
  const [least, most] = [round(Math.min(...values), false), round(Math.max(...values), true)];
  return least < most ? [least, most] : [least / 2, most * 2];
}

// Named points.
export function pointsOption({ groups, x, y }) {
  const { text, muted, line, card, font } = theme();
  const axis = (each) => ({
    type: each.log ? "log" : "value", name: each.name, nameLocation: "middle", scale: true, nameTextStyle: { color: muted, fontSize: 12 },
    axisLabel: { color: muted, fontSize: 11, formatter: (value) => plainNumber(value) }, splitLine: { lineStyle: { color: line } },
  });
  return {
    animation: false,
    textStyle: { fontFamily: font },
    grid: { left: 34, right: 24, top: 20, bottom: 34, containLabel: true },
    tooltip: {
      renderMode: "richText", confine: true, backgroundColor: card, borderColor: line, textStyle: { color: text, fontSize: 12 },
      formatter: (row) => [row.data.name, `${x.name}: ${number(row.value[0])}`, `${y.name}: ${number(row.value[1])}`].join("\n"),
    },
    xAxis: { ...axis(x), nameGap: 26 },
    yAxis: { ...axis(y), nameGap: 44 },
    series: groups.map((each) => ({
      name: each.name, type: "scatter", symbolSize: (_, row) => (row.data.front ? 12 : 8), color: each.colour,
      data: each.points.map((point) => ({ ...point, itemStyle: { opacity: point.front ? 1 : 0.45 } })),
      label: { show: true, position: "top", color: text, fontSize: 11, formatter: (row) => (row.data.front ? row.data.short : "") },
      labelLayout: { hideOverlap: true },
    })),
  };
}

export const plainNumber = (value) =>
  Math.abs(value) >= 1e4 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 }) : String(+value.toPrecision(6));
