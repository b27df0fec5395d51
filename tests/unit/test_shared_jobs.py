"""Jobs that two threads share: each is done once, errors reach the one that waits, and no job begins after one."""

import threading

import pytest

from simulator.results.shared_jobs import SharedJobs


def test_the_waiting_thread_does_what_the_other_has_not_begun():
    jobs, done, may_end = SharedJobs(), [], threading.Event()

    def long():
        may_end.wait(10)
        done.append(("long", threading.current_thread()))

    def short():
        done.append(("short", threading.current_thread()))
        may_end.set()

    jobs.add(long)
    jobs.start()
    jobs.add(short)
    jobs.finish()
    assert [name for name, _ in done] == ["short", "long"]
    assert done[0][1] is threading.current_thread() is not done[1][1]


@pytest.mark.parametrize("at", ["other", "waiting"])
def test_an_error_is_raised_where_it_is_waited_for_and_nothing_begins_after_it(at):
    jobs, begun = SharedJobs(), []

    def fail():
        raise OSError("disk full")

    if at == "other":
        jobs.add(fail)
        jobs.add(lambda: begun.append(1))
        jobs.start()
        jobs._thread.join(10)
    else:
        jobs.start()
        jobs._thread.join(10)
        jobs.add(fail)
        jobs.add(lambda: begun.append(1))
    with pytest.raises(OSError, match="disk full"):
        jobs.finish()
    jobs.give_up()
    assert not begun


def test_every_job_is_done_once():
    jobs, done = SharedJobs(), []
    for number in range(2000):
        jobs.add(lambda number=number: done.append(number))
    jobs.start()
    jobs.finish()
    assert sorted(done) == list(range(2000))


def test_what_is_given_up_is_not_begun_and_what_has_begun_is_waited_for():
    jobs, done, begun = SharedJobs(), [], threading.Event()

    def long():
        begun.set()
        done.append("long")

    jobs.add(long)
    jobs.start()
    assert begun.wait(10)
    jobs.add(lambda: done.append("late"))
    jobs.give_up()
    assert done in (["long"], ["long", "late"])  # the other thread may have taken it before
    assert not jobs._thread.is_alive()
