"""What an importer makes of a file: requests that a real server served, and from them one run as columns.

Tokens come in chunks, and a file says when each chunk came. Where it also says how many tokens the answer has, and
these are not as many as its chunks, tokens are spread evenly over the chunks, in order (``in_chunks``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Columns, Floats, Ints
from simulator.errors import InputError
from simulator.replica.request import RequestState

UNKNOWN = -1  # prompt tokens of a request whose file does not say
TokenTimes = Literal["each", "first and last"]
_MOST_TOKENS = 1 << 20  # of one answer


@dataclass(frozen=True)
class ServedRequest:
    """One request as its file has it; all times in seconds on the clock of the file.

    With ``chunks_s``, f64[chunks], when each chunk came; else ``first_s`` and ``last_s``, when the first and the last
    token came, or none of these for a request that got nothing.
    """

    where: str  # in the file, for a sentence: "FILE: request 3"
    arrival_s: float
    prompt_tokens: int | None  # None: the file does not say
    output_tokens: int | None  # None: the file does not say, so that each chunk counts as one
    chunks_s: Floats | None = None
    first_s: float | None = None
    last_s: float | None = None
    state: RequestState = RequestState.COMPLETED
    end_s: float | None = (
        None  # when it left without completing; None: when its last token came, or at its arrival
    )
    thinking_tokens: int | None = None  # of the beginning of the answer
    surplus_first: bool = False  # tokens beyond the chunks came with the first one, not evenly


@dataclass(frozen=True)
class ServedRun:
    """The requests of one run in order of arrival, as columns; ``notes`` say what the file does not tell."""

    name: str
    tool: str  # that wrote the file
    arrival_s: Floats  # f64[n]
    prompt_tokens: Ints  # i64[n], UNKNOWN where the file does not say
    output_tokens: Ints  # i64[n], delivered
    thinking_tokens: Ints | None
    state: NDArray[np.int8]
    end_s: Floats
    first_s: Floats  # f64[n], NaN without a token
    last_s: Floats
    delivered_s: Floats | None  # f64[tokens]; None: only the first and the last are known
    end_of_run_s: float
    has_times: bool  # whether the file says when requests were sent
    model: str | None = None
    notes: list[str] = field(default_factory=list)
    columns: Columns = field(default_factory=dict)  # others of requests.parquet
    partial: bool = False  # whether it was stopped before its end

    @property
    def has_prompts(self) -> bool:
        """Whether the length of every prompt is known."""
        return bool((self.prompt_tokens != UNKNOWN).all())

    @property
    def token_times(self) -> TokenTimes:
        """Whether it is known when each token came, or of the first and the last alone."""
        return "first and last" if self.delivered_s is None else "each"


def in_chunks(chunks: int, tokens: int, surplus_first: bool = False) -> NDArray[np.int64]:
    """Return with which chunk, from 0, each token comes: the first with the first, the last with the last.

    Tokens beyond the chunks are spread evenly over all chunks or, with ``surplus_first``, come with the first one;
    of chunks beyond the tokens, evenly chosen ones carry one each.
    """
    if tokens >= chunks and surplus_first:
        return np.maximum(np.arange(tokens) - (tokens - chunks), 0)
    if tokens >= chunks:
        return np.arange(tokens, dtype=np.int64) * chunks // max(tokens, 1)
    return np.round(np.linspace(0, chunks - 1, tokens)).astype(np.int64)


def served_run(
    name: str,
    tool: str,
    requests: Sequence[ServedRequest],
    *,
    notes: Sequence[str] = (),
    model: str | None = None,
    duration_s: float | None = None,
    tokens_needed: bool = True,
) -> ServedRun:
    """Return the run of these requests; with ``duration_s`` the file does not say when they were sent.

    Then the clock of each begins at 0, and the run takes so long. Raises InputError, naming the request, for times
    that go back or a token before its request and, if ``tokens_needed``, for a file without a request that got a token.
    """
    if tokens_needed and not any(each.chunks_s is not None or each.first_s is not None for each in requests):
        raise InputError(f"{name}: none of its {len(requests)} requests got a token; expected some that did")
    ordered = sorted(requests, key=lambda each: each.arrival_s)
    by_token = all(
        each.chunks_s is not None or each.first_s is None or each.first_s == each.last_s for each in ordered
    )
    told, several, fewer = list(notes), 0, 0
    times: list[Floats] = []  # of tokens, or of chunks alone
    counts = np.zeros(len(ordered), np.int64)
    for i, each in enumerate(ordered):
        chunks_s = _chunks(each)
        tokens = len(chunks_s) if each.output_tokens is None else each.output_tokens
        if each.chunks_s is not None:
            several += tokens > len(chunks_s)
            fewer += tokens < len(chunks_s)
        counts[i] = tokens if len(chunks_s) else 0
        times.append(chunks_s[in_chunks(len(chunks_s), tokens, each.surplus_first)] if by_token else chunks_s)
    if several:
        how = "with the first chunk" if requests[0].surplus_first else "evenly over its chunks, in order"
        told.append(
            f"{several:,} of {len(ordered):,} answers have more tokens than chunks; their tokens are counted {how}"
        )
    if fewer:
        told.append(
            f"{fewer:,} of {len(ordered):,} answers have fewer tokens than chunks; each of their tokens is counted with"
            " one of evenly chosen chunks"
        )
    if any(each.output_tokens is None and each.chunks_s is not None for each in ordered):
        told.append(
            "the file does not say how many tokens a chunk carries; each chunk is counted as one token"
        )
    if not by_token:
        told.append("only the first and the last token of an answer have times")
    if any(each.prompt_tokens is None for each in ordered):
        told.append(
            "the file does not say how long prompts are; nothing that counts their tokens is measured"
        )
    if duration_s is not None:
        told.append(
            "the file does not say when requests were sent; rates are over the whole run"
            f" ({duration_s:g} s), and nothing is said of changes over time"
        )
    end_s = np.array([_end(each, mine) for each, mine in zip(ordered, times, strict=True)])
    last_s = float(max([end_s.max(), *(mine[-1] for mine in times if len(mine))]))
    thinking = [UNKNOWN if each.thinking_tokens is None else each.thinking_tokens for each in ordered]
    return ServedRun(
        name=name,
        tool=tool,
        arrival_s=np.array([each.arrival_s for each in ordered]),
        prompt_tokens=np.array(
            [UNKNOWN if each.prompt_tokens is None else each.prompt_tokens for each in ordered], np.int64
        ),
        output_tokens=counts,
        thinking_tokens=np.array(thinking, np.int64) if any(each >= 0 for each in thinking) else None,
        state=np.array([each.state for each in ordered], np.int8),
        end_s=end_s,
        first_s=np.array([mine[0] if len(mine) else np.nan for mine in times]),
        last_s=np.array([mine[-1] if len(mine) else np.nan for mine in times]),
        delivered_s=np.concatenate(times) if by_token else None,
        end_of_run_s=last_s if duration_s is None else max(last_s, duration_s),
        has_times=duration_s is None,
        model=model,
        notes=told,
    )


def _chunks(each: ServedRequest) -> Floats:
    """Return when the chunks of a request came, checked; without them its first and last token."""
    if each.chunks_s is not None:
        chunks_s = each.chunks_s
    elif each.first_s is None or each.last_s is None:
        chunks_s = np.empty(0)
    else:
        same = each.first_s == each.last_s or each.output_tokens == 1
        chunks_s = np.array([each.first_s] if same else [each.first_s, each.last_s])
    if not len(chunks_s):
        return chunks_s
    if chunks_s[0] < each.arrival_s:
        raise InputError(
            f"{each.where}: its first token comes {each.arrival_s - chunks_s[0]:.6g} s before it was sent;"
            " expected after"
        )
    back = np.diff(chunks_s) < 0
    if back.any():
        raise InputError(f"{each.where}: chunk {int(np.argmax(back)) + 2} comes before the one before it")
    tokens = each.output_tokens
    if tokens is not None and not 1 <= tokens <= _MOST_TOKENS:
        raise InputError(f"{each.where}: {tokens} output tokens; expected from 1 to {_MOST_TOKENS:,}")
    return chunks_s


def _end(each: ServedRequest, times_s: Floats) -> float:
    last_s = float(times_s[-1]) if len(times_s) else each.arrival_s
    return last_s if each.end_s is None or each.state is RequestState.COMPLETED else max(each.end_s, last_s)
