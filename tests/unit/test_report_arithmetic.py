"""The page's numbers are those of the metrics, for any reader: in Python from its envelopes, and in its own script."""

import base64
import json
import shutil
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulator.metrics import RequestLog, Slo, UserModel, summarise
from simulator.metrics._reader import clock_start_s, idle_latency_s, v_s_per_token
from simulator.metrics._window import Window, measured
from simulator.replica.request import RequestState
from simulator.report.html.packed import packed, packed_floats
from simulator.report.html.readers import readers
from simulator.report.text import number, percent

HERE = Path(__file__).parent.parent.parent / "simulator/report/html"
NODE = shutil.which("node")
SCORED = [
    ("smooth_goodput", "smooth_goodput_tokens_per_s"),
    ("smooth_goodput", "share_of_arrived_with_negative_benefit"),
    ("smooth_goodput", "benefit_tokens_per_request"),
    ("idle_latency", "idle_latency_s"),
    ("idle_latency", "share_of_arrived_that_idled"),
    ("token_slo", "attainment"),
]
MODELS = [
    {},
    {"f": "quadratic"},
    {"f": "exponential", "f_scale_s": 2.0},
    {"f": "step", "f_scale_s": 0.5},
    {"f": "hinge", "f_scale_s": 0.3, "first_token_allowance_s": 0.4},
    {"unserved": "wait_ends", "weight_input": 0.1, "weight_output": 0.7},
    {"unserved": "wait_to_end"},
    {"origin": "first_token"},
    {"origin": "first_token", "unserved": "wait_to_end", "thinking_share": 0.3, "weight_thinking": 0.2},
    {"reads": 7},
    {"reads": "answer", "unserved": "asks_again"},
    {"fatigue": 0.5, "skim_after_tokens": 20, "skim_speedup": 1.7},
]  # fmt: skip
WINDOWS = [Window(), Window("whole"), Window("arrivals", 0.3, 0.2), Window(4.0)]


def random_log(seed: int, own: bool = False, thinking: bool = False) -> RequestLog:
    """Return a log with, where asked for, readers with a V and an S of their own, and thinking tokens.

    Sixty requests in twelve seconds: some without a token, dropped, failed or cut off.
    """
    rng = np.random.default_rng(seed)
    n = 60
    arrival_s = np.sort(rng.uniform(0, 12, n))
    counts = rng.integers(0, 80, n) * (rng.random(n) > 0.1)
    gaps = [rng.exponential(rng.choice([0.01, 0.06, 0.2]), count) + 1e-3 for count in counts]
    times = [
        start + rng.exponential(0.3) + np.cumsum(each) for start, each in zip(arrival_s, gaps, strict=True)
    ]
    left = rng.choice(
        [RequestState.COMPLETED] * 6 + [RequestState.REJECTED, RequestState.FAILED, RequestState.UNFINISHED],
        n,
    )
    state = [
        RequestState.UNFINISHED if count == 0 and code == RequestState.COMPLETED else code
        for count, code in zip(counts, left, strict=True)
    ]
    last_s = max(float(each[-1]) for each in times if len(each)) + 1.0
    end_s = [
        float(each[-1]) if code == RequestState.COMPLETED
        else last_s if code == RequestState.UNFINISHED
        else float(max([start, *each[-1:]])) + rng.uniform(0, 1)
        for start, each, code in zip(arrival_s, times, state, strict=True)
    ]  # fmt: skip
    done = np.array([code == RequestState.COMPLETED for code in state])
    log = RequestLog.from_lists(
        arrival_s.tolist(),
        [each.tolist() for each in times],
        prompt_tokens=rng.integers(1, 500, n).tolist(),
        output_tokens=(counts + np.where(done, 0, rng.integers(1, 40, n))).tolist(),
        state=state,
        end_s=end_s,
        end_of_run_s=last_s,
        v_s_per_token=np.where(rng.random(n) < 0.5, np.nan, rng.uniform(0.01, 0.2, n)).tolist()
        if own
        else None,
        thinking_tokens=rng.integers(-1, 30, n).tolist() if thinking else None,
    )
    own_s = np.where(rng.random(n) < 0.5, np.nan, rng.uniform(0, 2, n))
    return replace(log, first_token_allowance_s=own_s) if own else log


def unpack(each: dict) -> np.ndarray:
    data = zlib.decompress(base64.b64decode(each["data"]), -15)
    if each.get("doubles"):
        return np.frombuffer(data, "<f8")
    planes = np.frombuffer(data, np.uint8).reshape(each["bytes"], each["n"]).astype(np.int64)
    return (
        sum((plane << (8 * i) for i, plane in enumerate(planes)), np.zeros(each["n"], np.int64))
        + each["lowest"]
    )


@pytest.mark.parametrize("values", [[], [0], [5, 0, 255, 256], [-3, 2**40, 0, -(2**20)]])
def test_whole_numbers_come_back(values):
    assert unpack(packed(values)).tolist() == values


def test_doubles_come_back_bit_for_bit_and_what_is_too_large_is_refused():
    values = np.array([0.1, np.nan, -1e300])
    assert unpack(packed_floats(values)).tobytes() == values.tobytes()
    with pytest.raises(ValueError, match="at most 6 bytes"):
        packed([2**50])


