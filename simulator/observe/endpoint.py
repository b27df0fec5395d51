"""The server that is called: where it is, what it is asked, and what is sent beside that."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from simulator.errors import InputError
from simulator.observe.prompts import Part, plain

Api = Literal["completions", "chat"]
_PATHS: dict[Api, str] = {"completions": "/completions", "chat": "/chat/completions"}
_OURS = ("stream", "stream_options", "prompt", "messages")  # keys of a body that decide what is measured


@dataclass(frozen=True)
class Endpoint:
    """A server that speaks OpenAI's API, and how requests to it are made.

    ``extra_body`` goes over what is sent; None takes a key out of it. ``ignore_eos`` asks, as vLLM and SGLang
    understand it, for answers of exactly the traffic's lengths. Raises InputError for what cannot be one.
    """

    base: str  # URL up to and with the version, without a slash at its end
    api: Api = "completions"
    query: str = ""
    model: str | None = None  # None: the only one that the server lists
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    ignore_eos: bool = True
    count_chunks: bool = True  # whether the server is asked to count the tokens of each chunk
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        """Check what goes over the body; see the class for what is raised."""
        for key in _OURS:
            if key in self.extra_body:
                raise InputError(
                    f"--extra-body: {key!r} is what this command measures by; expected other keys"
                )

    @classmethod
    def of(cls, url: str, *, api: str | None = None, **others: Any) -> "Endpoint":
        """Return the endpoint at ``http://host:8000``, at its ``/v1``, or at the full path of one of the two APIs."""
        if api is not None and api not in get_args(Api):
            raise InputError(f"--api: expected {' or '.join(get_args(Api))}, got {api!r}")
        try:
            split = urlsplit(url)
            fits = split.scheme in ("http", "https") and bool(split.hostname) and split.port != 0
        except ValueError:
            fits = False
        if not fits:
            raise InputError(f"{url}: expected the URL of a server, such as http://localhost:8000")
        path = split.path.rstrip("/")
        named: Api | None = None
        for each in ("chat", "completions"):  # the longer path first
            if path.endswith(_PATHS[each]):
                named, path = each, path.removesuffix(_PATHS[each])
                break
        else:
            path = path if path.endswith("/v1") else f"{path}/v1"
        if named is not None and api not in (None, named):
            raise InputError(
                f"--api: {api!r}, but the path of the URL is that of {named!r}; expected one of the two"
            )
        base = urlunsplit((split.scheme, split.netloc, path, "", ""))
        return cls(base, named or api or "completions", split.query, **others)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """Where requests go."""
        return self._at(_PATHS[self.api])

    @property
    def models_url(self) -> str:
        """Where the server lists its models."""
        return self._at("/models")

    @property
    def shown(self) -> str:
        """Where requests go, without what may be secret: user, password and query."""
        split = urlsplit(self.base)
        host = split.netloc.rpartition("@")[2]
        return urlunsplit((split.scheme, host, split.path + _PATHS[self.api], "", ""))

    def body(self, prompt: Sequence[Part], output_tokens: int) -> bytes:
        """Return the body of a request for an answer of so many tokens."""
        asked: dict[str, Any] = {"model": self.model}
        if self.api == "chat":
            asked["messages"] = [{"role": role, "content": text.lstrip()} for role, text in prompt]
        else:
            asked["prompt"] = plain(prompt).lstrip()
        asked |= {"max_tokens": output_tokens, "temperature": 0.0, "stream": True}
        asked["stream_options"] = {"include_usage": True}
        if self.count_chunks:
            asked["stream_options"]["continuous_usage_stats"] = True
        if self.ignore_eos:
            asked |= {"ignore_eos": True, "min_tokens": output_tokens}
        asked |= self.extra_body
        return json.dumps({key: value for key, value in asked.items() if value is not None}).encode()

    def _at(self, path: str) -> str:
        return f"{self.base}{path}" + (f"?{self.query}" if self.query else "")


def headers_of(given: Sequence[str], api_key: str | None) -> dict[str, str]:
    """Return headers given as ``NAME: VALUE``; raises InputError, which shows no value, for one that is none."""
    found = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    for nth, each in enumerate(given, 1):
        name, _, value = (part.strip() for part in each.partition(":"))
        if (
            not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not value
        ):  # a token of RFC 9110, section 5.6.2
            raise InputError(f"--header: expected NAME: VALUE, which the value of number {nth} is not")
        found[name] = value
    for name, value in found.items():
        if not (value.isascii() and value.isprintable()):
            raise InputError(
                f"--header, --api-key-env: the value of {name} cannot be sent; expected printable ASCII"
            )
    return found


def extra_body_of(text: str) -> dict[str, Any]:
    """Return what ``--extra-body`` says; raises InputError where it is no JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"--extra-body {text}: expected a JSON object, such as '{{\"top_p\": 0.9}}'")
    return found
