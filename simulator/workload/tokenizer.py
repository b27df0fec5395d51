"""Counting the tokens of texts with a tokenizer of Hugging Face (the package ``tokenizers``, an extra)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import InputError, not_installed

_FILE = "tokenizer.json"


@dataclass(frozen=True)
class TokenCounter:
    """A tokenizer under the name that it was asked for."""

    name: str
    count: Callable[[str], int]  # tokens of a text, without special ones

    @property
    def said(self) -> str:
        """What is to be said of a row whose texts it counted."""
        return f"token counts by the tokenizer {self.name}"


def load(given: str, base_dir: Path | None = None) -> TokenCounter:
    """Return the tokenizer in a file, in a folder with ``tokenizer.json``, or of this name on the Hugging Face hub.

    A path is looked for in ``base_dir``, then in the working directory. Raises ``InputError`` without the extra, for a
    file that is none, and for a name that is neither in the hub's local cache nor can be fetched.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise not_installed("workload.tokenizer: the package tokenizers", "tokenizers") from error
    paths = [folder / Path(given).expanduser() for folder in (base_dir or Path(), Path())]
    path = next((each for each in paths if each.exists()), None)
    if path is not None and path.is_dir():
        path /= _FILE
        if not path.exists():
            raise InputError(f"workload.tokenizer: no {_FILE} in the folder {path.parent}; expected one")
    if path is None and given.endswith(".json"):
        raise InputError(
            f"workload.tokenizer: no file {given!r}; expected a {_FILE}, its folder, or a name on the hub"
        )
    import logging

    try:
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # what it warns of is in the error
        found = Tokenizer.from_file(str(path)) if path is not None else Tokenizer.from_pretrained(given)
    except Exception as error:  # its own errors are of no other class
        reason = " ".join(str(error).split())[:160]
        if path is not None:
            raise InputError(f"workload.tokenizer: {path}: not a readable {_FILE}: {reason}") from error
        raise InputError(
            f"workload.tokenizer: {given!r} is no file or folder, and not to be had from the Hugging Face hub or its"
            f" cache; expected a {_FILE} or its folder ({reason})"
        ) from error
    return TokenCounter(given, lambda text: len(found.encode(text, add_special_tokens=False).ids))
