"""The radix tree and the engine on it against a naive tree that stores every token by itself."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.replica import radix_tree
from simulator.replica.content import Content
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.engine import Engine
from simulator.replica.limits import Limits
from simulator.replica.radix_pages import RadixPages
from simulator.replica.radix_tree import RadixTree, agreement, cut
from simulator.testing import new_job


class Naive:
    """A radix tree with one entry a token: nodes are [tokens, children, locks, last use, parent]."""

    def __init__(self, page):
        self.page, self.clock = page, 0
        self.root = self.node([], None)

    def node(self, tokens, parent):
        self.clock += 1
        return {"tokens": tokens, "children": [], "locks": 0, "used": self.clock, "parent": parent}

    def match(self, tokens):
        tokens = tokens[: len(tokens) // self.page * self.page]
        node = self.root
        while tokens:
            for child in node["children"]:
                same = 0
                while child["tokens"][same : same + self.page] == tokens[same : same + self.page] != []:
                    same += self.page
                if same:
                    break
            else:
                break
            self.clock += 1
            child["used"] = self.clock
            if same < len(child["tokens"]):
                upper = self.node(child["tokens"][:same], node)
                upper["children"], upper["locks"] = [child], child["locks"]
                node["children"].remove(child)
                node["children"].append(upper)
                child["tokens"], child["parent"] = child["tokens"][same:], upper
                child = upper
            node, tokens = child, tokens[same:]
        return node

    def path(self, node):
        while node is not self.root:
            yield node
            node = node["parent"]

    def length(self, node):
        return sum(len(each["tokens"]) for each in self.path(node))

    def insert(self, tokens):
        tokens = tokens[: len(tokens) // self.page * self.page]
        node = self.match(tokens)
        matched = self.length(node)
        if matched < len(tokens):
            leaf = self.node(tokens[matched:], node)
            node["children"].append(leaf)
            node = leaf
        return node, matched

    def nodes(self):
        queue = list(self.root["children"])
        while queue:
            node = queue.pop()
            yield node
            queue += node["children"]

    def size(self, unlocked=False):
        return sum(len(node["tokens"]) for node in self.nodes() if not (unlocked and node["locks"]))

    def lock(self, node, by):
        for each in self.path(node):
            each["locks"] += by

    def evict(self, tokens):
        gone = 0
        while gone < tokens:
            leaves = [node for node in self.nodes() if not node["children"] and not node["locks"]]
            if not leaves:
                break
            oldest = min(leaves, key=lambda node: node["used"])
            oldest["parent"]["children"].remove(oldest)
            gone += len(oldest["tokens"])
        return gone


def runs_of(segments):
    """Segments (stream, tokens) as the tree takes them, and token by token."""
    runs, tokens = [], []
    for stream, length in segments:
        tokens += [(stream, len(tokens) + i) for i in range(length)]
        if runs and runs[-1][0] == stream:
            runs.pop()
        runs.append((stream, len(tokens)))
    return tuple(runs), tokens


SEEDS = st.integers(0, 1 << 32)  # a draw of Hypothesis' own takes longer than what is tested


@settings(max_examples=200, deadline=None)
@given(SEEDS)
def test_the_tree_is_the_naive_tree(seed):
    rng = random.Random(seed)
    page = rng.choice([1, 2, 3])
    tree, naive = RadixTree(page), Naive(page)
    held = []
    for _ in range(30):
        verb = rng.choice(["match", "insert", "insert", "lock", "unlock", "evict"])
        if verb == "evict":
            tokens = rng.randint(0, 12)
            assert tree.evict(tokens) == naive.evict(tokens)
        elif verb == "unlock":
            if held:
                node, twin = held.pop(rng.randrange(len(held)))
                before = tree.evictable
                assert tree.unlock(node) == tree.evictable - before
                naive.lock(twin, -1)
        else:
            runs, tokens = runs_of([(rng.randint(0, 2), rng.randint(1, 7)) for _ in range(rng.randint(1, 4))])
            if verb == "match":
                assert tree.match(runs).stop == naive.length(naive.match(tokens))
            elif verb == "insert":
                node, matched = tree.insert(runs)
                twin, found = naive.insert(tokens)
                assert (node.stop, matched) == (naive.length(twin), found)
            else:
                node, twin = tree.match(runs), naive.match(tokens)
                locked = sum(len(each["tokens"]) for each in naive.path(twin) if each["locks"])
                assert tree.locked(node) == locked
                assert tree.lock(node) == node.stop - locked
                naive.lock(twin, 1)
                held.append((node, twin))
        assert tree.tokens == naive.size()
        assert tree.evictable == naive.size(unlocked=True)


def test_the_oldest_leaf_goes_first_also_after_what_is_out_of_date_is_cleared_away(monkeypatch):
    monkeypatch.setattr(radix_tree, "MOST_OUT_OF_DATE", -100)  # whenever a leaf is lined up
    tree, gone = RadixTree(1), []
    tree.told = lambda tokens, start, stop: gone.append(stop - start)
    first, second, third = (tree.insert(((stream, stream + 1),))[0] for stream in range(3))
    for each in (second, third):
        tree.lock(each)
    for each in (third, second):
        tree.unlock(each)
    tree.match(((0, 1),))  # the first is now the youngest
    assert tree.evict(first.stop + second.stop + third.stop) == 6
    assert gone == [2, 3, 1]


def test_runs_are_cut_and_compared_by_position():
    runs = ((1, 3), (2, 8))
    assert cut(runs, 2, 5) == ((1, 3), (2, 5))
    assert cut(runs, 3, 8) == ((2, 8),)
    assert agreement(runs, ((1, 3), (2, 6), (3, 9)), 0) == 6
    assert agreement(runs, ((1, 2), (2, 8)), 0) == 2
    assert agreement(runs, ((2, 8),), 0) == 0


class Counted:
    """What the engine holds, counted from the start: the naive tree and each running job's own blocks."""

    def __init__(self, engine):
        tree = engine.cache.tree
        self.in_tree = tree.tokens // engine.block_size
        self.evictable = tree.evictable // engine.block_size
        self.own = sum(
            engine.blocks_held(job) - engine.cache.nodes[job].stop // engine.block_size
            for job in engine.running
        )


