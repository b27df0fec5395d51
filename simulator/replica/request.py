"""A request as the traffic brings it, and the states that it can end in."""

from enum import IntEnum
from typing import Annotated, Any, Literal, NamedTuple


class RequestState(IntEnum):
    """The state a request ends in; every request ends in exactly one. Saved by lower-case name."""

    COMPLETED = 0  # all tokens delivered (or stopped at max_model_len)
    ABANDONED_BY_SYSTEM = 1  # dropped to save others
    ABANDONED_BY_USER = 2  # patience ran out
    REJECTED = 3  # refused at admission
    FAILED = 4  # can never fit, or lost to a fault
    UNFINISHED = 5  # still waiting or running at the horizon


COMPLETED = RequestState.COMPLETED  # as an attribute of an Enum it is looked up slowly
NEVER = float("nan")


class Field(NamedTuple):
    """What all who carry, check, read or write an optional field of a request need to know of it.

    whole: whole numbers of either sign; tokens: whole numbers >= 1; label: whole numbers, or in a trace texts,
    which are numbered in order of appearance, and never empty; name: a text, whose number in a list of names that the
    workload has beside it stands for it, -1 for none; seconds: >= 0; number: any. An empty cell of a trace is the
    field's default; if that is NEVER, NaN stands for nothing everywhere.
    """

    means: str  # in one line
    kind: Literal["whole", "tokens", "label", "name", "seconds", "number"]
    column: str | None = None  # of a trace in this project's own format; None: it is made of something else
    least: float | None = None
    most: float | None = None
    absent: str = ""  # what has none, in the sentence on a wrong one: "expected ..., or nothing for ..."
    saved: bool = False  # whether requests.parquet has a column of its name

    @property
    def is_float(self) -> bool:
        """Whether its values are floats; else they are integers."""
        return self.kind in ("seconds", "number")


class Request(NamedTuple):
    """A row of the workload: what a client sends, and when. It never changes.

    One more line here is all that an optional field takes: traces are then read with its column, a ``Workload``
    takes it by name, policies see ``job.request.NAME``, and results have it, if it is ``saved``.
    """

    row: int
    arrival_s: float
    prompt_tokens: int
    output_tokens: int  # that it will get; policies do not know it
    priority: Annotated[
        int,
        Field("the lower, the sooner, where the policy looks at it", "whole", column="priority", saved=True),
    ] = 0
    leave_s: Annotated[
        float, Field("when its client gives up", "seconds", absent="a client that never gives up")
    ] = NEVER
    tenant: Annotated[int, Field("who pays for it", "label", column="tenant", saved=True)] = 0
    predicted_tokens: Annotated[
        int, Field("what a predictor says of its output, which may be wrong", "tokens")
    ] = 1 << 30
    limit_tokens: Annotated[
        int, Field("output tokens that its client allows, if fewer than the workload's max_tokens", "tokens")
    ] = 1 << 30
    v_s_per_token: Annotated[
        float,
        Field(
            "seconds that its reader takes for a token, 0 for an agent; NEVER: those of user.v_s_per_token",
            "seconds",
            column="v_s_per_token",
            absent="a reader as user.v_s_per_token has it",
            saved=True,
        ),
    ] = NEVER
    thinking_tokens: Annotated[
        int,
        Field(
            "first output tokens that are thinking, not read; -1: as user.thinking_share says",
            "whole",
            column="thinking_tokens",
            least=-1,
            saved=True,
        ),
    ] = -1
    first_token_allowance_s: Annotated[
        float,
        Field(
            "S of its reader; NEVER: that of user.first_token_allowance_s",
            "seconds",
            column="first_token_allowance_s",
            absent="a reader as user.first_token_allowance_s has it",
            saved=True,
        ),
    ] = NEVER
    ttft_slo_s: Annotated[
        float,
        Field(
            "bound on its time to first token, which it was promised; NEVER: that of slo.ttft_s",
            "seconds",
            column="ttft_slo_s",
            absent="a request with the bound of slo.ttft_s",
            saved=True,
        ),
    ] = NEVER
    tpot_slo_s: Annotated[
        float,
        Field(
            "bound on its mean time per output token, which it was promised; NEVER: that of slo.tpot_s",
            "seconds",
            column="tpot_slo_s",
            absent="a request with the bound of slo.tpot_s",
            saved=True,
        ),
    ] = NEVER
    e2e_slo_s: Annotated[
        float,
        Field(
            "bound on the time to its last token, which it was promised; NEVER: that of slo.e2e_s",
            "seconds",
            column="e2e_slo_s",
            absent="a request with the bound of slo.e2e_s",
            saved=True,
        ),
    ] = NEVER
    task_slo_s: Annotated[
        float,
        Field(
            "from the first arrival of its session until all requests of that are to be done; NEVER: no such promise",
            "seconds",
            column="task_slo_s",
            absent="a request whose session was promised nothing",
            saved=True,
        ),
    ] = NEVER
    traffic_class: Annotated[
        int,
        Field("which of workload.classes it is of, from 0 up; -1: none", "whole", least=-1, saved=True),
    ] = -1
    model: Annotated[
        int,
        Field(
            "the model that it asks for, of the workload's model_names; -1: as the router says",
            "name",
            column="model",
            least=-1,
            saved=True,
        ),
    ] = -1
    difficulty: Annotated[
        float,
        Field(
            "how hard it is to answer well, 0 for the mean and 1 a standard deviation above; hidden but for estimates",
            "number",
            column="difficulty",
            absent="a difficulty that is drawn",
            saved=True,
        ),
    ] = NEVER
    session: Annotated[int, Field("the conversation it belongs to; -1: none", "whole", saved=True)] = -1
    think_s: Annotated[
        float,
        Field(
            "from the answer before in its session to its arrival; NEVER: it arrives at arrival_s",
            "seconds",
            absent="a request that arrives at its time",
        ),
    ] = NEVER


DEFAULTS: dict[str, Any] = Request._field_defaults
FIELDS: dict[str, Field] = {name: Request.__annotations__[name].__metadata__[0] for name in DEFAULTS}
TRACE_COLUMNS = {name: each.column for name, each in FIELDS.items() if each.column is not None}
