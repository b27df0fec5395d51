"""What the chunks of one answer say: how many tokens came with each, what they are, and how the answer ended.

A chunk is one value of ``data``, or the whole body of an answer that was not streamed. How many tokens a chunk
carries is, in this order: by how much its ``usage.completion_tokens`` grew (vLLM's and SGLang's
``stream_options.continuous_usage_stats``), its ``token_ids``, its ``logprobs``, else one. The first chunk of a chat,
which only names the role, carries none.
"""

import json
from collections.abc import Mapping
from typing import Any

_DONE = b"[DONE]"
_THINKING = ("reasoning_content", "reasoning")  # of a delta: DeepSeek's and vLLM's name, and the newer one


class BadAnswerError(Exception):
    """A chunk that is no chunk, or in which the server says that it failed; ``detail`` is what the server says."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class StreamedAnswer:
    """Adds up the chunks of one answer."""

    def __init__(self) -> None:
        self.times_s: list[float] = []  # when each chunk that carries tokens came
        self.tokens: list[int] = []  # that each of these carries
        self.thinking_tokens = 0
        self.counted = True  # whether the server said of each chunk how many tokens it carries
        self.finish_reason: str | None = None
        self.done = False  # whether the server said that nothing follows
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.hidden_tokens = 0  # of thinking that the server counts and does not send
        self._text: list[str] = []

    @property
    def text(self) -> str:
        """What the answer says, without its thinking."""
        return "".join(self._text)

    def take(self, data: bytes, time_s: float) -> None:
        """Take a chunk that came at a time in seconds; raises BadAnswerError."""
        if data.strip() == _DONE:
            self.done = True
            return
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise BadAnswerError("a chunk is not JSON") from None
        if not isinstance(chunk, dict):
            raise BadAnswerError("a chunk is no JSON object")
        if chunk.get("error") or chunk.get("object") == "error":
            raise BadAnswerError("the server sent an error", said_in(chunk))
        before = self.completion_tokens or 0
        usage = self._take_usage(chunk.get("usage"))
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return
        choice = choices[0]
        if isinstance(choice.get("finish_reason"), str):
            self.finish_reason = choice["finish_reason"]
        written, thought, has_tokens = _words(choice)
        self._text.append(written)
        carried = self._carried(choice, before, usage, has_tokens)
        if carried:
            self.times_s.append(time_s)
            self.tokens.append(carried)
            if thought and not written:
                self.thinking_tokens += carried

    def _take_usage(self, usage: Any) -> bool:
        """Note what the server has counted so far; return whether it says how many tokens of the answer there are."""
        if not isinstance(usage, dict):
            return False
        for name in ("prompt_tokens", "completion_tokens"):
            if (count := _count(usage.get(name))) is not None:
                setattr(self, name, count)
        for name, key, part in (
            ("cached_tokens", "prompt_tokens_details", "cached_tokens"),
            ("hidden_tokens", "completion_tokens_details", "reasoning_tokens"),
        ):
            details = usage.get(key)
            if isinstance(details, dict) and (count := _count(details.get(part))) is not None:
                setattr(self, name, count)
        return _count(usage.get("completion_tokens")) is not None

    def _carried(self, choice: Mapping[str, Any], before: int, usage: bool, has_tokens: bool) -> int:
        if usage:
            return max((self.completion_tokens or 0) - before, 0)
        for listed in (choice.get("token_ids"), _listed(choice.get("logprobs"))):
            if isinstance(listed, list) and (listed or not has_tokens):
                return len(listed)
        self.counted = self.counted and not has_tokens
        return int(has_tokens)


def said_in(body: Any) -> str:
    """Return the message of an error that a server sent, on one line of at most 200 characters."""
    found = body.get("error") or body if isinstance(body, dict) else body
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail") or json.dumps(found)
    text = " ".join(str(found).split())
    return text if len(text) <= 200 else text[:197] + "..."


def _words(choice: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Return the answer's text and the thinking in a chunk, and whether it carries a token."""
    if "text" in choice:
        text = choice["text"] if isinstance(choice["text"], str) else ""
        return text, "", bool(text) or not choice.get("finish_reason")
    delta = choice.get("delta", choice.get("message"))
    if not isinstance(delta, dict):
        return "", "", False
    written = delta.get("content")
    thought = next((each for name in _THINKING if isinstance(each := delta.get(name), str) and each), "")
    calls = bool(delta.get("tool_calls"))
    # A token whose letters are not whole yet is an empty text; a role alone is no token.
    held_back = written == "" and "role" not in delta and not choice.get("finish_reason")
    text = written if isinstance(written, str) else ""
    return text, thought, bool(text or thought or calls or held_back)


def _listed(logprobs: Any) -> Any:
    """Return the tokens that logprobs are listed of: completions have ``tokens``, chats ``content``."""
    if not isinstance(logprobs, dict):
        return None
    return logprobs.get("tokens", logprobs.get("content"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
