"""Simulations on a Ray cluster: each is one task of one core, and finds what it would find here.

Ray starts a process a core and keeps it for all tasks of a study, and gives a task whose machine dies to another. A
machine on which other code would simulate is refused, as its results would be kept as those of the code here.
"""

import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from simulator.errors import InputError, not_installed
from simulator.studies.processes import code_digest

_Key = TypeVar("_Key")
_Found = TypeVar("_Found")

ANY = "any"  # the cluster that there is; none: one of this machine's cores
# Ray tells its makers nothing of a study, and does not warn of a change to come.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
OWN_VARIABLES = "SERVESIM_"  # what the names of environment variables begin with that decide something here


class RayCluster:
    """A Ray cluster that this process belongs to until it is closed."""

    def __init__(self, address: str) -> None:
        """Join one: ``any`` (the one there is, else one on this machine), ``auto``, ``local`` or an address.

        Raises InputError where Ray is not installed, or no cluster is there.
        """
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError as error:
            raise not_installed("--ray: Ray", "ray") from error
        self._ray, self._address = ray, address
        self._joined_here = not ray.is_initialized()
        if self._joined_here:
            place = None if address == ANY else address
            try:
                ray.init(address=place, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise InputError(
                    f"--ray {address}: no Ray cluster there; expected an address, auto or local, or --ray alone for"
                    " the one there is"
                ) from error
        self._task = ray.remote(_simulated_there)

    def done(
        self, work: Callable[..., _Found], given: Mapping[_Key, tuple[Any, ...]]
    ) -> Iterator[tuple[_Key, _Found]]:
        """Do ``work(*arguments)`` for all that is given; yield each as it is done. Raises as ``Workers.done`` does."""
        ray, queue = self._ray, iter(given.items())
        most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        here = code_digest(), os.getcwd(), _own_variables()
        in_flight: dict[Any, _Key] = {}
        try:
            while True:
                for key, arguments in itertools.islice(queue, most - len(in_flight)):
                    in_flight[self._task.remote(*here, work, arguments)] = key
                if not in_flight:
                    return
                for ref in ray.wait(list(in_flight))[0]:
                    yield in_flight.pop(ref), self._found(ref)
        finally:
            for ref in in_flight:
                with suppress(ray.exceptions.RayError):
                    ray.cancel(ref)

    def _found(self, ref: Any) -> Any:
        errors = self._ray.exceptions
        try:
            machine, found = self._ray.get(ref)
        except errors.RayTaskError as error:  # raised by the work itself
            raise getattr(error, "cause", None) or error from None
        except errors.RayError as error:
            said = " ".join(str(error).split("\n\n")[0].split())
            raise InputError(
                f"--ray {self._address}: {type(error).__name__}: {said}; what is done is kept"
            ) from error
        if machine is not None:
            raise InputError(
                f"--ray {self._address}: {machine} has another servesim than this machine; expected the same files"
            )
        return found

    def close(self) -> None:
        """Leave the cluster, and end it if it was started here."""
        if self._joined_here:
            self._ray.shutdown()


_clusters: dict[str, RayCluster] = {}


def cluster_at(address: str) -> RayCluster:
    """Return a cluster, joined once."""
    if address not in _clusters:
        _clusters[address] = RayCluster(address)
    return _clusters[address]


def close_cluster() -> None:
    """Leave the cluster, if one was joined."""
    while _clusters:
        _clusters.popitem()[1].close()


def _own_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(OWN_VARIABLES)}


def _simulated_there(
    code: str, folder: str, variables: Mapping[str, str], work: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[str | None, Any]:
    """On a machine of the cluster: return what the work finds, or the machine's name where its code is another."""
    if code_digest() != code:
        import platform

        return platform.node(), None
    os.environ.update(variables)
    with suppress(OSError):  # relative paths begin where they do on the machine that asks, if it is there too
        os.chdir(folder)
    return None, work(*arguments)
