// The app around the report: joined with the report's modules into one, so `el`, `library` and `render` are theirs.
// All state is in the address: the token in its query, the tab, the form and what is open in its fragment.

const APP = JSON.parse(document.getElementById("form").textContent);
const TOKEN = new URLSearchParams(location.search).get("token") ?? "";
const TABS = { run: "Run", compare: "Compare", plan: "Plan", trace: "Trace", paper: "Paper" };
const HINTS = {
  run: "Fill in the form and press Run: a few hundred requests take about a second.",
  compare: "Choose two or more saved runs and press Compare.",
  plan: "Say a target and press Plan; the traffic is that of the form.",
  trace: "What is in a file is shown here, and can be simulated; the file is forgotten when the app ends.",
};
const POLL_MS = 200;
const state = { tab: "run", values: { ...APP.start }, open: { run: [], compare: [], plan: [], trace: [], paper: [] }, task: null, taskTab: "run", plan: { target: "token_slo.attainment >= 0.9", gpus: "h100-80gb-sxm", replicas: "4", seeds: "1", checks: false } };
const left = el("div", { class: "left" });
const right = el("div", { class: "right", id: "report", "aria-live": "off" });
const tabs = el("div", { class: "row", role: "tablist" });
let following = 0; // number of the report or task that is followed; an older one's answer is dropped

async function ask(path, body, raw) {
  const answer = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers: { "x-servesim-token": TOKEN },
    body: body === undefined ? undefined : raw ? body : JSON.stringify(body),
  }).catch(() => {
    throw new Error("servesim ui does not answer; is it still running?");
  });
  const text = await answer.text();
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error(text);
  }
  if (found.error && !found.state) throw new Error(found.error);
  return found;
}

