"""KV blocks by runs: neighbours that were registered, found and freed together are one object, however many they are.

What such blocks are called, and the queue of those that are free, are here; which request holds which is in
``held_blocks.py``. A block's place in its sequence is its number: one that holds the tokens from 32 on is block 2 of
every sequence that it belongs to, where blocks have 16 tokens.
"""

from collections.abc import Callable, Iterator

from simulator.replica.content import StreamPieces
from simulator.replica.job import Job

# The stretch before, the first block, and what the blocks hold (``Outline``).
StretchName = tuple["Stretch | None", int, int | StreamPieces]


class BlockRun:
    """Blocks ``first`` to ``end`` of a stretch that are free, or held by the same requests; or nameless free ones."""

    __slots__ = ("after", "alone", "before", "end", "first", "references", "rest", "stretch")

    before: "BlockRun"  # in the queue of free blocks, where it is in it
    after: "BlockRun"

    def __init__(self, stretch: "Stretch | None", first: int, end: int, references: int = 0) -> None:
        """``stretch`` is None where nothing can be found in the blocks; then they have no places."""
        self.stretch = stretch
        self.first = first
        self.end = end
        self.references = references  # requests that hold them
        # Whether it can be found, and no other run of its stretch has been there beside it: then a look at the run is
        # enough, without one at the stretch
        self.alone = False
        self.rest: BlockRun | None = None  # what came off its end last, when others held only what is left


class Stretch:
    """Blocks that hold the same stream after the same beginning; in the first of them others may end."""

    __slots__ = ("grows_by", "name", "runs", "uses")

    def __init__(self, name: StretchName) -> None:
        self.name = name
        self.grows_by: Job | None = None  # of whose answer not all that is there, or after it, is registered
        self.runs: list[BlockRun] = []  # that hold its blocks, in the order of their registration
        self.uses = (
            0  # stretches that follow it, and requests of which it is the last known one; -1: it is forgotten
        )

    def meets_at(self, block: int) -> bool:
        """Whether streams meet in a block of it."""
        return block == self.name[1] and not isinstance(self.name[2], int)

    def chain(self, first: int, end: int) -> Iterator[tuple[BlockRun, int]]:
        """The runs that hold its blocks from ``first`` to ``end``, and up to which block, as far as there are some.

        Of several that hold a block the one that was registered first counts.
        """
        while first < end:
            stop, found = end, None
            for run in self.runs:
                if run.first <= first:
                    if first < run.end:
                        found = run
                        break
                elif run.first < stop:
                    stop = run.first
            if found is None:
                return
            first = min(stop, found.end)
            yield found, first

    def join(self, first: BlockRun, second: BlockRun) -> bool:
        """Put two free runs together in the second, if they are neighbours in all that matters."""
        runs = self.runs
        place = runs.index(first)
        if first.end != second.first or place + 1 == len(runs) or runs[place + 1] is not second:
            return False
        second.first = first.first
        del runs[place]
        return True


def split(run: BlockRun, place: int) -> BlockRun:
    """Cut a run of a stretch in two before block ``place``; return what comes off its end."""
    assert run.stretch is not None
    rest = BlockRun(run.stretch, place, run.end, run.references)
    rest.rest, run.rest, run.end = run.rest, rest, place
    run.alone = False
    runs = run.stretch.runs
    runs.insert(runs.index(run) + 1, rest)
    if not run.references:  # of free blocks the last is used first
        _put_before(run, rest)
    return rest


class Stretches:
    """The stretches of which blocks are held or free, and those before them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[StretchName, Stretch] = {}

    def __len__(self) -> int:
        """How many are known."""
        return len(self._known)

    def find(self, name: StretchName) -> Stretch | None:
        """Return the stretch of a name, if it is known."""
        return self._known.get(name)

    def follow(self, name: StretchName) -> Stretch:
        """Return the stretch of a name, known from now on, as the last one of a request, after the one before."""
        stretch = self._known.get(name)
        before = name[0]
        if stretch is None:
            stretch = self._known[name] = Stretch(name)
        elif before is not None:
            before.uses -= 1
        stretch.uses += 1
        return stretch

    def forget(self, stretch: Stretch) -> None:
        """Do not know a stretch any more that has no blocks and no use, nor those before it that were for its sake."""
        while not stretch.runs and not stretch.uses:
            del self._known[stretch.name]
            stretch.uses = -1
            before = stretch.name[0]
            if before is None:
                return
            before.uses -= 1
            stretch = before


class FreeBlocks:
    """The free blocks in the order in which they are used again."""

    __slots__ = ("_ends", "_nameless_first", "_stretches", "told")

    def __init__(self, blocks: int, stretches: Stretches, *, nameless_first: bool) -> None:
        """``nameless_first``: what cannot be found is used before what can, and not in its turn."""
        ends = BlockRun(None, 0, 0)  # what is used first is after it, what is used last before it
        self._ends = ends.before = ends.after = ends
        self._stretches = stretches
        self._nameless_first = nameless_first
        self.told: Callable[[Stretch, int, int], None] | None = None  # of blocks that can be found no more
        self.add_nameless(blocks)

    def add_nameless(self, blocks: int) -> None:
        """Free blocks in which nothing can be found."""
        ends = self._ends
        near = ends.after if self._nameless_first else ends.before
        if near.stretch is None and near is not ends:
            near.end += blocks
        else:
            _put_before(near if self._nameless_first else ends, BlockRun(None, 0, blocks))

    def add(self, run: BlockRun) -> None:
        """Free a run of a stretch."""
        ends, stretch = self._ends, run.stretch
        last = ends.before
        if stretch is None or last.stretch is not stretch or not stretch.join(run, last):
            run.before, run.after = last, ends
            last.after = ends.before = run

    def take(self, run: BlockRun) -> None:
        """Take a run out of the queue."""
        before, after = run.before, run.after
        before.after, after.before = after, before
        run.before = run.after = self._ends  # so that it does not keep its old neighbours alive

    def use(self, blocks: int) -> bool:
        """Use so many blocks for something else; return whether one of them could have been found until now."""
        ends, found = self._ends, False
        while blocks:
            run = ends.after
            stretch, count = run.stretch, run.end - run.first
            if stretch is not None:
                found = True
                if self.told is not None:
                    self.told(stretch, max(run.first, run.end - blocks), run.end)
            if count > blocks:
                run.end -= blocks
                break
            blocks -= count
            self.take(run)
            if stretch is not None:
                run.rest, run.alone = None, False
                stretch.runs.remove(run)
                if not stretch.runs:
                    self._stretches.forget(stretch)
        return found

    def in_order(self) -> list[BlockRun]:
        """Return the runs, what is used first first; of each the last block is used first."""
        found, run = [], self._ends.after
        while run is not self._ends:
            found.append(run)
            run = run.after
        return found


def pieces_up_to(stretch: Stretch, end: int, block_size: int) -> StreamPieces:
    """Return what a sequence consists of that goes through a stretch, up to block ``end``, as (stream, tokens)."""
    pieces: list[tuple[int, int]] = []
    through: Stretch | None = stretch
    while through is not None:
        through, first, holds = through.name
        if isinstance(holds, int):
            pieces.append((holds, (end - first) * block_size))
        else:
            if end > first + 1:
                pieces.append((holds[-1][0], (end - first - 1) * block_size))
            pieces += reversed(holds)
        end = first
    return tuple(reversed(pieces))


def _put_before(place: BlockRun, run: BlockRun) -> None:
    before = place.before
    run.before, run.after = before, place
    before.after = place.before = run
