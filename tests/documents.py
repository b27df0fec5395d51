"""What the documents have in them that runs: commands, and policies of one's own."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
_COMMAND = re.compile(r"^\s*(?:\.venv/bin/)?servesim (.*)$", re.M)


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each line of a page that begins with the command, and of those that follow a backslash."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    yield from (shlex.split(line, comments=True) for line in _COMMAND.findall(text))


def policy_files() -> dict[str, str]:
    """Return the policies of docs/write_a_policy.md, by the names of their files."""
    text = (ROOT / "docs" / "write_a_policy.md").read_text(encoding="utf-8")
    return dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", text, re.S))
