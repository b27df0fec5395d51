"""Does every command in the documents do what they say? Each is run, page by page, in a copy of the project.

    python -m benchmarks.documented [PAGE ...]

The tests only read them (``tests/cli/test_docs.py``), because some take minutes. A command that names a file gets the
one that its page shows, or a small one; ``observe`` gets a server of the tests' and twenty requests, ``ui`` is ended
once it has said where it is. What has to be there from before (``runs/demo``) is made first. Prints what each took,
and what it said where it ended with anything but 0; exit status 1 if one did. In full some twenty minutes.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.killed import command
from tests.documents import ROOT, commands, policy_files
from tests.streaming_server import StreamingServer

LONGEST_S = 1800.0
FOLDERS = "servesim", "simulator", "policies", "hardware_profiles", "experiments"

# What pages show of a file: its first block of that language
SHOWN = {"plan.toml": "plan", "study.toml": "sweep", "chat.toml": "capacity"}
TRAFFIC = """
[workload]
arrivals = "poisson"
rate_rps = 10.0
requests = 300
lengths = "chat_azure2023"
"""
FIRST = (  # what commands go on from
    "run experiments/demo.toml --out runs/demo --overwrite",
    "run scenario.toml --out runs/first",
    "export runs/first --to vllm_bench --out bench.json",
    "compare a.toml b.toml --seeds 2 --out runs/ab",
    "init mine.toml",
)
WRITTEN = {"init": 1, "export": -1}  # where these commands have the file that they write


def pages(names: Sequence[str]) -> Iterator[Path]:
    """Yield the pages in the order in which the index has them."""
    docs = ROOT / "docs"
    linked = re.findall(r"\]\(([\w/]+\.md)\)", (docs / "index.md").read_text(encoding="utf-8"))
    every = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        docs / "index.md",
        *(docs / name for name in linked),
    ]
    yield from (page for page in dict.fromkeys(every) if not names or page.stem in names)


def prepare(folder: Path) -> None:
    """Copy the project, and write the files that commands name."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, page in SHOWN.items():
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        (folder / name).write_text(text.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    for name, code in policy_files().items():
        (folder / name).write_text(code, encoding="utf-8")
    for name in ("scenario.toml", "a.toml"):
        (folder / name).write_text(TRAFFIC, encoding="utf-8")
    (folder / "b.toml").write_text(f"{TRAFFIC}[policy]\nscheduling = 'sarathi'\n", encoding="utf-8")
    rows = [(second, 100 + second % 7 * 50, 20 + second % 5 * 30) for second in range(60)]
    lines = ["arrival_s,prompt_tokens,output_tokens", *(",".join(map(str, row)) for row in rows)]
    (folder / "requests.csv").write_text("\n".join(lines), encoding="utf-8")
    dated = ["ts,usage.input,usage.output", *(f"2026-01-01T00:00:{s:02}Z,{p},{o}" for s, p, o in rows)]
    (folder / "gateway.csv").write_text("\n".join(dated), encoding="utf-8")
    timed = [f'{{"timestamp": {s * 1000}, "input_length": {p}, "output_length": {o}}}' for s, p, o in rows]
    (folder / "requests.jsonl").write_text("\n".join(timed), encoding="utf-8")


def run(words: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a command; return its exit code and what it said. ``ui`` is ended after its first line."""
    process = subprocess.Popen(
        command(*words), cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True, env={**os.environ, "BROWSER": "true"},
    )  # fmt: skip
    assert process.stdout is not None
    if words[0] == "ui":
        said = process.stdout.readline()
        process.terminate()
        return process.wait(60) if "http" not in said else 0, said + process.communicate(timeout=60)[0]
    try:
        said, _ = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return 124, f"not done after {LONGEST_S:.0f} s"
    return process.returncode, said


def main(names: Sequence[str]) -> int:
    """Run the commands of all pages, or of some; return 1 if one fails."""
    failed, done = [], set()
    with tempfile.TemporaryDirectory() as place, StreamingServer() as server:
        folder = Path(place)
        prepare(folder)
        found = [(page.stem, words) for page in pages(names) for words in commands(page)]
        for page, words in [("first", shlex.split(line)) for line in FIRST] + found:
            if tuple(words) in done:
                continue
            done.add(tuple(words))
            shown = shlex.join(words)
            if words[0] == "observe":
                words = [server.url if word.startswith("http") else word for word in words]
                words += ["--set", "workload.limit=20"]  # as time passes as it does
            if words[0] in WRITTEN:  # as new as for a reader
                (folder / words[WRITTEN[words[0]]]).unlink(missing_ok=True)
            start_s = time.monotonic()
            code, said = run(words, folder)
            print(f"{page}: {shown}: {code}, {time.monotonic() - start_s:.1f} s", flush=True)
            if code:
                failed.append(shown)
                print("    " + said.strip()[-2000:].replace("\n", "\n    "), flush=True)
    print(f"{len(done)} commands, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
