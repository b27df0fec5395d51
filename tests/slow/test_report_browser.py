"""The report in a browser: no errors, numbers that follow the sliders as the command line's do, names that are text.

Skipped where there is no chromium, or none of the extra ``browser``.
"""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulator.cli import main as cli
from simulator.report.text import number, percent

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright; it is in the extra browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

EVIL = "</script><script>window.alerted = 1</script><img src=x onerror='window.alerted = 1'>{a|b}"
KEYS = (
    "workload.arrivals=poisson", "workload.rate_rps=22", "workload.requests=500", "workload.lengths=chat_azure2023",
    "cluster.replicas=1", "user.first_token_allowance_s=0.5",
)  # fmt: skip
CARDS = {
    "smooth_goodput.smooth_goodput_tokens_per_s": lambda each: f"{number(each)} tokens/s",
    "token_slo.attainment": percent,
    "idle_latency.idle_latency_s.mean": lambda each: f"{number(each)} s",
    "cost.usd_per_million_smooth_good_tokens": lambda each: (
        "none: no goodput" if each is None else f"${number(each)}"
    ),
}


def call(*words):
    assert cli.main([str(word) for word in words]) == 0


def sets(keys):
    return [word for key in keys for word in ("--set", key)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    root = tmp_path_factory.mktemp("pages")
    for policy in ("vllm_v1", "sarathi"):
        call("run", *sets(KEYS), "--set", f"policy.scheduling={policy}", "--no-plot", "--out", root / policy)
    call("report", root / "vllm_v1", root / "sarathi", "--out", root / "two.html")
    call("report", root / "sarathi", "--out", root / "one.html")
    call("run", *sets(KEYS), "--set", f"name={json.dumps(EVIL)}", "--set", "workload.requests=60", "--no-plot",
         "--out", root / "evil", "--report", root / "evil.html")  # fmt: skip
    (root / "study.toml").write_text(
        'name = "study"\nreplications = 2\n[axes]\n"policy.scheduling" = ["vllm_v1", "orca"]\n'
        '"workload.rate_rps" = [4, 8]\n'
        '[set]\n"workload.arrivals" = "poisson"\n"workload.requests" = 60\n"workload.lengths" = "chat_azure2023"\n'
    )
    call("sweep", root / "study.toml", "--out", root / "sweep", "--jobs", 1)
    call("report", root / "sweep", "--out", root / "sweep.html")
    call("run", *sets(KEYS), "--set", "workload.requests=60", "--trace-level", "requests", "--no-plot",
         "--out", root / "few", "--report", root / "few.html")  # fmt: skip
    return root


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def shown(browser, path: Path, *, width: int = 1280, scheme: str = "light"):
    """Open a page, and hold it to what holds for all: no error, no request, nothing wider than the screen."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("#report[data-ready]", timeout=60_000)
    page.evaluate("for (const each of document.querySelectorAll('.chart')) each.scrollIntoView()")
    yield page
    page.wait_for_timeout(300)
    assert said == []
    assert asked == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize("name", ["two", "one", "evil", "sweep", "few"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_page_has_no_errors_asks_for_nothing_and_is_accessible(browser, pages, name, width, scheme):
    axe = pytest.importorskip(
        "axe_core_python.sync_playwright", reason="no axe-core; it is in the extra browser"
    )
    with shown(browser, pages / f"{name}.html", width=width, scheme=scheme) as page:
        page.wait_for_timeout(300)
        assert page.evaluate("window.alerted") is None
        assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0
        found = axe.Axe().run(page)["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in serious] == []


def cards(page):
    found = page.evaluate(
        "[...document.querySelectorAll('.value')].map((each) => [each.dataset.run, each.dataset.key, each.textContent])"
    )
    return {(run, key): text for run, key, text in found}


@pytest.mark.parametrize(
    "reader",
    [
        {},
        {"V": 0.021},
        {"S": 2.3},
        {"alpha": 3.7},
        {"V": 0.2, "S": 0.0, "alpha": 2.5},
        {"V": 0.013, "S": 0.1},
        {"V": 0.03, "S": 0.0, "origin": "first_token"},
    ],
    ids=str,
)
def test_sliders_give_the_numbers_of_the_command_line(browser, pages, capsys, reader):
    names = {
        "V": "user.v_s_per_token",
        "S": "user.first_token_allowance_s",
        "alpha": "user.alpha",
        "origin": "user.origin",
    }
    with shown(browser, pages / "two.html") as page:
        for name, value in reader.items():
            if name == "origin":
                page.select_option("#origin", value)
                continue
            page.fill(f"input[type=number][aria-label^='{name} exactly']", str(value))
        found = cards(page)
    for run in ("vllm_v1", "sarathi"):
        capsys.readouterr()
        call("show", pages / run, "--json", *sets(f"{names[name]}={value}" for name, value in reader.items()))
        summary = json.loads(capsys.readouterr().out)
        for key, said in CARDS.items():
            at = summary
            for part in key.split("."):
                at = at[part]
            assert found[run, key] == said(at), (run, key)


def test_a_range_moves_the_number_beside_it_and_reset_brings_all_back(browser, pages):
    with shown(browser, pages / "two.html") as page:
        before = cards(page)
        for _ in range(3):
            page.press("input[type=range][aria-label^='V']", "ArrowRight")
        assert page.input_value("input[type=number][aria-label^='V']") == "0.065"
        assert cards(page) != before
        page.click("text=Reset")
        assert cards(page) == before


def test_tables_sort_chips_hide_and_the_theme_changes(browser, pages):
    with shown(browser, pages / "two.html") as page:
        first_token_s = "Number(row.cells[2].textContent.replace(',', ''))"
        rows = f"[...document.querySelectorAll('#slowest tbody tr')].map((row) => {first_token_s})"
        page.click("#slowest thead button:has-text('first token')")
        assert page.evaluate(rows) == sorted(page.evaluate(rows), reverse=True)
        page.click("#slowest thead button:has-text('first token')")
        assert page.evaluate(rows) == sorted(page.evaluate(rows))
        page.click(".chip:has-text('sarathi')")
        assert {run for run, _ in cards(page)} == {"vllm_v1"}
        page.click("#theme")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_requests_reader_waits_as_the_records_say(browser, pages):
    from simulator.metrics._reader import idle_latency_s
    from simulator.results.result import Result

    result = Result.load(pages / "sarathi")
    idle_s = idle_latency_s(result.log, result.user)
    request = int(idle_s.argmax())
    with shown(browser, pages / "one.html") as page:
        page.fill("#delivery input[type=number]", str(request))
        assert page.inner_text("#delivery [data-wait]") == f"{number(idle_s[request], 3)} s"
