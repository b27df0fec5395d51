"""Requests of agents that wait for the answers to several others, and which of them may come when one has ended."""

from collections.abc import Iterable

from simulator.replica.request import Request, RequestState
from simulator.workload.workload import Workload


class AgentGraph:
    """Who still waits for how many answers. Rows are those of the workload, which has ``waits_for``."""

    def __init__(self, workload: Workload) -> None:
        assert workload.waits_for is not None
        offsets, parents = workload.waits_for
        self._missing = (offsets[1:] - offsets[:-1]).tolist()  # answers that each row waits for
        self._children: dict[int, list[int]] = {}
        self._waiting: dict[int, Request] = {}
        bounds, rows = offsets.tolist(), parents.tolist()
        for row in range(len(workload)):
            for parent in rows[bounds[row] : bounds[row + 1]]:
                self._children.setdefault(parent, []).append(row)

    def first(self, requests: Iterable[Request]) -> list[Request]:
        """Return the requests that wait for nothing, and keep the others."""
        found: list[Request] = []
        for request in requests:
            if self._missing[request.row]:
                self._waiting[request.row] = request
            else:
                found.append(request)
        return found

    def answered(self, row: int, state: RequestState) -> tuple[list[Request], int]:
        """Return the requests that waited only for this one, and how many never come, as it was not answered."""
        children = self._children.pop(row, [])
        if state != RequestState.COMPLETED:
            return [], self._give_up(children)
        ready: list[Request] = []
        for child in children:
            self._missing[child] -= 1
            if not self._missing[child] and child in self._waiting:
                ready.append(self._waiting.pop(child))
        return ready, 0

    def _give_up(self, rows: list[int]) -> int:
        pending, lost = list(rows), 0
        while pending:
            row = pending.pop()
            if self._waiting.pop(row, None) is not None:
                lost += 1
                pending += self._children.pop(row, [])
        return lost
