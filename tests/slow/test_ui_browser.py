"""The app in a browser: a run, a reload, a comparison; no console errors, nothing serious for a screen reader.

Skipped where there is no chromium, or none of the extra ``browser``.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright; it is in the extra browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
SHOWN, MOST_MS = "#report[data-shown]", 60_000


@pytest.fixture
def address(tmp_path):
    """The app in a process of its own, ended by Ctrl-C."""
    words = [
        sys.executable,
        "-m",
        "simulator.cli.main",
        "--runs",
        str(tmp_path / "runs"),
        "ui",
        "--no-browser",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.fixture
def page(address):
    said = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        yield page
        browser.close()
    assert said == []


def run(page, name):
    page.click("#tab-run")
    page.select_option("[id='field-policy.scheduling']", name)
    page.evaluate("document.getElementById('report').removeAttribute('data-shown')")
    page.click("#go")
    page.wait_for_selector(SHOWN, timeout=MOST_MS)
    return page.get_attribute("#report", "data-shown")


def until(page, expression, seconds=MOST_MS / 1000):
    """Wait as wait_for_function does, which the app's content security policy does not let it do."""
    ends_s = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < ends_s, expression
        page.wait_for_timeout(20)


def serious(page):
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="no axe; it is in the extra browser")
    found = axe.Axe().run(page)["violations"]
    return [
        (each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")
    ]


def test_a_run_a_reload_a_comparison_and_a_refusal(page):
    names = [run(page, name) for name in ("orca", "sarathi")]
    assert len(set(names)) == 2
    page.reload()
    page.wait_for_selector(SHOWN, timeout=MOST_MS)
    assert page.get_attribute("#report", "data-shown") == names[1]
    assert page.input_value("[id='field-policy.scheduling']") == "sarathi"
    assert serious(page) == []
    page.click("#tab-compare")
    for name in names:
        page.check(f"#saved input[value='{name}']")
    page.click("#go")
    until(page, "window.REPORT.runs.length === 2")
    page.click("#tab-run")
    page.fill("[id='field-cluster.replicas']", "many")
    page.click("text=Copy as command")
    page.wait_for_selector(".refused")
    assert "cluster.replicas" in page.inner_text(".refused")


def test_the_sliders_answer_at_once_and_a_long_run_is_cancelled(page):
    page.fill("[id='field-workload.limit']", "2000")
    run(page, "vllm_v1")
    page.evaluate("window.before = document.getElementById('report').innerText")
    page.locator("#report input[type=range]").first.press("End")
    until(page, "document.getElementById('report').innerText !== window.before", seconds=1.5)
    page.select_option("[id='field-workload.arrivals']", "poisson")  # and what that needs
    run(page, "orca")
    page.fill("[id='field-workload.requests']", "19000")
    page.click("#go")
    page.click("#cancel")
    page.wait_for_selector("text=cancelled; nothing of it was saved", timeout=MOST_MS)
