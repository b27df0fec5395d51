"""The clock stands on what SimPy does inside: these tests fail when another SimPy does it differently."""

import math
from math import nextafter

import pytest
import simpy
from simpy.events import Event, EventPriority

from simulator.clock import URGENT, Clock, before_turn


class Taker:
    """Takes turns and notes when."""

    def __init__(self, index, log):
        self.index, self.log = index, log

    def take_turn(self, time_s):
        self.log.append((time_s, f"replica {self.index}"))


def note(clock, log, what):
    return lambda _: log.append((clock.now, what))


def test_simpy_keeps_what_is_to_come_in_a_heap_of_time_priority_number_and_event():
    env = simpy.Environment()
    event = env.timeout(1.5)
    assert [(time, priority, entry) for time, priority, _, entry in env._queue] == [(1.5, 1, event)]
    assert next(env._eid) + 1 == next(env._eid)
    env._now = 1.0
    assert env.now == 1.0
    env.run()
    assert env.now == 1.5
    assert EventPriority(1) == 1


def test_an_event_with_a_value_on_the_queue_is_processed_like_any_other():
    env, log = simpy.Environment(), []
    event = Event(env)
    assert event.callbacks == []
    event._ok, event._value = True, None
    env._queue.append((0.1, EventPriority(1), next(env._eid), event))
    event.callbacks.append(lambda it: log.append((env.now, it.ok, it.value)))
    env.run()
    assert log == [(0.1, True, None)]


def test_times_are_exact():
    clock, log = Clock(), []
    clock.at(0.2).callbacks.append(lambda _: clock.at(0.9).callbacks.append(note(clock, log, "there")))
    while clock.run_some(1):
        pass
    assert 0.2 + (0.9 - 0.2) != 0.9
    assert log == [(0.9, "there")]


def test_at_one_instant_arrivals_come_first_then_replicas_in_order_then_the_last():
    clock, log = Clock(), []
    clock.last_at(1.0).callbacks.append(note(clock, log, "last"))
    for index in (2, 0, 1):
        clock.turn_at(1.0, Taker(index, log))
    clock.at(1.0).callbacks.append(note(clock, log, "arrival"))
    clock.call_at(1.0, note(clock, log, "call"))
    clock.env.timeout(1.0).callbacks.append(note(clock, log, "timeout"))
    clock.call_at(1.0, note(clock, log, "before 1"), None, before_turn(1))
    clock.call_at(1.0, note(clock, log, "first"), None, URGENT)
    assert not clock.run_some(100)
    assert [what for _, what in log] == [
        "first", "arrival", "call", "timeout", "replica 0", "before 1", "replica 1", "replica 2", "last",
    ]  # fmt: skip
    assert {time_s for time_s, _ in log} == {1.0}


def test_a_look_shows_the_steps_that_end_now_if_the_turn_is_over():
    clock, seen = Clock(), []
    clock.turn_at(1.0, Taker(1, []))
    clock.at(1.0).callbacks.append(lambda _: seen.append([clock.ended_before(index) for index in (0, 1, 2)]))
    clock.last_at(1.0).callbacks.append(
        lambda _: seen.append([clock.ended_before(index) for index in (0, 1, 2)])
    )
    clock.run_some(2)
    seen.append([clock.ended_before(index) for index in (0, 1, 2)])
    clock.run_some(2)
    after = nextafter(1.0, math.inf)
    assert seen == [[1.0, 1.0, 1.0], [after, 1.0, 1.0], [after, after, after]]


def test_it_stops_before_anything_else_of_that_instant():
    clock, log = Clock(), []
    clock.at(2.0).callbacks.append(note(clock, log, "too late"))
    clock.stop_at(2.0)
    clock.turn_at(2.0, Taker(0, log))
    clock.at(1.0).callbacks.append(note(clock, log, "in time"))
    assert not clock.run_some(100)
    assert log == [(1.0, "in time")]
    assert clock.stopped
    assert clock.now == 2.0


def test_processes_and_failures_are_simpys():
    clock = Clock()

    def fail():
        yield clock.at(0.5)
        raise ValueError("in a process")

    clock.env.process(fail())
    with pytest.raises(ValueError, match="in a process"):
        clock.run_some(100)
