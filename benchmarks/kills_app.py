"""The app killed while it simulates: what is saved is whole, and the next one goes on. For ``benchmarks.kills``."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.killed import LONGEST_S, command, ended, everything, files

APP = "ui"


def trial_of_the_app(folder: Path, moments: Sequence[tuple[float, int]]) -> list[str]:
    """Kill the app while it simulates; what it has saved is read by the next one, which simulates on."""
    wrong: list[str] = []
    for number, (share, sent) in enumerate(moments):
        place = folder / f"{APP}-{number}"
        place.mkdir()
        about = f"{APP}, {signal.Signals(sent).name} after {4 * share:.2f} s"
        with App(place) as app:
            for _ in range(4):
                app.asked("/api/runs", {"values": {"workload.limit": "400"}})
            time.sleep(4 * share)
            code, said = app.killed(sent)
        # Who ends the app ends it as it is to be: with 0
        if "Traceback" in said or code not in (0, -sent, 128 + sent):
            wrong.append(f"{about}: exit code {code}, {said.strip()[-300:]!r}")
        try:
            runs = {path.parent for path in files(place / "runs") if path.name == "summary.json"}
            everything(place / "runs")
        except Exception as error:
            wrong.append(f"{about}: {error!r}")
            continue
        for run in runs:
            code, said = ended(("verify", str(run)), place)
            if code:
                wrong.append(f"{about}: {said.strip()[-300:]!r}")
        with App(place) as app:
            task = app.asked("/api/runs", {"values": {"workload.limit": "40"}})
            ends = time.monotonic() + LONGEST_S
            while task["state"] not in ("done", "failed", "cancelled") and time.monotonic() < ends:
                time.sleep(0.1)
                task = app.asked(f"/api/tasks/{task['id']}")
            if task["state"] != "done":
                wrong.append(f"{about}: the next one fails: {task}")
            app.killed(signal.SIGTERM)
    print(f"{APP:<10} {len(moments):>4} kills within 4 s, {len(wrong)} wrong")
    return wrong


class App:
    """The app's server, asked as its page asks it."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            command(APP, "--no-browser"), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env={**os.environ, "SERVESIM_RUNS": str(folder / "runs")},
        )  # fmt: skip

    def __enter__(self) -> "App":
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.search(r"(http://\S+?)/?\?token=(\S+)", line)
            if found:
                self.address, self.token = found.groups()
                return self
        raise RuntimeError("the app said no address")

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def asked(self, path: str, body: object = None) -> dict[str, Any]:
        """Return the app's answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"x-servesim-token": self.token, "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.address + path, data, headers)) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def killed(self, number: int) -> tuple[int, str]:
        """Send a signal; return the exit code, and what was said."""
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=LONGEST_S)
        return self.process.returncode, said