function remember_state() {
  history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(state))}`);
}

function recall_state() {
  try {
    const kept = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    if (kept.tab in TABS) Object.assign(state, kept, { open: { ...state.open, ...kept.open }, plan: { ...state.plan, ...kept.plan } });
  } catch {
    // an address without a form, or one that was cut off: the form as it begins
  }
}

function told(error) {
  right.replaceChildren(el("p", { class: "refused", role: "alert" }, error.message));
}

const synthetic = () => (state.values["workload.arrivals"] ?? "") !== "";
const applies = (field) => field.needs === null || (field.needs === "arrivals") === synthetic();
const sent = () => Object.fromEntries(APP.fields.filter((field) => applies(field) && state.values[field.key]).map((field) => [field.key, state.values[field.key]]));

function control(field) {
  const id = `field-${field.key}`;
  const value = state.values[field.key] ?? "";
  const changed = (event) => {
    state.values[field.key] = event.target.value;
    if (field.key === "workload.arrivals") {
      state.values = { ...APP.arrivals, ...state.values }; // a rate, a number and lengths, which arrivals need
      draw();
    }
    remember_state();
  };
  const hint = field.default === null ? "unset" : field.default;
  const common = { id, title: `${field.key}: ${field.description}`, onchange: changed };
  const offered = field.choices.map((each) => el("option", { value: each, selected: each === value }, each));
  if (field.kind === "choice" || field.kind === "name") return el("select", common, el("option", { value: "" }, `${hint} (default)`), ...offered);
  return el("input", { ...common, type: "text", inputmode: field.kind === "number" ? "decimal" : "text", placeholder: hint, value, oninput: changed });
}

// A key in words, its unit in brackets: first_token_allowance_s is first token allowance (s).
function words(key) {
  const name = key.split(".").slice(key.includes(".") ? 1 : 0).join(" ");
  if (name === "v_s_per_token") return "V (s a token)";
  return name.replace(/_s$/, " (s)").replace(/_rps$/, " (requests/s)").replaceAll("_", " ");
}

const row = (field) => el("div", { class: "field" }, el("label", { for: `field-${field.key}` }, words(field.key)), control(field));

function sections(fields) {
  const found = new Map();
  for (const field of fields.filter(applies)) {
    const name = field.key.includes(".") ? field.key.split(".")[0] : "run";
    found.set(name, [...(found.get(name) ?? []), row(field)]);
  }
  return [...found].map(([name, rows]) => el("fieldset", {}, el("legend", {}, name), ...rows));
}

const button = (text, press, more = {}) => el("button", { type: "button", onclick: () => new Promise((done) => done(press())).catch(told), ...more }, text);

function form() {
  return [
    ...sections(APP.fields.filter((field) => field.usual)),
    el("details", {}, el("summary", {}, "More keys"), ...sections(APP.fields.filter((field) => !field.usual))),
  ];
}

const copies = () => el("div", { class: "row", id: "copies" }, button("Copy as TOML", () => copy("toml")), button("Copy as command", () => copy("command")), button("Reset", () => { state.values = { ...APP.start }; draw(); }));

async function copy(what) {
  const found = (await ask("api/scenario", { values: sent() }))[what];
  left.querySelector("#copied")?.remove();
  left.querySelector("#copies").after(el("pre", { id: "copied", tabindex: 0 }, found));
  await navigator.clipboard?.writeText(found).catch(() => {}); // else it is there to be selected
}

async function follow(task) {
  const mine = ++following;
  [state.task, state.taskTab] = [task.id, state.tab];
  remember_state();
  const bar = el("progress", {});
  const said = el("p", { role: "status" }, "waiting");
  right.replaceChildren(said, bar, button("Cancel", () => ask(`api/tasks/${task.id}/cancel`, {}), { id: "cancel" }));
  if (matchMedia("(max-width: 860px)").matches) right.scrollIntoView();
  for (let now = task; mine === following; now = await ask(`api/tasks/${task.id}`)) {
    if (now.total) [bar.max, bar.value] = [now.total, now.done];
    said.textContent = now.total ? `${now.state}: ${whole(now.done)} of ${whole(now.total)}` : now.state;
    if (now.state === "done") return ((state.task = null), open(now.runs));
    if (now.state === "failed" || now.state === "cancelled") {
      state.task = null;
      remember_state();
      throw new Error(now.error ?? "cancelled; nothing of it was saved");
    }
    await new Promise((later) => setTimeout(later, POLL_MS));
  }
}

async function open(names) {
  const mine = ++following;
  state.open[state.tab] = names;
  remember_state();
  const found = await ask(`api/report?${state.tab === "paper" ? "rates&" : ""}${names.map((name) => `run=${encodeURIComponent(name)}`).join("&")}`);
  if (mine !== following) return;
  await Promise.all([charts, render(found, right)]);
  drawAhead();
  right.dataset.shown = names.join(" ");
  list().catch(() => {});
}

async function list() {
  const place = left.querySelector("#saved");
  if (!place) return;
  const { runs } = await ask("api/runs");
  const several = state.tab === "compare";
  const kinds = several ? ["run"] : state.tab === "plan" ? ["plan"] : ["run", "sweep", "capacity"];
  const rows = runs.filter((each) => kinds.includes(each.kind)).slice(0, 200).map((each) => el("li", {},
    several ? el("input", { type: "checkbox", value: each.name, "aria-label": each.name, checked: state.open.compare.includes(each.name) }) : null,
    several ? el("input", { type: "radio", name: "base", value: each.name, title: "the base", "aria-label": `${each.name} is the base`, checked: state.open.compare[0] === each.name }) : null,
    button(each.name, () => open([each.name])), el("small", {}, each.words)));
  place.replaceChildren(el("ul", { class: "saved" }, ...rows), rows.length ? "" : el("p", { class: "note" }, "Nothing is saved yet."));
}

// Opens the runs that are ticked, the base first; a base is compared, ticked or not.
function compare() {
  const base = left.querySelector("#saved input[type=radio]:checked")?.value;
  const ticked = [...left.querySelectorAll("#saved input[type=checkbox]:checked")].map((each) => each.value);
  const names = base === undefined ? ticked : [base, ...ticked.filter((name) => name !== base)];
  if (names.length < 2) throw new Error("Compare: expected two or more runs of the list.");
  return open(names);
}

const savedList = (title) => [el("h2", {}, title), el("div", { id: "saved" })];

function planForm() {
  const input = (name, label) => el("div", { class: "field" }, el("label", { for: `plan-${name}` }, label),
    el("input", { id: `plan-${name}`, value: state.plan[name], oninput: (event) => { state.plan[name] = event.target.value; remember_state(); } }));
  const checks = el("input", { id: "plan-checks", type: "checkbox", checked: state.plan.checks, onchange: () => { state.plan.checks = checks.checked; remember_state(); } });
  const start = async () => follow(await ask("api/plans", { values: sent(), target: state.plan.target, gpus: state.plan.gpus, replicas: Number(state.plan.replicas), seeds: Number(state.plan.seeds), checks: state.plan.checks }));
  return [
    el("p", { class: "note" }, "The cheapest cluster that keeps a target for the traffic of the form."),
    input("target", "target"), input("gpus", "GPUs, by commas"), input("replicas", "replicas, at most"), input("seeds", "seeds, each has to keep it"),
    el("label", { class: "auto" }, checks, "also try other traffic and slower steps"),
    button("Plan", start, { class: "primary", id: "go" }), ...form(), ...savedList("Saved plans"),
  ];
}

// What of the form goes for a file of one's own: all but its traffic.
const withoutTraffic = () => Object.fromEntries(Object.entries(sent()).filter(([key]) => !key.startsWith("workload.")));

function traceForm() {
  const simulate = async (file) => follow(await ask("api/runs", { values: withoutTraffic(), file }));
  const read = async (file) => {
    ++following;
    right.replaceChildren(el("p", { role: "status" }, `reading ${file.name}`));
    const found = await ask(`api/inspect?name=${encodeURIComponent(file.name)}`, file, true);
    state.open.trace = [];
    remember_state();
    right.replaceChildren(el("section", {}, el("h2", {}, file.name), el("pre", { class: "text", tabindex: 0 }, found.text),
      el("p", {}, button("Simulate it", () => simulate(found.file), { class: "primary", id: "go" }), " with the hardware, policies and reader of the form, its requests as they come.")));
  };
  const chosen = el("input", { type: "file", id: "file", "aria-label": "A file of requests", onchange: () => chosen.files[0] && read(chosen.files[0]).catch(told) });
  const dropped = (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) read(event.dataTransfer.files[0]).catch(told);
  };
  return [el("div", { class: "drop", ondragover: (event) => event.preventDefault(), ondrop: dropped }, el("p", {}, "Drop a file of requests here, or choose one: its format, rates, lengths, and what is odd."), chosen),
    ...sections(APP.fields.filter((field) => field.usual && !field.key.startsWith("workload.")))];
}

async function paper() {
  const mine = ++following;
  const { figures } = await ask("api/figures");
  if (mine !== following) return;
  const shown = figures.map((name) => el("figure", {}, el("img", { src: `api/figure?name=${encodeURIComponent(name)}&token=${TOKEN}`, alt: name, loading: "lazy" }), el("figcaption", {}, name)));
  right.replaceChildren(shown.length ? el("div", { class: "pictures" }, ...shown) : el("p", {}, "No figures here: servesim reproduce draws them."));
}

const LEFT = {
  run: () => [el("div", { class: "row" }, button("Run", async () => follow(await ask("api/runs", { values: sent() })), { class: "primary", id: "go" })), ...form(), copies(), ...savedList("Saved")],
  compare: () => [
    el("p", { class: "note" }, "Tick runs of the same traffic, and mark one as the base; without a mark it is the first of the list."),
    button("Compare", compare, { class: "primary", id: "go" }), ...savedList("Saved runs"),
  ],
  plan: planForm,
  trace: traceForm,
  paper: () => [
    el("p", { class: "note" }, "Figures 6 and 11: smooth goodput over the rate, simulated small and in seconds, with sliders for V, S, alpha and the clock's origin."),
    button("Simulate", async () => follow(await ask("api/paper", {})), { class: "primary", id: "go" }),
    el("p", { class: "note" }, "All figures as servesim reproduces them, with the published number of runs:"),
    button("Figures", () => { state.open.paper = []; remember_state(); return paper(); }),
  ],
};

function draw() {
  tabs.replaceChildren(...Object.entries(TABS).map(([name, label]) => button(label, () => { state.tab = name; draw(); return arrive(); }, { role: "tab", "aria-selected": String(name === state.tab), id: `tab-${name}` })));
  const opened = left.querySelector("details")?.open;
  left.replaceChildren(...LEFT[state.tab]());
  if (opened && left.querySelector("details")) left.querySelector("details").open = true;
  remember_state();
  list().catch(told);
}

// Shows what belongs to a tab when it is chosen or the page is loaded again.
async function arrive() {
  ++following;
  if (state.task && state.tab === state.taskTab) return ask(`api/tasks/${state.task}`).then(follow, () => { state.task = null; return arrive(); });
  if (state.open[state.tab]?.length) return open(state.open[state.tab]);
  if (state.tab === "paper") return paper();
  right.replaceChildren(el("p", { class: "note" }, HINTS[state.tab]));
}

recall_state();
document.getElementById("app").replaceChildren(el("header", { class: "bar" }, el("strong", {}, "servesim"), tabs), el("main", { class: "sides" }, left, right));
const charts = library();
draw();
arrive().catch((error) => { state.open[state.tab] = []; remember_state(); told(error); });
