"""What the tables of every profile have in common: checked strictly, each with its source."""

import datetime

from pydantic import BaseModel, ConfigDict


class Profile(BaseModel):
    """A table of a profile: frozen, strictly typed, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Sourced(Profile):
    """What every block carries: where its values come from, under which licence, and when."""

    source: str
    licence: str
    date: datetime.date
