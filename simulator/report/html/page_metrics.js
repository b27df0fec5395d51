// The arithmetic of the page: how long readers wait, and what the requests of a run are worth, for any V, S, alpha and origin.
// It is that of simulator/metrics/_reader.py and _accrued.py, on the upper envelopes that
// simulator/report/html/envelopes.py makes of the deliveries: l = max over points of (time - S - V * place), at least 0; with origin first_token, the time of
// the first token that is read stands for S.

export const ON_TIME_WITHIN_S = 1e-9; // sums of float seconds carry rounding; a token this little late is on time
const LARGEST_EXPONENT = 600; // simulator/replica/idle_cost.py
const PERCENTILES = [50, 90, 95, 99];

// Bytes of raw deflate in base64.
export async function inflate(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i); // a mapped Uint8Array.from takes ten times as long
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// An array that simulator/report/html/packed.py wrote.
export async function unpack(packed) {
  const bytes = await inflate(packed.data);
  if (packed.doubles) return new Float64Array(bytes.buffer, 0, packed.n);
  const values = new Float64Array(packed.n).fill(packed.lowest);
  for (let plane = 0, unit = 1; plane < packed.bytes; plane++, unit *= 256) {
    for (let i = 0; i < packed.n; i++) values[i] += unit * bytes[plane * packed.n + i];
  }
  return values;
}

export function summed(differences) {
  let sum = 0;
  return differences.map((each) => (sum += each));
}

// Everything of a run's `readers` as arrays, ready to be scored.
export async function unpackReaders(packed) {
  const own = async (each) => (each === null ? null : unpack(each));
  const { envelopes } = packed;
  const counts = await unpack(envelopes.counts);
  const [places, times] = [await unpack(envelopes.places), await unpack(envelopes.times)];
  const begins = new Uint32Array(counts.length + 1);
  for (let row = 0, at = 0; row < counts.length; row++) {
    for (let i = 0, place = 0, time = 0; i < counts[row]; i++, at++) {
      places[at] = place += places[at];
      times[at] = time += times[at];
    }
    begins[row + 1] = at;
  }
  // When each row's reader gets the first token that is read, in quanta; 0 where none is: its clock is the arrival's.
  const first = envelopes.first === null ? Float64Array.from(counts, (_, row) => times[begins[row]]) : await unpack(envelopes.first);
  for (const row of await unpack(envelopes.unread)) first[row] = 0;
  const again = new Float64Array(packed.requests);
  const [againRows, againPlaces] = [await unpack(packed.again.rows), await unpack(packed.again.places)];
  againRows.forEach((request, i) => (again[request] = againPlaces[i]));
  // Which row each request has at a moment: its own for one that was over, another, or -1 for one that had not arrived.
  const cut = async (each) => {
    const rows = Int32Array.from({ length: packed.requests }, (_, request) => request);
    const [requests, left, absent] = [await unpack(each.requests), await unpack(each.left), await unpack(each.absent)];
    for (const request of absent) rows[request] = -1;
    requests.forEach((request, i) => (rows[request] = each.first_row + i));
    return { rows, left: new Set(requests.filter((_, i) => left[i])), present: packed.requests - absent.length };
  };
  return {
    ...packed,
    begins,
    places: places.map((each) => each / envelopes.scale),
    timesS: times.map((each) => each * envelopes.quantum_s),
    firstS: first.map((each) => each * envelopes.quantum_s),
    end: await cut(packed.end),
    start: await cut(packed.start),
    again,
    incomplete: new Set(await unpack(packed.incomplete)),
    ownS: await own(packed.own_s_s),
    ownV: await own(packed.own_v_s),
    thinking: await own(packed.thinking),
    tokens: await unpack(packed.tokens),
    worthEach: await own(packed.worth_each),
    // None where they are those of the first run.
    prompts: await own(packed.prompts),
    arrivalsS: packed.arrivals_ms === null ? null : summed(await unpack(packed.arrivals_ms)).map((each) => each / 1000),
  };
}

// The seconds that the reader of a request takes for a token, and those it gives the first.
export const sOf = (run, request, reader) => (run.ownS === null || Number.isNaN(run.ownS[request]) ? reader.s : run.ownS[request]);
export const vOf = (run, request, reader) =>
  run.ownV === null || Number.isNaN(run.ownV[request]) ? reader.v : run.ownV[request];

// The wait that the points of a request's row give; S counts from the arrival only.
export function waitOfRow(run, row, request, v, reader) {
  let most = -Infinity;
  for (let i = run.begins[row]; i < run.begins[row + 1]; i++) {
    const late = run.timesS[i] - v * run.places[i];
    if (late > most) most = late;
  }
  return Math.max(0, most - (reader.origin === "arrival" ? sOf(run, request, reader) : run.firstS[row]));
}

// The idle latency of each request of the run in seconds, at its end; `reader` has v, s, alpha (null: 1/V) and origin.
export function idleLatency(run, reader) {
  const idle = new Float64Array(run.requests);
  for (let request = 0; request < run.requests; request++) {
    const v = vOf(run, request, reader);
    idle[request] = waitOfRow(run, request, request, v, reader) + v * run.again[request];
  }
  return idle;
}

// alpha * f(l) in tokens.
export function penalty(run, request, idleS, reader) {
  const { f, f_scale_s: c } = run.user;
  const alpha = reader.alpha === null ? 1 / vOf(run, request, reader) : reader.alpha;
  if (f === "linear") return alpha * idleS;
  if (f === "quadratic") return alpha * idleS ** 2;
  if (f === "exponential") return alpha * Math.expm1(Math.min(idleS / c, LARGEST_EXPONENT));
  if (f === "step") return idleS > c ? alpha : 0;
  return alpha * Math.max(idleS - c, 0);
}

