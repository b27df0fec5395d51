"""What the metrics made of a run's tokens: what is kept of it where the tokens are not, and got back."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from simulator.arrays import Columns, Flags
from simulator.errors import InputError
from simulator.metrics import RequestLog, UserModel
from simulator.metrics._picked import picked
from simulator.metrics._pool import ValuePool, described
from simulator.metrics._reduce import KeptReadings, reduce
from simulator.metrics._summary import marked
from simulator.metrics._window import arrived_within

_PACKAGE = "servesim"


def per_request(log: RequestLog, user: UserModel) -> Columns:
    """Return a value a request of everything that is measured so, as columns."""
    functions = {each.name: each for each in marked() if not each.pools}
    reduce(log, functions.values(), user.reading)
    return {name: each(log, user) for name, each in functions.items()}


def pooled(log: RequestLog, user: UserModel) -> dict[str, Any]:
    """Return what was pooled over all tokens, to be saved."""
    return {each.name: described(each(log, user)) for each in marked() if each.pools}


def check_kept(requests: Columns, manifest: Mapping[str, Any]) -> None:
    """Raise InputError where a run that was saved without its tokens lacks a value that this version makes of them."""
    lacking = [
        each.name for each in marked() if each.name not in requests and each.name not in manifest["pooled"]
    ]
    if lacking:
        saved_by = manifest.get("versions", {}).get(_PACKAGE, "an unknown version")
        raise InputError(
            f"this run was saved by {_PACKAGE} {saved_by} without {lacking[0]}, which {_PACKAGE} {_own_version()} makes"
            " of tokens that were not saved; expected a run with trace_level = 'tokens', or run it anew"
        )


def kept(requests: Columns, pools: Mapping[str, Any], user: UserModel) -> KeptReadings:
    """Return both of a run that was saved without its tokens, from its requests' columns and its manifest."""
    found: KeptReadings = {}
    for each in marked():
        key = each.name, user.reading if each.of_user else None
        if each.name in requests:
            found[key] = requests[each.name]
        elif each.name in pools:
            found[key] = ValuePool.of(pools[each.name])
    return found


def log_of(whole: RequestLog, rows: Flags, pools: Mapping[str, Any], user: UserModel) -> RequestLog:
    """Return the log of the requests that ``rows`` marks, bool[n], of those that arrived in the window of a whole run.

    ``pools`` is what was saved as ``pooled`` of them.
    """
    return arrived_within(picked(whole, rows, kept({}, pools, user)))


def _own_version() -> str:
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return "as it is here, which is not installed,"
