"""What a router remembers of the prompts that it sent: a tree of their beginnings, approximate and never corrected."""

from collections.abc import Iterator, Sequence

PromptPieces = Sequence[tuple[int, int]]  # (stream, tokens) one after another


class _Node:
    """A piece of one stream, and what followed it; ``used_s`` is when each place was sent it last."""

    __slots__ = ("after", "tokens", "used_s")

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.after: dict[int, _Node] = {}
        self.used_s: dict[object, float] = {}

    def split(self, tokens: int, stream: int) -> None:
        """Cut after so many tokens."""
        rest = _Node(self.tokens - tokens)
        rest.after, rest.used_s = self.after, dict(self.used_s)
        self.tokens, self.after = tokens, {stream: rest}


class PrefixIndex:
    """Which beginnings were sent to which place, the least recently used forgotten first."""

    def __init__(self, most_tokens: int) -> None:
        """``most_tokens`` of each place are kept by ``forget``."""
        self.most_tokens = most_tokens
        self.tokens: dict[object, int] = {}  # kept of each place
        self._root = _Node(0)

    def matches(self, prompt: PromptPieces) -> dict[object, int]:
        """Return how many of a prompt's first tokens each place was sent before."""
        found: dict[object, int] = {}
        node, matched = self._root, 0
        for stream, length in _pieces(prompt):
            left = length
            while left:
                child = node.after.get(stream)
                if child is None:
                    return found
                same = min(left, child.tokens)
                matched += same
                found |= dict.fromkeys(child.used_s, matched)
                if same < child.tokens:
                    return found
                node, left = child, left - same
        return found

    def insert(self, prompt: PromptPieces, place: object, now_s: float) -> None:
        """Note that a prompt was sent to a place."""
        node = self._root
        for stream, length in _pieces(prompt):
            left = length
            while left:
                child = node.after.get(stream)
                if child is None:
                    child = node.after[stream] = _Node(left)
                elif left < child.tokens:
                    child.split(left, stream)
                if place not in child.used_s:
                    self.tokens[place] = self.tokens.get(place, 0) + child.tokens
                child.used_s[place] = now_s
                node, left = child, left - child.tokens

    def forget(self) -> None:
        """Forget of each place that has too much what was sent there longest ago, ends of prompts first."""
        for place, kept in self.tokens.items():
            if kept <= self.most_tokens:
                continue
            # A node is used no earlier than what follows it, so that ends come before beginnings.
            nodes = sorted(self._nodes(place), key=lambda each: (each[1].used_s[place], -each[0]))
            for _, node in nodes:
                if self.tokens[place] <= self.most_tokens:
                    break
                self.tokens[place] -= node.tokens
                del node.used_s[place]
        self._prune(self._root)

    def _nodes(self, place: object) -> Iterator[tuple[int, _Node]]:
        """Yield the nodes of a place, with their depths."""
        stack = [(1, node) for node in self._root.after.values()]
        while stack:
            depth, node = stack.pop()
            if place in node.used_s:
                yield depth, node
                stack += [(depth + 1, child) for child in node.after.values()]

    @staticmethod
    def _prune(root: _Node) -> None:
        """Drop what no place has."""
        stack = [root]
        while stack:
            node = stack.pop()
            node.after = {stream: child for stream, child in node.after.items() if child.used_s}
            stack += node.after.values()


def _pieces(prompt: PromptPieces) -> list[tuple[int, int]]:
    """Return the segments, neighbours of the same stream as one."""
    pieces: list[tuple[int, int]] = []
    for stream, tokens in prompt:
        if pieces and pieces[-1][0] == stream:
            pieces[-1] = stream, pieces[-1][1] + tokens
        else:
            pieces.append((stream, tokens))
    return pieces
