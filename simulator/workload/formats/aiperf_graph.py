"""Conversations of AIPerf with branches (dag_jsonl) or without (multi_turn): one object a session, its turns inside.

Prompts are texts, so tokens are estimated; answers have ``max_tokens``. A turn comes its ``delay`` after the answer
to the one before. What it branches to begins when it has been answered: ``forks`` go on from its prompt and its answer,
``spawns`` begin afresh, and the turn ``join_at`` (the next one, if that is not said) waits for their last answers as
well. ``pre_session_spawns`` begin beside the first turn. A session that several turns spawn is played for each of them.
Where turns have no ``timestamp``, those that no other session starts begin at 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from simulator.workload.formats import FaultyRecordError, NumberedRow, TraceRow
from simulator.workload.values import ESTIMATED, is_empty, number, text_tokens, whole, wrong

SORTS = True
_TEXTS = ("messages", "text", "texts", "raw_messages")
_OUTPUTS = ("max_tokens", "max_completion_tokens", "output_length")
_DEEPEST = 200  # sessions that start one another
_MOST = 5_000_000  # requests of a file, as sessions may be played often


def recognises(record: TraceRow) -> bool:
    """Tell by the turns."""
    return isinstance(record.get("turns"), list)


def rows_of_all(records: list[NumberedRow]) -> Iterator[NumberedRow]:
    """Yield the requests of all sessions, each behind those that it waits for."""
    sessions: dict[str, NumberedRow] = {}
    for line, record in records:
        name = str(record.get("session_id") or "")
        if not name or name in sessions:
            expected = "a text that no other session has"
            raise FaultyRecordError(line, str(wrong(name or None, "session_id", expected)))
        sessions[name] = line, record
    play = _Play(sessions)
    started = {child for line, record in sessions.values() for child in _children(line, record)}
    for name in sessions:
        if name not in started:
            yield from play.session(name, _Start(0.0, 0, [], None), ())
    for name, (line, _) in sessions.items():
        if not play.played(name):
            raise FaultyRecordError(
                line, f"session_id is {name!r}, which starts itself; expected no such circle"
            )


class _Start(NamedTuple):
    """When and from what a session begins."""

    at_s: float  # if answers took no time
    so_far: int  # tokens that it takes over
    after: list[int]  # requests whose answers it waits for
    continues: int | None  # the one whose prompt and answer its own begins with


@dataclass
class _End:
    """The requests that a session ends with."""

    at_s: float = 0.0
    nodes: list[int] = field(default_factory=list)


class _Play:
    """Makes requests of sessions, numbered as they come."""

    def __init__(self, sessions: dict[str, NumberedRow]) -> None:
        self.sessions = sessions
        self.requests = 0
        self._played: dict[str, int] = {}

    def played(self, name: str) -> bool:
        """Tell whether a session has been played."""
        return name in self._played

    def session(
        self, name: str, start: _Start, above: tuple[str, ...], end: _End | None = None
    ) -> Iterator[NumberedRow]:
        """Yield the requests of a session and of all that it starts; note in ``end`` what it ends with."""
        line, _ = self.sessions[name]
        try:
            yield from self._turns(name, start, above, end or _End())
        except FaultyRecordError:
            raise
        except ValueError as error:
            raise FaultyRecordError(line, str(error)) from error

    def _turns(self, name: str, start: _Start, above: tuple[str, ...], end: _End) -> Iterator[NumberedRow]:
        if name in above or len(above) >= _DEEPEST:
            raise wrong(name, "session_id", f"sessions that do not start themselves, {_DEEPEST} deep at most")
        line, record = self.sessions[name]
        above = (*above, name)
        self._played[name] = times = self._played.get(name, 0) + 1
        label = name if times == 1 else f"{name} {times}"
        for child in _children(line, record):
            if child not in self.sessions:
                raise wrong(child, "forks or spawns", "the session_id of a session of this file")
        for child in _names(record.get("pre_session_spawns")):
            yield from self.session(child, _Start(start.at_s, 0, start.after, None), above)
        at_s, so_far, after, continues = start.at_s, start.so_far, start.after, start.continues
        joins: dict[int, _End] = {}
        turns = record["turns"]
        for i, turn in enumerate(turns):
            if not isinstance(turn, dict):
                raise wrong(turn, f"turns[{i}]", "an object")
            delay_s = 0.0 if is_empty(turn.get("delay")) else number(turn["delay"], f"turns[{i}].delay") / 1e3
            joined = joins.pop(i, _End())
            after, at_s = after + joined.nodes, max(at_s, joined.at_s)
            stamp = turn.get("timestamp")
            at_s = at_s + delay_s if is_empty(stamp) else number(stamp, f"turns[{i}].timestamp") / 1e3
            new, output = text_tokens(*(turn.get(key) for key in _TEXTS)), _output(turn, i)
            row: TraceRow = {
                "session_id": label, "arrival_s": at_s, "prompt_tokens": so_far + new, "new_tokens": new,
                "output_tokens": output, "note": ESTIMATED, "node": self.requests,
            }  # fmt: skip
            if i == 0:
                row |= {"new_tokens": so_far + new} if continues is None else {"continues": continues}
            if after and is_empty(stamp):
                row |= {"after": after, "think_time_s": delay_s}
            node, so_far = self.requests, so_far + new + output
            self.requests += 1
            if self.requests > _MOST:
                raise wrong(name, "session_id", f"sessions that make {_MOST:,} requests at most")
            yield line, row
            after, end.at_s, end.nodes = [node], at_s, [node]
            for child, goes_on in _forks(turn.get("forks")):
                inner = _End()
                yield from self.session(child, _Start(at_s, so_far, [node], node), above, inner)
                if not goes_on and i + 1 == len(turns):  # the session goes on as this one
                    end.at_s, end.nodes = max(end.at_s, inner.at_s), end.nodes + inner.nodes
            for children, join_at in _spawns(turn.get("spawns"), i):
                if join_at <= i:
                    raise wrong(join_at, f"turns[{i}].spawns.join_at", "a later turn")
                for child in children:
                    inner = _End()
                    yield from self.session(child, _Start(at_s, 0, [node], None), above, inner)
                    join = joins.setdefault(join_at, _End())
                    join.at_s, join.nodes = max(join.at_s, inner.at_s), join.nodes + inner.nodes


def _output(turn: TraceRow, i: int) -> int:
    places: list[Any] = [turn, turn.get("extra"), turn.get("extra_body")]
    found = [each[name] for each in places if isinstance(each, dict) for name in _OUTPUTS if name in each]
    return whole(found[0] if found else None, f"turns[{i}].max_tokens")


def _names(given: Any) -> list[str]:
    return [str(each) for each in given] if isinstance(given, list) else []


def _forks(given: Any) -> Iterator[tuple[str, bool]]:
    """Yield children, and whether their parent goes on beside them."""
    for each in given if isinstance(given, list) else []:
        if isinstance(each, dict):
            yield str(each.get("child")), bool(each.get("background"))
        else:
            yield str(each), False


def _spawns(given: Any, turn: int) -> Iterator[tuple[list[str], int]]:
    """Yield children, and the turn that waits for their last answers."""
    for each in given if isinstance(given, list) else []:
        if isinstance(each, dict):
            children = each.get("children")
            join_at = each.get("join_at")
            join = turn + 1 if is_empty(join_at) else whole(join_at, f"turns[{turn}].spawns.join_at")
            yield _names(children if isinstance(children, list) else [each.get("child")]), join
        else:
            yield [str(each)], turn + 1


def _children(line: int, record: TraceRow) -> list[str]:
    """Return all sessions that one starts."""
    found = _names(record.get("pre_session_spawns"))
    try:
        turns = record.get("turns")
        if not isinstance(turns, list):
            raise wrong(turns, "turns", "a list")
        for i, turn in enumerate(turns):
            if isinstance(turn, dict):
                found += [child for child, _ in _forks(turn.get("forks"))]
                found += [child for children, _ in _spawns(turn.get("spawns"), i) for child in children]
    except ValueError as error:
        raise FaultyRecordError(line, str(error)) from error
    return found
