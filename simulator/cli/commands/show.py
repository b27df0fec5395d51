"""``servesim show``: a saved run, measured again."""

from simulator.cli.options import AsJson, Measured, SavedRun
from simulator.cli.output import print_json, say
from simulator.cli.saved_runs import measured_by

ORDER = 40
TABLES = True
EPILOG = "Example: servesim show runs/a --set user.v_s_per_token=0.1 --set slo.ttft_s=0.5"


def show(
    folder: SavedRun,
    overrides: Measured = None,
    as_json: AsJson = False,
) -> None:
    """Measure a saved run again, with other user.*, slo.* or metrics.* values."""
    from simulator.functions.score import check_measures_only
    from simulator.report.report import report
    from simulator.report.validated import validated_of
    from simulator.results.result import Result

    check_measures_only(overrides or [])
    result = Result.load(folder)
    options = measured_by(result.manifest, overrides or [])
    summary = result.summary(options.user, options.slo, options.window, options.metrics.also)
    if as_json:
        print_json(summary)
    else:
        say(report(result.manifest, summary) + validated_of(result.manifest, summary))
