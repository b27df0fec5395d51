"""Transfers that share a network: small cases by hand."""

import math

import pytest

from simulator.clock import Clock
from simulator.cluster.link import Fabric
from tests.links import Net


def test_a_flow_alone_takes_the_latency_and_its_size_over_the_bandwidth():
    net = Net(bytes_per_s=3e9, latency_s=1e-5)
    flow = net.send("a", 0, 1, 1e9)
    assert net.run() == [("a", 1e-5 + 1e9 / 3e9)]
    assert (flow.started_s, flow.finished_s, flow.sent_bytes) == (0.0, net.clock.now, 1e9)
    assert net.fabric.bytes_out == [1e9, 0, 0, 0]
    assert net.fabric.bytes_in == [0, 1e9, 0, 0]
    assert net.fabric.sent_bytes == 1e9
    assert net.fabric.active_flows == 0


def test_changes_elsewhere_leave_no_trace_on_a_flow():
    """Not even a rounding: its progress is measured from where its rate began."""
    net = Net(bytes_per_s=3.7)
    net.send("far", 2, 3, 10.3)
    for i in range(50):
        net.when(i * 0.0371, lambda: net.send("near", 0, 1, 0.1))
    assert dict(net.run())["far"] == 10.3 / 3.7


def test_no_bytes_take_the_latency():
    net = Net(latency_s=0.25)
    net.send("a", 0, 1, 0)
    assert net.run() == [("a", 0.25)]


def test_no_bytes_and_no_latency_are_done_at_once_but_not_inside_send():
    net = Net()
    net.send("a", 0, 1, 0)
    assert net.finished == []
    assert net.run() == [("a", 0.0)]


def test_two_flows_halve_their_port_and_a_finish_speeds_the_other_up():
    net = Net()
    net.send("long", 0, 1, 150)
    net.send("short", 0, 2, 50)
    net.send("elsewhere", 3, 0, 130)  # the other direction of port 0 is free
    assert net.run() == [("short", 1.0), ("elsewhere", 1.3), ("long", 2.0)]


def test_two_senders_halve_the_receiver():
    net = Net()
    net.send("a", 0, 2, 50)
    net.send("b", 1, 2, 50)
    assert net.run() == [("a", 1.0), ("b", 1.0)]


def test_what_one_flow_cannot_use_goes_to_the_others():
    net = Net()
    flows = [
        net.send("capped", 0, 1, 100, cap_bytes_per_s=10),
        net.send("a", 0, 2, 1),
        net.send("b", 0, 3, 1),
    ]
    assert [flow.bytes_per_s for flow in flows] == [10, 45, 45]


def test_max_min_over_two_ports():
    """Three flows into port 3 get a third each; port 0's other flow takes all that is left there."""
    net = Net()
    flows = [net.send("", source, 3, 1) for source in (0, 1, 2)] + [net.send("", 0, 1, 1)]
    assert [flow.bytes_per_s for flow in flows] == pytest.approx([100 / 3] * 3 + [200 / 3])


def test_finishes_of_one_instant_come_in_the_order_of_starts():
    net = Net(latency_s=1.0)
    net.send("first", 0, 1, 100)
    net.when(1.0, lambda: net.send("nothing", 2, 3, 0))
    net.send("second", 1, 2, 100)
    net.when(0.5, lambda: net.send("later", 3, 0, 50))
    assert net.run() == [("first", 2.0), ("second", 2.0), ("later", 2.0), ("nothing", 2.0)]


def test_done_may_send_again():
    net = Net()
    net.fabric.send(0, 1, 100, lambda: net.send("reply", 1, 0, 100))
    assert net.run() == [("reply", 2.0)]


def test_done_may_cancel_what_finishes_with_it():
    net = Net()
    net.fabric.send(0, 1, 100, lambda: net.fabric.cancel(other))
    other = net.send("other", 2, 3, 100)
    assert net.run() == []
    assert other.sent_bytes == 100


