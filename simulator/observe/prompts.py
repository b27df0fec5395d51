"""PromptTexts of so many tokens, out of common words: equal where the traffic says that prompts are equal.

The word at a position of a stream (``simulator.workload.segments``) is a function of the seed, the stream and the
position, so that blocks which a trace says are shared are the same text, and a server's prefix cache finds them. How
many tokens a word has, and how many a server puts around a prompt, is measured with two prompts before the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulator.workload import Workload

# Each is one token, with the space before it, in the vocabularies of GPT, Llama and Qwen.
_COMMON = """
time year people way day man thing woman life child world school state family student group country problem hand
part place case week company system program question work government number night point home water room mother
area money story fact month lot right study book eye job word business issue side kind head house service friend
father power hour game line end member law car city community name president team minute idea body information
back parent face others level office door health person art war history party result change morning reason
research girl guy moment air teacher force education foot boy age policy process music market sense nation plan
college interest death experience effect use class control field development role effort rate heart drug show
leader light voice wife police mind price report decision son view town road form value action model season
society tax director record paper space ground event matter center couple project activity star table need court
oil half
"""
_WORDS = np.array([f" {word}" for word in _COMMON.split()], dtype=object)
Speaker = Literal["user", "assistant"]
Part = tuple[Speaker, str]


@dataclass(frozen=True)
class Counting:
    """How a server counts: tokens a word, and tokens that it puts around a prompt, or so many fewer if negative."""

    tokens_per_word: float = 1.0
    around: int = 0


@dataclass(frozen=True)
class PromptTexts:
    """The prompts of a workload, under a seed, for a server that counts so."""

    workload: Workload
    seed: int
    counting: Counting

    def of(self, row: int, answers: Mapping[int, str]) -> list[Part]:
        """Return the prompt of a request, in parts by who says them.

        ``answers`` are texts by row: where a prompt repeats the answer to an earlier request, its text is repeated.
        """
        workload = self.workload
        tokens = int(workload.prompt_tokens[row])
        segments = [(-1 - row, tokens)] if workload.segments is None else workload.segments[row]
        parts: list[Part] = []
        position = 0
        for stream, length in segments:
            end = position + length
            answered = self._answered(stream, row)
            if answered is not None and answered in answers:
                split = min(max(int(workload.prompt_tokens[answered]), position), end)
                parts.append(("user", self.text(stream, position, split)))
                if split < end:
                    parts.append(("assistant", answers[answered]))
            else:
                parts.append(("user", self.text(stream, position, end)))
            position = end
        joined: list[Part] = []
        for role, text in parts:
            if text and joined and joined[-1][0] == role:
                joined[-1] = (role, joined[-1][1] + text)
            elif text:
                joined.append((role, text))
        if not joined or joined[-1][0] != "user":
            joined.append(("user", self._spell(-1 - row, 0, 1)))
        return joined

    def text(self, stream: int, start: int, end: int) -> str:
        """Return the text of tokens ``start`` to ``end`` of a stream; the first ones are what the server puts there."""
        first, last = (
            round(max(each - self.counting.around, 0) / self.counting.tokens_per_word) if each else 0
            for each in (start, end)
        )
        return self._spell(stream, first, last)

    def _spell(self, stream: int, first: int, last: int) -> str:
        chosen = _mixed(self.seed, stream, first, last) % np.uint64(len(_WORDS))
        return "".join(_WORDS[chosen.astype(np.int64)].tolist())

    def _answered(self, stream: int, row: int) -> int | None:
        """Return the earlier request whose answer is in a stream."""
        other = -1 - stream
        return other if self.workload.segments is not None and 0 <= other != row else None


def plain(parts: Sequence[Part]) -> str:
    """Return a prompt as one text."""
    return "".join(text for _, text in parts)


def _mixed(seed: int, stream: int, first: int, last: int) -> NDArray[np.uint64]:
    """Return a number for each position, u64[last - first]: SplitMix64 (Steele et al., OOPSLA 2014) of all three."""
    positions = np.arange(first, last, dtype=np.uint64)
    with np.errstate(over="ignore"):
        key = _finalised(
            _finalised(np.array([seed], np.uint64)) + np.array([stream], np.int64).view(np.uint64)
        )
        return _finalised(positions + key)


def _finalised(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
