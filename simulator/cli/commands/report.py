"""``servesim report``: saved runs, a sweep or a plan as one page to look at and to hand on."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.options import Overwrite
from simulator.cli.output import tell

ORDER = 41
EPILOG = """Examples:

\b
servesim report runs/a
servesim report runs/vllm_v1 runs/smooth --out page.html
servesim report runs/study        (of servesim sweep; of servesim plan likewise)
"""


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Folders of saved runs, the first is the base; or one of a sweep or a plan.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write. Default: report.html in the (first) folder.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Another user.*, slo.* or metrics.* value; may be repeated."
        ),
    ] = None,
    different_traffic: Annotated[
        bool, typer.Option("--different-traffic", help="Compare though the requests are not the same.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write one HTML file that shows runs, or compares them: charts, a reader to change, the slowest requests and why.

    It needs no network and no server. A run that was repeated with several seeds (compare --seeds) has intervals over
    them.
    """
    from simulator.cli.report_page import saved_document, write_report

    document = saved_document(folders, overrides or [], different_traffic)
    path = out if out is not None else folders[0] / "report.html"
    write_report(document, path, overwrite or out is None)
    tell(f"report: {path}")