def test_half_the_bandwidth_for_a_while():
    net = Net()
    net.send("a", 0, 1, 100)
    net.when(0.5, lambda: net.fabric.set_bandwidth(1, 0.5))  # 50 bytes left at 50 bytes/s
    net.when(1.0, lambda: net.fabric.set_bandwidth(1, 1.0))  # 25 left at 100
    assert net.run() == [("a", 1.25)]


def test_a_degraded_port_is_slow_in_both_directions_and_leaves_the_rest_to_others():
    net = Net()
    net.fabric.set_bandwidth(1, 0.25)
    flows = [net.send("", 0, 1, 1), net.send("", 1, 2, 1), net.send("", 0, 2, 1)]
    assert [flow.bytes_per_s for flow in flows] == [25, 25, 75]


def test_a_cancelled_flow_keeps_what_it_sent_and_leaves_its_share():
    net = Net()
    gone = net.send("gone", 0, 1, 100)
    net.send("stays", 0, 2, 100)
    net.when(1.0, lambda: net.fabric.cancel(gone))
    assert net.run() == [("stays", 1.5)]
    assert (gone.sent_bytes, gone.finished_s, net.fabric.active_flows) == (50, None, 0)
    assert net.fabric.bytes_in == [0, 50, 100, 0]
    net.fabric.cancel(gone)  # nothing is left to cancel
    assert net.fabric.sent_bytes == 150


def test_a_flow_cancelled_before_it_begins_sent_nothing():
    net = Net(latency_s=1.0)
    flow = net.send("gone", 0, 1, 100)
    net.when(0.5, lambda: net.fabric.cancel(flow))
    assert net.run() == []
    assert net.fabric.sent_bytes == 0


def test_a_cancel_at_the_instant_of_the_finish_wins_if_it_comes_first():
    net = Net()
    net.when(1.0, lambda: net.fabric.cancel(flow))
    flow = net.send("gone", 0, 1, 100)
    assert net.run() == []
    assert flow.sent_bytes == 100


def test_an_open_flow_idles_at_its_size_and_takes_no_bandwidth():
    net = Net()
    flow = net.fabric.send(0, 1, 50, None)
    net.when(2.0, lambda: net.send("other", 0, 1, 100))
    net.when(5.0, lambda: net.fabric.resize(flow, 100, done=net.note("flow")))
    assert net.run() == [("other", 3.0), ("flow", 5.5)]


def test_an_open_flow_that_has_sent_all_is_done_when_it_is_closed():
    net = Net()
    flow = net.fabric.send(0, 1, 50, None)
    net.when(2.0, lambda: net.fabric.resize(flow, 50, done=net.note("flow")))
    assert net.run() == [("flow", 2.0)]
    assert net.fabric.sent_bytes == 50


def test_resizing_before_the_flow_begins():
    net = Net(latency_s=1.0)
    flow = net.send("a", 0, 1, 100)
    net.when(0.5, lambda: net.fabric.resize(flow, 50))  # keeps its done
    empty = net.send("b", 2, 3, 100)
    net.when(0.5, lambda: net.fabric.resize(empty, 0))
    assert net.run() == [("b", 1.0), ("a", 1.5)]


@pytest.mark.parametrize(
    ("bytes_per_s", "end_s"),
    [(100.0, 8.1), (10.0, 9.0), (5.0, 16.0)],  # the tail alone; just hidden; 80 - 40 bytes wait at the end
)
def test_layer_by_layer(bytes_per_s, end_s):
    """80 bytes in 8 layers are produced in 8 s; the last layer can only go once it is there."""
    net = Net(bytes_per_s=bytes_per_s)
    flow = net.fabric.send(0, 1, 70, None, cap_bytes_per_s=10)
    net.when(8.0, lambda: net.fabric.resize(flow, 80, done=net.note("kv")))
    ((_, finished_s),) = net.run()
    if bytes_per_s >= 10:  # the pace of production: by then only the last layer is left
        assert finished_s == pytest.approx(8.0 + 10 / bytes_per_s)
    assert finished_s == pytest.approx(end_s)
    assert flow.sent_bytes == 80


