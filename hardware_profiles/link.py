"""What KV caches travel on, as data: ports, what a transfer costs beside its bytes, and the way of a request.

One TOML file a link (``links/*.toml``), found by its name; a user's own is a file of the same form, given by path.
A transfer takes latency + set-up + descriptors x the time of one + bytes / (bandwidth x achieved share).
"""

from pathlib import Path

from pydantic import Field

from hardware_profiles.files import load, profile_path, shipped_names
from hardware_profiles.sourced import Profile, Sourced


class Port(Sourced):
    """One port, as fast in either direction; each GPU has its own."""

    bandwidth_gb_s: float = Field(gt=0)  # 10^9 bytes/s, as specified
    achieved_share: float = Field(gt=0, le=1)  # of it, by large transfers
    latency_s: float = Field(ge=0)  # before the first byte
    remark: str = ""


class TransferCost(Sourced):
    """What the transfer engine needs beside the time of the bytes."""

    setup_s: float = Field(ge=0)  # of each transfer
    descriptor_s: float = Field(ge=0)  # of each piece of memory that a GPU's rank posts
    remark: str = ""


class Handshake(Sourced):
    """The first contact of two replicas."""

    handshake_s: float = Field(ge=0)
    remark: str = ""


class RoutingHop(Sourced):
    """From a prompt's end until its decode replica has the request: back to the router, and on."""

    routing_s: float = Field(ge=0)
    remark: str = ""


class LinkProfile(Profile):
    """One kind of link under one transfer engine; every number has its source beside it in the file."""

    name: str
    description: str
    port: Port
    transfer: TransferCost
    connection: Handshake
    hand_over: RoutingHop


def list_links() -> list[str]:
    """Return the names of the shipped link profiles, sorted."""
    return shipped_names("links")


def load_link(name_or_path: str, base_dir: Path | None = None) -> LinkProfile:
    """Return a shipped link by name, or the profile in a TOML file (relative to ``base_dir``).

    Raises InputError for an unknown name (with the nearest one) and for a malformed file (with the key).
    """
    path = profile_path(
        "links", "link", name_or_path, base_dir, list_links(), "the path of a link profile (.toml)"
    )
    return load(LinkProfile, path)
