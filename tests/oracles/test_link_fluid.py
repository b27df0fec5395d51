"""Transfers that share a network: laws, and a plain fluid solver in exact fractions."""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.links import Net

PORTS = 4


@st.composite
def stories(draw):
    """Flows ``(start, source, destination, size, cap)`` and ``(time, kind, which, value)`` changes."""
    times = st.integers(0, 60).map(lambda tenth: tenth / 10)
    flows = []
    for _ in range(draw(st.integers(1, 8))):
        source = draw(st.integers(0, PORTS - 1))
        destination = (source + draw(st.integers(1, PORTS - 1))) % PORTS
        size = draw(st.one_of(st.just(0), st.integers(1, 1000)))
        cap = draw(st.one_of(st.just(math.inf), st.integers(1, 120)))
        flows.append((draw(times), source, destination, size, cap))
    slow = st.tuples(times, st.just("slow"), st.integers(0, PORTS - 1), st.sampled_from([0.1, 0.5, 1.0]))
    which = st.integers(0, len(flows) - 1)
    cancel = st.tuples(times, st.just("cancel"), which, st.none())
    more = st.tuples(times, st.just("resize"), which, st.integers(1000, 2000))
    changes = draw(st.lists(st.one_of(slow, cancel, more), max_size=4))
    return {"flows": flows, "changes": changes, "latency_s": draw(st.sampled_from([0.0, 0.25]))}


def act(story, start_s=0.0, check=lambda net, flows: None):
    """Let the fabric play a story; return the net, its flows and who was cancelled."""
    net = Net(PORTS, 100.0, story["latency_s"], start_s)
    flows, cancelled = {}, set()

    def change(kind, which, value):
        if kind == "slow":
            net.fabric.set_bandwidth(which, value)
        elif which in flows and flows[which].finished_s is None and which not in cancelled:
            if kind == "cancel":
                cancelled.add(which)
                net.fabric.cancel(flows[which])
            else:
                net.fabric.resize(flows[which], value)

    def start(i, source, destination, size, cap):
        flows[i] = net.send(i, source, destination, size, cap_bytes_per_s=cap)

    for i, (time_s, *rest) in enumerate(story["flows"]):
        net.when(start_s + time_s, lambda i=i, rest=rest: start(i, *rest))
    for time_s, *rest in story["changes"]:
        net.when(start_s + time_s, lambda rest=rest: change(*rest))
    net.run(lambda: check(net, flows))
    return net, flows, cancelled


def fluid(story):
    """The same story in exact fractions, every rate from scratch at every moment.

    Returns when each flow finished (None: cancelled), what it sent, and how close a finish came to a
    change of that flow; there the two may rightly differ, by which of them a rounding puts first.
    """
    latency = Fraction(story["latency_s"])
    bandwidth = [Fraction(100)] * PORTS
    flows = [
        {
            "begin": Fraction(start) + latency,
            "ends": (("out", source), ("in", destination)),
            "left": Fraction(size),
            "cap": Fraction(cap) if cap < math.inf else None,
            "sent": Fraction(0),
            "finish": None,
            "over": False,
            "start": Fraction(start),
        }
        for start, source, destination, size, cap in story["flows"]
    ]
    changes = sorted(story["changes"], key=lambda change: change[0])
    now, closest = Fraction(0), math.inf
    while changes or not all(flow["over"] for flow in flows):
        running = [flow for flow in flows if not flow["over"] and flow["begin"] <= now]
        for flow in running:
            if flow["left"] == 0:
                flow["over"], flow["finish"] = True, now
        running = [flow for flow in running if not flow["over"]]
        # Water rises by the largest step that nothing forbids; a flow that stands at a limit is frozen.
        level, frozen = [Fraction(0)] * len(running), set()
        while len(frozen) < len(running):
            room = {}
            for i, flow in enumerate(running):
                for end in flow["ends"]:
                    used, risers = room.get(end, (Fraction(0), 0))
                    room[end] = (used + level[i], risers + (i not in frozen))
            shares = {
                end: (bandwidth[end[1]] - used) / risers for end, (used, risers) in room.items() if risers
            }
            rising = [i for i in range(len(running)) if i not in frozen]
            caps = [running[i]["cap"] - level[i] for i in rising if running[i]["cap"] is not None]
            step = min([*shares.values(), *caps])
            for i in rising:
                level[i] += step
            for i in rising:
                full = any(shares[end] == step for end in running[i]["ends"])
                if full or level[i] == running[i]["cap"]:
                    frozen.add(i)
        moments = [now + flow["left"] / rate for flow, rate in zip(running, level, strict=True)]
        moments += [flow["begin"] for flow in flows if flow["begin"] > now]
        moments += [Fraction(changes[0][0])] if changes else []
        if not moments:
            continue
        then = min(moments)
        for flow, rate in zip(running, level, strict=True):
            flow["left"] -= rate * (then - now)
            flow["sent"] += rate * (then - now)
        now = then
        while changes and Fraction(changes[0][0]) == now:
            _, kind, which, value = changes.pop(0)
            if kind == "slow":
                bandwidth[which] = 100 * Fraction(value)
                continue
            flow = flows[which]
            if flow["start"] > now:
                continue
            finish = flow["finish"] if flow["over"] else None
            if finish is not None:
                closest = min(closest, abs(float(finish - now)))
            elif not flow["over"]:
                if flow["begin"] <= now and flow["left"] < Fraction(1, 10**6):
                    closest = 0.0
                if kind == "cancel":
                    flow["over"] = True
                else:
                    flow["left"], flow["cap"] = value - flow["sent"], None
    return [flow["finish"] for flow in flows], [flow["sent"] for flow in flows], closest