@settings(max_examples=200, deadline=None)
@given(SEEDS)
def test_the_engine_loses_no_block(seed):
    """After any verbs: free + held = all, each running job's part of the tree is locked, nothing else is."""
    rng = random.Random(seed)
    page, n = rng.choice([1, 2, 4]), rng.randint(1, 7)
    segments = {i: [(0, rng.randint(1, 6)), (rng.randint(1, 2), rng.randint(1, 6))] for i in range(n)}
    pages = RadixPages(24 // page + 2, page, lambda job: Content(segments[job.id], 100 + job.id))
    engine = Engine(Limits(4, 20, 64, 24 // page + 2, page), pages, cache=pages)
    jobs = [new_job(i, 0.0, sum(t for _, t in segments[i]), rng.randint(1, 8), 8) for i in range(n)]
    for job in jobs:
        engine.submit(job)

    def check():
        counted = Counted(engine)
        locked = counted.in_tree - counted.evictable
        assert engine.free_blocks == engine.total_blocks - locked - counted.own
        assert engine.free_blocks >= 0
        ends = {}
        for node in engine.cache.nodes.values():
            while node.parent is not None:
                ends[node] = ends.get(node, 0) + 1
                node = node.parent
        seen = list(engine.cache.tree.root.children.values())
        while seen:
            node = seen.pop()
            assert node.locks == ends.get(node, 0)
            seen.extend(node.children.values())

    for step in range(14):
        engine.open(float(step))
        check()
        if rng.random() < 0.5:
            engine.decode_all()
        for _ in range(rng.randint(0, 4)):
            job = rng.choice(jobs)
            if job in engine.waiting:
                cached = engine.cached_tokens(job)
                tokens = rng.randint(1, job.known_tokens - cached)
                needs, free = engine.blocks_to_admit(job, cached + tokens), engine.free_blocks
                if engine.admit(job, tokens):
                    assert free - engine.free_blocks == needs
            elif job in engine.partial and job not in engine.chunks:
                engine.prefill(job, rng.randint(1, job.remaining_tokens))
            elif job in engine.running and rng.random() < 0.25:
                engine.preempt(job, at_head=False)
            check()
        completing = engine.advance()
        counted = Counted(engine)
        assert counted.in_tree + counted.own <= engine.total_blocks  # every block exists once
        check()
        engine.retire(completing, step + 1.0)
        check()


def test_what_is_in_the_tree_costs_nothing_to_store():
    """A request of a million tokens is as many runs as it has segments."""
    tree = RadixTree()
    tree.insert(((1, 1_000_000), (2, 2_000_000)))
    assert tree.match(((1, 1_000_000), (3, 1_500_000))).stop == 1_000_000
    assert [child.runs for child in tree.root.children.values()] == [((1, 1_000_000),)]


@pytest.mark.parametrize("empty", range(6))
def test_decodes_make_as_much_room_whether_they_take_their_blocks_at_once_or_one_by_one(empty):
    """With speculation they take them one by one; what others left in the tree goes for the same steps."""

    def kept(one_by_one):
        pages = RadixPages(7 + empty, 4, lambda job: Content(((job.id, 16),), 100 + job.id))
        gone, job = new_job(0, prompt_tokens=16), new_job(1, prompt_tokens=16)
        running = {gone: None, job: None}
        pages.watch(running, {}, DecodeGroup(4, []))
        for each, blocks in ((gone, 3), (job, 3)):
            pages.begin(each)
            pages.take(each, blocks)
            each.computed = 4 * blocks
            pages.chunk(each, 0, 4 * blocks)
            pages.seated(each)
        pages.step_planned(())
        del running[gone]
        pages.release(gone)
        if one_by_one:
            pages.take(job, 1)
            pages.drafting(1, 1, 0)
        else:
            pages.free_blocks -= 1
            pages.decoding(1, 1)
        pages.step_planned(())
        return pages.tree.tokens

    assert kept(one_by_one=True) == kept(one_by_one=False)