// The penalties of all requests as they stood at a moment; those that were over by then have the wait of their end.
function accruedPenalty(run, reader, idle, cut) {
  let sum = 0;
  for (let request = 0; cut.present && request < run.requests; request++) {
    const row = cut.rows[request];
    if (row < 0) continue;
    let wait = idle[request];
    if (row !== request) {
      const v = vOf(run, request, reader);
      wait = waitOfRow(run, row, request, v, reader) + (cut.left.has(request) ? v * run.again[request] : 0);
    }
    sum += penalty(run, request, wait, reader);
  }
  return sum;
}

export function smoothGoodput(run, reader, idle = idleLatency(run, reader)) {
  if (!(run.window_s > 0)) return null;
  const paid = accruedPenalty(run, reader, idle, run.end) - accruedPenalty(run, reader, idle, run.start);
  return (run.worth_tokens - paid) / run.window_s;
}

// Every number that follows the reader, under the names of the summary; `idle` and `benefit` are of each measured one.
export function score(run, reader) {
  const all = idleLatency(run, reader);
  const [first, stop] = run.measured;
  const idle = all.slice(first, stop);
  const worth = run.worthEach ?? run.tokens;
  const benefit = idle.map((each, i) => worth[first + i] - penalty(run, first + i, each, reader));
  let late = 0;
  let missed = 0;
  let negative = 0;
  idle.forEach((each, i) => {
    late += each > ON_TIME_WITHIN_S;
    missed += each > ON_TIME_WITHIN_S || run.incomplete.has(first + i);
    negative += benefit[i] < 0;
  });
  const goodput = smoothGoodput(run, reader, all);
  const share = (count) => (idle.length ? count / idle.length : null);
  return {
    idle: all,
    benefit,
    values: {
      "smooth_goodput.smooth_goodput_tokens_per_s": goodput,
      "smooth_goodput.share_of_arrived_with_negative_benefit": share(negative),
      "idle_latency.share_of_arrived_that_idled": share(late),
      "token_slo.attainment": idle.length ? (idle.length - missed) / idle.length : null,
      ...figures("smooth_goodput.benefit_tokens_per_request", benefit),
      ...figures("idle_latency.idle_latency_s", idle),
    },
  };
}

// Mean, percentiles (linear between ranks, as numpy's) and maximum under dotted names.
export function figures(key, values) {
  const sorted = Float64Array.from(values).sort();
  const found = { [`${key}.mean`]: mean(sorted), [`${key}.max`]: sorted.length ? sorted.at(-1) : null };
  for (const percent of PERCENTILES) found[`${key}.p${percent}`] = quantile(sorted, percent / 100);
  return found;
}

export function quantile(sorted, share) {
  if (!sorted.length) return null;
  const rank = (sorted.length - 1) * share;
  const below = Math.floor(rank);
  const low = sorted[below];
  const high = sorted[Math.min(below + 1, sorted.length - 1)];
  const part = rank - below;
  return part < 0.5 ? low + (high - low) * part : high - (high - low) * (1 - part);
}

export function mean(values) {
  if (!values.length) return null;
  let sum = 0;
  for (const each of values) sum += each;
  return sum / values.length;
}

// The mean of paired differences, one a request in order of arrival, with the 95 % interval over 20 equal stretches of
// the traffic (batch means: simulator.stats.batch_means). Null with fewer than 20 requests.
const STRETCHES = 20;
const STUDENT_19 = 2.093024054408263;

export function paired(ours, theirs) {
  const size = Math.floor(ours.length / STRETCHES);
  if (!size || ours.length !== theirs.length) return null;
  const left = ours.length - size * STRETCHES;
  const means = Array.from({ length: STRETCHES }, (_, stretch) => {
    let sum = 0;
    for (let i = left + stretch * size; i < left + (stretch + 1) * size; i++) sum += ours[i] - theirs[i];
    return sum / size;
  });
  const middle = mean(means);
  const spread = Math.sqrt(means.reduce((sum, each) => sum + (each - middle) ** 2, 0) / (STRETCHES - 1));
  const half = (STUDENT_19 * spread) / Math.sqrt(STRETCHES);
  return { mean: middle, low: middle - half, high: middle + half };
}

// A number as the command line prints it (simulator/report/text.py): significant digits, thousands, "-" for none.
export function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "-";
  if (value === 0) return "0";
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value))));
  const [digitsBefore, part] = fixed(Math.abs(value), Math.min(places, 60)).split(".");
  return (value < 0 ? "-" : "") + grouped(digitsBefore) + (part ? `.${part}` : "");
}

const grouped = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");

// A count with its thousands apart: toLocaleString costs 50 ms when it is first asked.
export const whole = (value) => grouped(String(Math.round(value)));

// As Python's formatting: a tie goes to the even digit, where toFixed goes up.
function fixed(value, places) {
  const long = value.toFixed(places + 30);
  const at = long.length - 30;
  const tie = /^50*$/.test(long.slice(at));
  const below = long.slice(0, places ? at : at - 1);
  return tie && Number(below.at(-1)) % 2 === 0 ? below : value.toFixed(places);
}

export const percent = (share) => (share === null || share === undefined ? "-" : `${number(100 * share, 3)} %`);