@pytest.mark.parametrize("start_s", [1e6, 1e9, 1e12])
def test_remainders_too_small_to_move_the_clock_are_done(start_s):
    """At 1e9 s neighbouring times are 1e-7 s apart: 6 KB at 50 GB/s."""
    net = Net(bytes_per_s=5e10, latency_s=1e-6, start_s=start_s)
    flows = []
    for i in range(40):
        pair = (i % 3, 3) if i % 2 else (0, 1 + i % 3)
        net.when(
            start_s + i * 1e-3, lambda i=i, pair=pair: flows.append(net.send(i, *pair, 10.0 ** (i % 11)))
        )
    for i in range(200):
        net.when(start_s + i * 3e-4, lambda i=i: net.fabric.set_bandwidth(i % 4, 0.3 + i % 7 / 7))
    net.run()
    assert len(net.finished) == 40
    assert net.events < 1000
    assert all(flow.sent_bytes == flow.size_bytes for flow in flows)
    assert net.fabric.sent_bytes == sum(flow.size_bytes for flow in flows)


@pytest.mark.parametrize(("bytes_per_s", "size"), [(38, 121), (51, 128), (71, 240), (74, 198), (76, 261)])
def test_a_change_one_rounding_before_the_end_counts_no_byte_twice(bytes_per_s, size):
    """With these numbers, rate times time rounds to more than the flow's size just before it is due."""
    net = Net(bytes_per_s=bytes_per_s)
    net.fabric.set_bandwidth(1, 0.5)
    flow = net.send("a", 0, 1, size)
    net.when(0.7, lambda: net.fabric.set_bandwidth(1, 1.0))
    due_s = 0.7 + (size - bytes_per_s * 0.5 * 0.7) / bytes_per_s
    counted = []
    net.when(math.nextafter(due_s, 0), lambda: counted.append(net.fabric.sent_bytes))
    net.when(math.nextafter(due_s, 0), lambda: net.send("b", 0, 1, 10))
    assert [name for name, _ in net.run()] == ["a", "b"]
    assert counted == [size]
    assert flow.finished_s == math.nextafter(due_s, 0)
    assert net.fabric.sent_bytes == size + 10


def test_one_event_where_several_flows_begin_or_end():
    clock, happened = Clock(), []
    fabric = Fabric(clock, 2, 100.0, 0.5)
    fabric.send(0, 1, 100, None)
    flow = fabric.send(0, 1, 100, None)
    while clock.anything_scheduled:
        clock.run_some(1)
        happened.append(clock.now)
    assert happened == [0.5, 2.5]  # one event where two flows begin, and one where two end
    fabric.cancel(flow)
    assert not clock.anything_scheduled


def test_refusals():
    net = Net()
    send = net.fabric.send
    with pytest.raises(ValueError, match="two ports"):
        send(1, 1, 10, None)
    for port in (-1, 4):
        with pytest.raises(ValueError, match="no port"):
            send(0, port, 10, None)
        with pytest.raises(ValueError, match="no port"):
            net.fabric.set_bandwidth(port, 1)
    for size in (-1, math.inf, math.nan):
        with pytest.raises(ValueError, match="size_bytes"):
            send(0, 1, size, None)
    for cap in (0, math.nan):
        with pytest.raises(ValueError, match="cap_bytes_per_s"):
            send(0, 1, 1, None, cap_bytes_per_s=cap)
    for factor in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="factor"):
            net.fabric.set_bandwidth(0, factor)
    with pytest.raises(ValueError, match="bytes_per_s"):
        Fabric(net.clock, 2, 0.0, 0.0)
    with pytest.raises(ValueError, match="latency_s"):
        Fabric(net.clock, 2, 1.0, -1.0)
    assert net.fabric.active_flows == 0
    flow = send(0, 1, 100, None)
    net.when(0.5, lambda: net.fabric.resize(flow, 40))
    with pytest.raises(ValueError, match="sent already"):
        net.run()
    net.fabric.cancel(flow)
    with pytest.raises(ValueError, match="finished or cancelled"):
        net.fabric.resize(flow, 200)
