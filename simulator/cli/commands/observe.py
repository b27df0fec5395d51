"""``servesim observe``: a scenario's traffic, sent to a real server, recorded and scored as a simulation is."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.options import AsJson, NoPlot, Overrides, Overwrite, load_scenario
from simulator.cli.output import print_json, remark, say, warn, wrote
from simulator.cli.terminal import InterruptedRunError, progress, stop_on_interrupt
from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.observe.endpoint import Endpoint
    from simulator.results.measured import MeasuredResult
    from simulator.scenario.scenario import Scenario

ORDER = 44
TABLES = True
EPILOG = """Examples:

\b
servesim observe http://localhost:8000 --scenario mine.toml --out runs/real
servesim observe http://localhost:8000 --api chat --num-requests 200 --max-concurrency 32
servesim observe https://api.example.com/v1 --model m --api-key-env API_KEY --no-ignore-eos \\
    --set workload.arrivals=poisson --set workload.rate_rps=2 --set workload.requests=100 \\
    --set workload.prompt_tokens=500 --set workload.output_tokens=100
"""


def observe(
    url: Annotated[
        str, typer.Argument(help="Of a server that speaks OpenAI's API: http://HOST:PORT, or with its path.")
    ],
    scenario: Annotated[
        Path | None,
        typer.Option(help="Scenario file (TOML) with the traffic. Without one: as servesim run without one."),
    ] = None,
    overrides: Overrides = None,
    model: Annotated[
        str | None, typer.Option(help="Model to ask for. Default: the only one that is served.")
    ] = None,
    api: Annotated[
        str | None, typer.Option(help="completions or chat. Default: as the URL says, else completions.")
    ] = None,
    num_requests: Annotated[
        int | None, typer.Option("--num-requests", min=1, help="Send this many requests of the traffic.")
    ] = None,
    max_concurrency: Annotated[
        int | None,
        typer.Option(
            "--max-concurrency", min=1, help="Hold requests back beyond so many in flight. Default: none."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the traffic and the prompts' words, as --set seed=SEED.")
    ] = None,
    warmup: Annotated[int, typer.Option(min=0, help="Requests to send before, which are not recorded.")] = 0,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=0.001, help="Give up on a request after so many seconds.")
    ] = 600.0,
    ignore_eos: Annotated[
        bool,
        typer.Option(
            "--ignore-eos/--no-ignore-eos",
            help="Ask for answers of exactly the traffic's lengths, as vLLM and SGLang understand it.",
        ),
    ] = True,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME: VALUE", help="Header of each request; may be repeated.")
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option("--api-key-env", metavar="VAR", help="Environment variable with the API key."),
    ] = None,
    extra_body: Annotated[
        str | None,
        typer.Option(
            "--extra-body", metavar="JSON", help="Keys over the body of each request; null takes one out."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the records. Default: runs/NAME-observed-NUMBER.")
    ] = None,
    no_plot: NoPlot = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Send a scenario's traffic to a real server; print its metrics and save when each token came."""
    from simulator.observe.endpoint import Endpoint, extra_body_of, headers_of

    chosen, base_dir = load_scenario(
        scenario, [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]
    )
    if num_requests is not None:
        key = "limit" if chosen.workload.arrivals is None else "requests"
        chosen = chosen.with_overrides([f"workload.{key}={num_requests}"])
    api_key = None if api_key_env is None else os.environ.get(api_key_env, "").strip()
    if api_key_env is not None and not api_key:
        raise InputError(f"--api-key-env: the environment has no {api_key_env}; expected the API key in it")
    endpoint = Endpoint.of(
        url,
        api=api,
        model=model,
        headers=headers_of(header or [], api_key),
        extra_body={} if extra_body is None else extra_body_of(extra_body),
        ignore_eos=ignore_eos,
        timeout_s=timeout_s,
    )
    from simulator.report.report import report
    from simulator.results.folders import claimed, claimed_anew

    with claimed_anew(f"{chosen.name}-observed") if out is None else claimed(out, overwrite) as folder:
        result, failure = _observe_and_save(
            chosen,
            base_dir,
            endpoint,
            folder,
            max_concurrency=max_concurrency,
            warmup=warmup,
            plot=not no_plot,
        )
    if as_json:
        print_json(result.summary())
    else:
        say(report(result.manifest, result.summary()), kept=folder)
    if result.manifest["measured"]["client_is_late"]:
        warn("the client did not keep up; its own lateness is in the latencies")
    if failure is not None:
        raise failure
    wrote("records", folder)


def _observe_and_save(
    scenario: "Scenario",
    base_dir: Path | None,
    endpoint: "Endpoint",
    folder: Path,
    *,
    max_concurrency: int | None,
    warmup: int,
    plot: bool,
) -> "tuple[MeasuredResult, Exception | None]":
    """Return the result, saved, and what the command must fail with once it is printed."""
    from simulator.observe.observe import NothingSentError
    from simulator.observe.observe import observe as observed
    from simulator.report.plots import overview
    from simulator.results.folders import whole
    from simulator.results.writing import PICTURE

    with stop_on_interrupt() as asked:
        try:
            with progress(scenario.name, "s") as on_progress:
                result = observed(
                    scenario,
                    endpoint,
                    base_dir=base_dir,
                    max_in_flight=max_concurrency,
                    warmup=warmup,
                    on_ready=lambda line: remark(f"servesim: {line}"),
                    on_progress=on_progress,
                    should_stop=asked,
                )
        except NothingSentError as error:
            raise InterruptedRunError("interrupted before any request was sent; nothing was saved") from error
        except KeyboardInterrupt as error:
            raise InterruptedRunError("interrupted twice; nothing was saved") from error
        try:
            result.write(folder)
            if plot:
                with whole(folder / PICTURE) as part:
                    overview(result, part)
        except OSError as error:
            return result, InputError(f"{folder}: the records could not be saved: {error.strerror or error}")
    if result.partial:
        end_s = result.manifest["end_of_run_s"]
        kept = f"interrupted after {end_s:,.0f} s; the records up to there are in {folder}, marked partial"
        return result, InterruptedRunError(kept)
    return result, None
