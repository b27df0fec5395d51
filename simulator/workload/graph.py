"""Graphs of agents: requests that wait for the answers to several others, as numbers of nodes and as rows."""

from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.workload.checks import LARGEST_INTEGER, refuse_unless

if TYPE_CHECKING:
    from simulator.workload.columns import Pieces, TrafficColumns
    from simulator.workload.containers import Container
    from simulator.workload.formats import TraceFormat


def checked(
    table: "Container", fmt: "TraceFormat", numbers: dict[str, Floats], after: "Pieces | None"
) -> dict[str, Any]:
    """Return the columns ``node`` and ``continues`` of a table that has ``after``; nothing of one that has not.

    Raises ``InputError`` naming the row whose node is none or another's, or that waits for one that is not there.
    """
    if after is None:
        return {}
    node = numbers[str(fmt.node)]
    whole = (node >= 0) & (node <= LARGEST_INTEGER) & (node == np.floor(node))
    refuse_unless(whole, node, str(fmt.node), "a whole number >= 0", table.where)
    _, first, group = np.unique(node, return_index=True, return_inverse=True)
    refuse_unless(first[group] == np.arange(len(node)), node, str(fmt.node), "one of its own", table.where)
    found = node.astype(np.int64)
    known = np.isin(after.streams, found)
    if not known.all():
        entry = int(np.argmin(known))
        row = int(np.searchsorted(after.offsets, entry, side="right")) - 1
        raise InputError(
            f"{table.where(row)}: {fmt.after} holds {after.streams[entry]}; expected numbers out of column {fmt.node}"
        )
    continues = numbers.get(str(fmt.continues))
    if continues is None:
        return {"node": found}
    none = np.isnan(continues)
    refuse_unless(
        none | np.isin(continues, found), continues, str(fmt.continues), "a node of the file", table.where
    )
    return {"node": found, "continues": np.where(none, -1, continues).astype(np.int64)}


def continued(columns: "TrafficColumns") -> Ints | None:
    """Return the row from whose prompt each goes on, -1 for none and where that is not among them."""
    if columns.node is None or columns.continues is None:
        return None
    return _rows(columns.node, columns.continues)


def waited_for(columns: "TrafficColumns") -> tuple[Ints, Ints] | None:
    """Return, one request after another, the rows whose answers each waits for: offsets and rows; None if no graph is.

    A later turn of an ordinary session waits for the one before. What was left out is not waited for.
    """
    if columns.after is None or columns.node is None:
        return None
    n = len(columns)
    rows, counts = _rows(columns.node, columns.after.streams), np.diff(columns.after.offsets)
    of = np.repeat(np.arange(n), counts)
    previous = _previous(columns)
    turns = np.flatnonzero((counts == 0) & (previous >= 0))
    if columns.think_s is not None:
        turns = turns[~np.isnan(columns.think_s[turns])]
    there = rows >= 0
    parents, of = np.concatenate([rows[there], previous[turns]]), np.concatenate([of[there], turns])
    order = np.argsort(of, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=n))]).astype(np.int64)
    return offsets, parents[order]


def _rows(node: Ints, wanted: Ints) -> Ints:
    """Return the row of each wanted node; -1 where it is not there."""
    if not len(node):
        return np.full(len(wanted), -1)
    order = np.argsort(node)
    place = np.minimum(np.searchsorted(node[order], wanted), len(node) - 1)
    found = order[place]
    return np.where(node[found] == wanted, found, -1)


def _previous(columns: "TrafficColumns") -> Ints:
    """Return the row before each in its session; -1 for the first."""
    n = len(columns)
    previous = np.full(n, -1)
    if columns.session is not None:
        order = np.argsort(columns.session, kind="stable")
        session = columns.session[order]
        same = (session[1:] == session[:-1]) & (session[1:] >= 0)
        previous[order[1:][same]] = order[:-1][same]
    return previous
