"""What prompts consist of, as (stream, tokens) one after another.

Two tokens are equal if they lie in the same stream at the same position. -1 - i is the own stream of request
i: what no earlier prompt has, and its answer.
"""

from collections.abc import Sequence

Segments = tuple[tuple[int, int], ...]


def with_rest(
    prompts: Sequence[int], streams: Sequence[int], tokens: Sequence[int], bounds: Sequence[int]
) -> list[Segments]:
    """Return prompts that begin with the given pieces and go on in their own streams.

    The pieces of prompt i, of ``prompts[i]`` tokens, are entries ``bounds[i]`` to ``bounds[i + 1]``.
    """
    found = []
    for i, prompt in enumerate(prompts):
        first, last = bounds[i], bounds[i + 1]
        rest = (-1 - i, prompt - sum(tokens[first:last]))
        pieces = (*zip(streams[first:last], tokens[first:last], strict=True), rest)
        found.append(tuple(piece for piece in pieces if piece[1]))
    return found


def with_history(
    sessions: Sequence[int],
    prompts: Sequence[int],
    new_tokens: Sequence[int],
    begin: Sequence[Segments] | None = None,
) -> list[Segments]:
    """Return prompts that repeat their session: the prompt before, its answer, then what is new.

    What lies between the prompt before and the new tokens is in the stream of the answer before. ``begin``
    are the segments of whoever has nobody before; without it that is a stream of its own.
    """
    found: list[Segments] = []
    before: dict[int, int] = {}  # the last request of each session
    for i, (session, prompt, new) in enumerate(zip(sessions, prompts, new_tokens, strict=True)):
        j = before.get(session)
        if j is None:
            found.append(begin[i] if begin is not None else ((-1 - i, prompt),))
        else:
            parts, answer = found[j], prompt - new - prompts[j]
            own = 0
            if parts[-1][0] == -1 - j:
                parts, own = parts[:-1], parts[-1][1]
            found.append(
                (*parts, (-1 - j, own + answer), (-1 - i, new)) if own + answer else (*parts, (-1 - i, new))
            )
        if session >= 0:
            before[session] = i
    return found
