"""Where waiting requests stand by what a radix tree holds of them, in SGLang's two orders; smallest first.

Source: SGLang 0.5.3, srt/managers/schedule_policy.py.
"""

from collections.abc import Iterable

from simulator.replica.job import Job
from simulator.replica.radix_tree import Node, RadixTree, Runs

LIKE_EARLIER_TOKENS = 32  # sharing as many with an earlier waiting request, and not more with the cache: wait


def longest_prefix_first(tree: RadixTree, waiting: Iterable[tuple[Job, Runs]]) -> dict[Job, float]:
    """By cached tokens; of those that begin alike and find little, all but one wait for it to be cached."""
    ranks: dict[Job, float] = {}
    earlier = RadixTree()
    for job, runs in waiting:
        cached = tree.match(runs).stop
        ranks[job] = -cached
        if cached <= LIKE_EARLIER_TOKENS:
            if earlier.match(runs).stop >= LIKE_EARLIER_TOKENS:
                ranks[job] = float("inf")
            else:
                earlier.insert(runs)
    return ranks


def depth_first(tree: RadixTree, waiting: Iterable[tuple[Job, Node]]) -> dict[Job, float]:
    """In the order of a walk that takes the branch with the most waiting jobs first, children first.

    Of each job the node is given at which what is found of it ends.
    """
    ends: dict[Node, list[Job]] = {}
    for job, end in waiting:
        ends.setdefault(end, []).append(job)
    weights: dict[Node, int] = {}
    for end, jobs in ends.items():
        node: Node | None = end
        while node is not None:
            weights[node] = weights.get(node, 0) + len(jobs)
            node = node.parent
    ranks: dict[Job, float] = {}
    stack = [(tree.root, False)]
    while stack:
        node, children_done = stack.pop()
        if children_done:
            for job in ends.get(node, ()):
                ranks[job] = len(ranks)
            continue
        stack.append((node, True))
        children = [child for child in node.children.values() if child in weights]
        children.sort(key=weights.__getitem__, reverse=True)
        stack.extend((child, False) for child in reversed(children))
    return ranks
