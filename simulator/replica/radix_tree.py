"""A radix tree over what requests consist of: equal beginnings are kept once, in whole pages.

Tokens are not stored one by one. An edge is a tuple of runs, so that matching and inserting cost as much
as the segments of a request, however long these are. Source: SGLang 0.5.3, srt/mem_cache/radix_cache.py.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from simulator.replica.content import StreamPieces

# (stream, position at which its run ends) one after another; neighbours differ. The token at position j is
# equal in two sequences if it lies in the same stream.
Runs = tuple[tuple[int, int], ...]


MOST_OUT_OF_DATE = 1000  # entries of the heap of leaves, beside twice as many as there are leaves


class Node:
    """The tokens at positions ``start`` to ``stop`` of all sequences that go through it."""

    __slots__ = ("children", "locks", "page", "parent", "runs", "start", "stop", "used")

    def __init__(self, parent: "Node | None", start: int, runs: Runs, page: Runs = ()) -> None:
        """``start`` is the position of the first token; ``runs`` end where the node does; ``page`` is its first one."""
        self.parent = parent
        self.page = page
        self.start = start
        self.stop = runs[-1][1] if runs else 0  # the position behind the last token
        self.runs = runs
        self.children: dict[Runs, Node] = {}  # by their first page
        self.locks = 0  # running requests that go through here
        self.used = 0  # when it was last used, in uses of the tree; -1: it was evicted

    def __lt__(self, other: "Node") -> bool:
        return self.used < other.used

    def __hash__(self) -> int:
        return id(self)  # said, as a compiled class that compares has none otherwise


class RadixTree:
    """A tree whose unlocked leaves can be evicted, least recently used first. Sizes are in tokens."""

    def __init__(self, page_size: int = 1) -> None:
        """Edges begin and end at multiples of ``page_size``; what is left over at an end is not stored."""
        self.page_size = page_size
        self.root = Node(None, 0, ())
        self.tokens = 0  # in the tree
        self.evictable = 0  # those of them in nodes without a lock
        self._leaves = 0  # nodes without children, but for the root
        # A heap of leaves by their last use: all without a lock are in it. What is out of date goes when it is first
        self._oldest: list[tuple[int, Node]] = []
        # Of what is evicted: what the sequence consists of, from which token to which
        self.told: Callable[[StreamPieces, int, int], None] | None = None
        self.uses = 0  # and evictions: what is found stays the same while the number does

    def match(self, runs: Runs, held: Node | None = None) -> Node:
        """Return the node at which the longest stored beginning of ``runs`` ends, split off if need be.

        All nodes on the way count as used, the one that was split with them. ``held`` is one of them that is locked,
        if known: what is before its end need not be among the ``runs``.
        """
        page_size, node = self.page_size, self.root
        if held is not None:
            self._use_again(held)
            node = held
        end = self._whole_pages(runs)
        while (stop := node.stop) < end:
            child = node.children.get(cut(runs, stop, stop + page_size))
            if child is None:
                break
            self._use(child)
            agreed = agreement(child.runs, cut(runs, stop, end), stop)
            agreed -= agreed % page_size
            node = child if agreed == child.stop else self._split(child, agreed)
        return node

    def insert(self, runs: Runs, *, to_lock: bool = False, held: Node | None = None) -> tuple[Node, int]:
        """Store ``runs``; return the node at which it ends and how many tokens were there already.

        ``to_lock``: the node will be locked at once, so that it need not line up for eviction. ``held`` is as in
        ``match``.
        """
        node, end = self.match(runs, held), self._whole_pages(runs)
        matched = node.stop
        if matched < end:
            page = cut(runs, matched, matched + self.page_size)
            leaf = Node(node, matched, cut(runs, matched, end), page)
            if node.children or node.parent is None:
                self._leaves += 1
            node.children[page] = leaf
            self.uses += 1
            leaf.used = self.uses
            if not to_lock:
                self._line_up(leaf)
            self.tokens += end - matched
            self.evictable += end - matched
            node = leaf
        return node, matched

    def locked(self, node: Node) -> int:
        """Tokens between the root and the end of ``node`` that are protected from eviction."""
        while node.locks == 0 and node.parent is not None:
            node = node.parent
        return node.stop

    def lock(self, node: Node, held: Node | None = None) -> int:
        """Protect a node and all above it from eviction; return how many tokens were not before.

        Or only those below ``held``, which is one of them: the lock on it goes on to the node.
        """
        before = self.evictable
        while node.parent is not None and node is not held:
            if node.locks == 0:
                self.evictable -= node.stop - node.start
            node.locks += 1
            node = node.parent
        return before - self.evictable

    def unlock(self, node: Node) -> int:
        """Take a lock back; return how many tokens have become evictable."""
        before = self.evictable
        while node.parent is not None:
            node.locks -= 1
            if node.locks == 0:
                self.evictable += node.stop - node.start
                if not node.children:
                    self._line_up(node)
            node = node.parent
        return self.evictable - before

    def evict(self, tokens: int) -> int:
        """Drop whole leaves until ``tokens`` tokens or all that is evictable are gone; return how many."""
        queue = self._oldest
        before = self.tokens
        while queue and before - self.tokens < tokens:
            used, leaf = heappop(queue)
            if used != leaf.used or leaf.locks or leaf.children:
                continue
            parent = leaf.parent
            assert parent is not None
            del parent.children[leaf.page]
            if self.told is not None:
                self.told(tokens_up_to(leaf), leaf.start, leaf.stop)
            leaf.used = -1
            self.uses += 1
            size = leaf.stop - leaf.start
            self.tokens -= size
            self.evictable -= size
            if parent.children or parent.parent is None:
                self._leaves -= 1
            elif parent.locks == 0:
                self._line_up(parent)
        return before - self.tokens

    def _line_up(self, leaf: Node) -> None:
        """Have an unlocked leaf in the heap, where it is now."""
        queue = self._oldest
        if len(queue) > MOST_OUT_OF_DATE + 2 * self._leaves:
            valid = {
                each: used for used, each in queue if used == each.used and not (each.locks or each.children)
            }
            valid.pop(leaf, None)
            queue[:] = [(used, each) for each, used in valid.items()]
            heapify(queue)
        heappush(queue, (leaf.used, leaf))

    def _split(self, node: Node, position: int) -> Node:
        """Cut a node in two; return the upper part. The lower one stays the same object."""
        parent = node.parent
        assert parent is not None
        upper = Node(parent, node.start, cut(node.runs, node.start, position), node.page)
        upper.locks = node.locks
        parent.children[upper.page] = upper
        node.parent, node.start, node.runs = upper, position, cut(node.runs, position, node.stop)
        node.page = cut(node.runs, position, position + self.page_size)
        upper.children[node.page] = node
        self._use(upper)
        return upper

    def _use_again(self, held: Node) -> None:
        """Count a locked node and all above it as used, the upper ones first."""
        nodes: list[Node] = []
        node = held
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        for node in reversed(nodes):
            self.uses += 1
            node.used = self.uses

    def _use(self, node: Node) -> None:
        self.uses += 1
        node.used = self.uses
        if not node.locks and not node.children:
            self._line_up(node)

    def _whole_pages(self, runs: Runs) -> int:
        end = runs[-1][1] if runs else 0
        return end - end % self.page_size


def cut(runs: Runs, start: int, stop: int) -> Runs:
    """The part of ``runs`` at positions ``start`` to ``stop``."""
    if len(runs) == 1:  # as most are, and quicker
        stream, end = runs[0]
        return ((stream, end if end < stop else stop),) if end > start else ()
    found: list[tuple[int, int]] = []
    for stream, end in runs:
        if end > start:
            found.append((stream, end if end < stop else stop))
            if end >= stop:
                break
    return tuple(found)


def agreement(one: Runs, other: Runs, start: int) -> int:
    """The position up to which two sequences are equal, if both begin at ``start``."""
    for (stream, end), (other_stream, other_end) in zip(one, other, strict=False):
        if stream != other_stream:
            return start
        if end != other_end:
            return min(end, other_end)
        start = end
    return start


def tokens_up_to(node: Node) -> StreamPieces:
    """Return what a sequence consists of up to a node's end, as (stream, tokens)."""
    pieces: list[tuple[int, int]] = []
    through: Node | None = node
    while through is not None:
        starts = [through.start, *(end for _, end in through.runs)]
        pieces += reversed(
            [(run[0], run[1] - start) for run, start in zip(through.runs, starts, strict=False)]
        )
        through = through.parent
    return tuple(reversed(pieces))
