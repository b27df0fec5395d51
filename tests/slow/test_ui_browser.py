"""The app in a browser: a run, a reload, a comparison; no console errors, nothing serious for a screen reader.

Skipped where there is no chromium, or none of the extra ``browser``.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright; it is in the extra browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
SHOWN, MOST_MS = "#report[data-shown]", 60_000


def started(root):
    """Start the app in a process of its own; return that and the address that it prints."""
    words = [sys.executable, "-m", "simulator.cli.main", "--runs", str(root), "ui", "--no-browser"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    return process, process.stdout.readline().strip()


def ended(process, number, code):
    process.send_signal(number)
    assert process.wait(30) == code
    process.stdout.close()


@pytest.fixture
def address(tmp_path):
    process, address = started(tmp_path / "runs")
    yield address
    ended(process, signal.SIGINT, 0)


@pytest.fixture
def browser():
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def shown(browser, address):
    """Open a page in a browser of its own (no cookies, no storage in common), and hold it to no error."""
    said = []
    own = browser.new_context(viewport={"width": 1280, "height": 900})
    page = own.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    yield page
    own.close()
    assert said == []


@pytest.fixture
def page(browser, address):
    with shown(browser, address) as page:
        yield page


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
        page.check(f"#saved input[type=checkbox][value='{name}']")
    for base, other in (names, names[::-1]):
        page.check(f"#saved input[type=radio][value='{base}']")
        page.click("#go")
        until(page, f"document.getElementById('report').dataset.shown === '{base} {other}'")
        assert page.inner_text(".chip:has-text('base')").startswith(base)
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


def test_runs_are_there_after_the_app_was_killed(browser, tmp_path):
    process, address = started(tmp_path / "runs")
    with shown(browser, address) as page:
        name = run(page, "orca")
        page.fill("[id='field-workload.limit']", "15000")
        page.click("#go")
        page.wait_for_selector("#cancel")
        ended(process, signal.SIGKILL, -signal.SIGKILL)  # in the middle of another run
    process, address = started(tmp_path / "runs")
    try:
        with shown(browser, address) as page:
            page.click(f"#saved button:has-text('{name}')")
            page.wait_for_selector(SHOWN, timeout=MOST_MS)
            assert page.locator("#saved li").count() == 1  # what was not finished is no run
    finally:
        ended(process, signal.SIGINT, 0)


def test_two_browsers_at_once_have_each_their_own(browser, address):
    with shown(browser, address) as one, shown(browser, address) as other:
        for page, name in ((one, "orca"), (other, "sarathi")):
            page.select_option("[id='field-policy.scheduling']", name)
            page.click("#go")
        found = []
        for page, name in ((one, "orca"), (other, "sarathi")):
            page.wait_for_selector(SHOWN, timeout=MOST_MS)
            found.append(page.get_attribute("#report", "data-shown"))
            assert page.evaluate("window.REPORT.runs[0].policies.scheduling") == name
        assert len(set(found)) == 2


def test_a_dropped_trace_is_simulated_and_the_papers_rates_follow_the_sliders(page, tmp_path):
    rows = "".join(f"{i / 5},{100 + i},20\n" for i in range(60))
    (tmp_path / "mine.csv").write_text(f"arrival_s,prompt_tokens,output_tokens\n{rows}")
    page.click("#tab-trace")
    page.set_input_files("#file", tmp_path / "mine.csv")
    page.click("#report #go")
    page.wait_for_selector(SHOWN, timeout=MOST_MS)
    assert page.evaluate("window.REPORT.runs[0].states.arrived") == 60
    page.evaluate("document.getElementById('report').removeAttribute('data-shown')")
    page.click("#tab-paper")
    page.click("#go")
    page.wait_for_selector(SHOWN, timeout=MOST_MS)
    assert serious(page) == []
    said = page.inner_text(".verdict")
    page.fill("input[aria-label^='alpha exactly']", "20")
    dearer = page.inner_text(".verdict")
    page.select_option("#origin", "first_token")
    assert len({said, dearer, page.inner_text(".verdict")}) == 3
    page.click("text=Reset")
    assert page.inner_text(".verdict") == said
