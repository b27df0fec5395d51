"""The app's tasks and forms where they seldom are: a full queue, tasks long over, a full disk, forms of nothing."""

import threading

import pytest

from simulator.errors import InputError
from simulator.ui import dropped, tasks
from simulator.ui.dropped import DroppedFiles
from simulator.ui.tasks import Tasks
from tests.app_clients import client, root

__all__ = ["root"]  # a fixture


@pytest.fixture
def queue():
    """Tasks, and what lets those that wait for it go on."""
    found, go_on = Tasks(), threading.Event()
    yield found, go_on
    go_on.set()
    found.close()


def ended(task):
    for _ in range(500):
        if task.state not in ("waiting", "running"):
            return task
        threading.Event().wait(0.01)
    raise AssertionError(task)


def test_a_queue_is_full_at_some_length(queue, monkeypatch):
    monkeypatch.setattr(tasks, "MOST_WAITING", 3)
    found, go_on = queue
    started = [found.start(lambda task: go_on.wait(5) and []) for _ in range(3)]
    with pytest.raises(InputError, match="3 tasks are waiting; expected fewer, cancel one or wait"):
        found.start(lambda task: [])
    started[-1].asked.set()
    go_on.set()
    assert [ended(task).state for task in started[:2]] == ["done", "done"]
    assert ended(started[2]).state in ("cancelled", "done")
    assert ended(found.start(lambda task: [])).state == "done"


def test_a_task_that_was_cancelled_while_it_waited_does_nothing(queue):
    found, go_on = queue
    done = []
    busy = [found.start(lambda task: go_on.wait(5) and []) for _ in range(tasks.AT_ONCE)]
    waiting = found.start(lambda task: done.append(1) or [])
    waiting.asked.set()
    go_on.set()
    assert ended(waiting).state == "cancelled"
    assert not done
    assert all(ended(each).state == "done" for each in busy)


def test_old_tasks_are_forgotten(queue, monkeypatch):
    monkeypatch.setattr(tasks, "_KEPT", 2)
    found, _ = queue
    started = [ended(found.start(lambda task: [])) for _ in range(4)]
    assert found.get(started[-1].id) is started[-1]
    with pytest.raises(InputError, match="no such task; expected one that was started since the app was"):
        found.get(started[0].id)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "not enough memory; expected fewer requests or tokens"),
        (OSError(28, "No space left on device"), "the disk refused: No space left on device"),
        (KeyError("x"), "an error in servesim (KeyError); see the terminal"),
    ],
)
def test_what_goes_wrong_is_said_and_the_app_lives_on(error, said, queue, capfd):
    def work(task):
        raise error

    found, _ = queue
    task = ended(found.start(work))
    assert (task.state, task.error) == ("failed", said)
    assert ("Traceback" in capfd.readouterr().err) == isinstance(error, KeyError)
    assert ended(found.start(lambda task: [])).state == "done"


def test_dropped_files_are_kept_so_many(monkeypatch):
    monkeypatch.setattr(dropped, "_MOST", 2)
    found = DroppedFiles()
    try:
        names = [found.keep(f"{i}.csv", b"x") for i in range(3)]
        assert [path.exists() for _, path in names] == [False, True, True]
        with pytest.raises(InputError, match="no such file; expected one that was dropped since the app"):
            found.get(names[0][0])
        found.forget("no such key")
        assert found.get(names[2][0]) == names[2][1]
    finally:
        found.close()


@pytest.mark.parametrize(
    ("place", "sent", "said"),
    [
        ("/api/scenario", "[1]", "form: expected a JSON object"),
        ("/api/scenario", "{", "form: expected JSON"),
        ("/api/plans", '{"target": 3}', "plan: expected a target such as: token_slo.attainment >= 0.9"),
    ],
)
def test_a_form_of_nothing_is_one_sentence(place, sent, said, root):
    with client() as asking:
        answer = asking.post(place, content=sent)
    assert answer.json() == {"error": said}


def test_figures_of_the_paper_are_listed_and_sent(root):
    with client() as asking:
        names = asking.get("/api/figures").json()["figures"]
        if names:
            assert asking.get("/api/figure", params={"name": names[0]}).content.startswith(b"\x89PNG")
        assert asking.get("/api/figure", params={"name": "nix"}).json() == {
            "error": "no such figure; expected a name of the list"
        }