@settings(max_examples=examples(300), deadline=None)
@given(stories())
def test_the_fabric_agrees_with_a_plain_fluid(story):
    finish, sent, closest = fluid(story)
    assume(closest > 1e-6)
    net, flows, cancelled = act(story)
    assert [i for i, time in enumerate(finish) if time is None] == sorted(cancelled)
    for i, flow in flows.items():
        assert flow.sent_bytes == pytest.approx(float(sent[i]), rel=1e-9, abs=1e-9)
        if i not in cancelled:
            assert flow.finished_s == pytest.approx(float(finish[i]), rel=1e-12)
    assert net.finished == sorted(net.finished, key=lambda entry: entry[1])


@settings(max_examples=examples(200), deadline=None)
@given(stories(), st.sampled_from([0.0, 1e6, 1e9]))
def test_laws(story, start_s):
    last = [0.0] * PORTS

    def check(net, flows):
        nonlocal last
        active = [flow for flow in flows.values() if flow.bytes_per_s > 0]
        ports = {
            (end, port): [flow for flow in active if getattr(flow, end) == port]
            for end in ("source", "destination")
            for port in range(PORTS)
        }
        full = set()
        for (end, port), users in ports.items():
            load, bandwidth = sum(flow.bytes_per_s for flow in users), net.fabric._bytes_per_s[port]
            assert load <= bandwidth * (1 + 1e-12)
            if load >= bandwidth * (1 - 1e-12):
                full.add((end, port))
        for flow in active:  # max-min: no flow could have more without taking it from a slower one
            ends = {("source", flow.source), ("destination", flow.destination)} & full
            assert flow.bytes_per_s == flow.cap_bytes_per_s or any(
                flow.bytes_per_s >= max(other.bytes_per_s for other in ports[end]) * (1 - 1e-12)
                for end in ends
            )
        out = net.fabric.bytes_out
        assert all(now >= before * (1 - 1e-12) for now, before in zip(out, last, strict=True))
        last = out
        assert math.fsum(out) == pytest.approx(math.fsum(net.fabric.bytes_in), rel=1e-12)
        waiting = [
            flow
            for i, flow in flows.items()
            if flow.finished_s is None and flow not in active and flow in net.fabric._flows
        ]
        assert all(flow.begins_s >= net.clock.now or flow.due_s <= net.clock.now for flow in waiting)

    net, flows, cancelled = act(story, start_s, check)
    assert net.fabric.active_flows == 0
    for i, flow in flows.items():
        assert (flow.finished_s is None) == (i in cancelled)
        if i not in cancelled:
            assert flow.sent_bytes == flow.size_bytes
    if not cancelled:  # whole bytes, so the sums are exact
        total = sum(flow.size_bytes for flow in flows.values())
        assert sum(net.fabric.bytes_out) == sum(net.fabric.bytes_in) == net.fabric.sent_bytes == total
    assert net.events <= 4 * (len(story["flows"]) + len(story["changes"])) + 4


@settings(max_examples=examples(50), deadline=None)
@given(stories())
def test_the_same_story_runs_the_same_to_the_bit(story):
    assert act(story)[0].finished == act(story)[0].finished