@pytest.mark.parametrize("keys", MODELS, ids=str)
def test_the_envelope_of_a_request_has_its_wait_for_every_v(keys):
    log, user = random_log(1, own=True, thinking=True), UserModel(**keys)
    found = readers(measured(log, Window()), user)
    hull = found["envelopes"]
    counts, place, time = (unpack(hull[name]) for name in ("counts", "places", "times"))
    assert counts[: log.n].sum() < log.token_counts.sum() / 2
    starts = np.cumsum(counts) - counts
    again = np.zeros(log.n)
    again[unpack(found["again"]["rows"])] = unpack(found["again"]["places"])
    for v_s in (0.01, 0.05, 0.3):
        asked = replace(user, v_s_per_token=v_s, alpha=3.0)
        each_v = v_s_per_token(log, asked)
        clock_s = clock_start_s(log, user) - log.arrival_s
        waits = []
        for row in range(log.n):
            points = slice(starts[row], starts[row] + counts[row])
            x, t = np.cumsum(place[points]) / hull["scale"], np.cumsum(time[points]) * hull["quantum_s"]
            waits.append(
                max(0.0, float((t - each_v[row] * x).max()) - clock_s[row]) + each_v[row] * again[row]
            )
        assert np.abs(waits - idle_latency_s(measured(log, Window()).all, asked)).max() < 1e-8


def shown(summary: dict) -> dict[str, str]:
    """The numbers as the command line prints them."""
    found: dict[str, str] = {}
    for family, name in SCORED:
        value = summary[family][name]
        if isinstance(value, dict):
            found |= {
                f"{family}.{name}.{key}": number(each)
                for key, each in value.items()
                if key not in ("count", "over")
            }
        else:
            found[f"{family}.{name}"] = (
                percent(value) if "share" in name or name == "attainment" else number(value)
            )
    return found


@pytest.mark.skipif(NODE is None, reason="no node on this machine")
def test_the_page_prints_what_the_command_line_prints_for_any_reader(tmp_path):
    cases = []
    for seed, keys in enumerate(MODELS):
        user, window = UserModel(**keys), WINDOWS[seed % len(WINDOWS)]
        log = measured(random_log(seed, own=seed % 3 == 1, thinking=seed % 4 == 2), window)
        for v_s, s_s, alpha, origin in (
            (user.v_s_per_token, user.first_token_allowance_s, user.alpha, user.origin),
            (0.031, 0.7, 4.5, "arrival"),
            (0.17, 0.0, None, "arrival"),
            (0.06, 0.0, 2.0, "first_token"),
        ):
            asked = replace(user, v_s_per_token=v_s, first_token_allowance_s=s_s, alpha=alpha, origin=origin)
            cases.append({
                "name": f"{keys} {window} V={v_s} S={s_s} alpha={alpha} {origin}", "readers": readers(log, user),
                "reader": {"v": v_s, "s": s_s, "alpha": alpha, "origin": origin},
                "expected": shown(summarise(log, asked, Slo())),
            })  # fmt: skip
    (tmp_path / "cases.json").write_text(json.dumps(cases, allow_nan=False))
    script = tmp_path / "check.mjs"
    script.write_text(
        f"""
import {{ readFileSync }} from "node:fs";
import {{ number, percent, score, unpackReaders }} from {json.dumps((HERE / "page_metrics.js").as_uri())};
const found = [];
for (const each of JSON.parse(readFileSync({json.dumps(str(tmp_path / "cases.json"))}))) {{
  const {{ values }} = score(await unpackReaders(each.readers), each.reader);
  const said = ([key, value]) => [key, /share|attainment/.test(key) ? percent(value) : number(value)];
  found.push(Object.fromEntries(Object.entries(values).map(said)));
}}
console.log(JSON.stringify(found));
"""
    )
    done = subprocess.run([NODE, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for case, found in zip(cases, json.loads(done.stdout), strict=True):
        assert found == case["expected"], case["name"]


@pytest.mark.skipif(NODE is None, reason="no node on this machine")
def test_what_is_drawn_as_waiting_adds_up_to_the_idle_latency(tmp_path):
    cases, expected = [], []
    for seed, keys in enumerate(MODELS):
        user, log = UserModel(**keys), random_log(seed, own=True, thinking=seed % 2 == 0)
        whole = measured(log, Window())
        idle_s = idle_latency_s(whole.all, user)
        for request in np.flatnonzero(log.completed).tolist()[:8]:
            times = log.delivered_s[log.token_offsets[request] : log.token_offsets[request + 1]]
            since = (times - log.arrival_s[request]).tolist()
            reader = {
                "v": user.v_s_per_token,
                "s": user.first_token_allowance_s,
                "alpha": None,
                "origin": user.origin,
            }
            cases.append(
                {"readers": readers(whole, user), "request": request, "times": since, "reader": reader}
            )
            expected.append(float(idle_s[request]))
    (tmp_path / "cases.json").write_text(json.dumps(cases, allow_nan=False))
    script = tmp_path / "check.mjs"
    script.write_text(
        f"""
import {{ readFileSync }} from "node:fs";
import {{ unpackReaders }} from {json.dumps((HERE / "page_metrics.js").as_uri())};
import {{ readingOf }} from {json.dumps((HERE / "page_delivery.js").as_uri())};
const found = [];
for (const each of JSON.parse(readFileSync({json.dumps(str(tmp_path / "cases.json"))}))) {{
  const {{ waits }} = readingOf(each.times, await unpackReaders(each.readers), each.request, each.reader);
  found.push(waits.reduce((sum, [from, to]) => sum + to - from, 0));
}}
console.log(JSON.stringify(found));
"""
    )
    done = subprocess.run([NODE, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(expected, abs=1e-9)
