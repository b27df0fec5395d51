"""What a number of a scenario may be: types of its keys, each with a largest value that all sums and products bear."""

from typing import Annotated

from pydantic import Field

from simulator.workload.arrivals import MOST_REQUESTS
from simulator.workload.checks import LARGEST_FACTOR, LARGEST_INTEGER, LARGEST_TOKENS, LATEST_S

# Printable and not empty: no control characters, and none that turn the direction of a text
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+$")]
Positive = Annotated[float, Field(gt=0, le=LARGEST_FACTOR, allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=0, le=LARGEST_FACTOR, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=LATEST_S, allow_inf_nan=False)]
Duration = Annotated[float, Field(gt=0, le=LATEST_S, allow_inf_nan=False)]  # seconds
Count = Annotated[int, Field(ge=1, le=MOST_REQUESTS)]
Tokens = Annotated[int, Field(ge=1, le=LARGEST_TOKENS)]
Turns = Annotated[float, Field(ge=1, le=MOST_REQUESTS, allow_inf_nan=False)]  # of a session, on average
WholeNumber = Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
LabelNumber = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Shares = Annotated[list[Factor], Field(min_length=1)]  # that add up to 1
Sigma = Annotated[float, Field(ge=0, le=20)]  # of a log-normal: e^20 is any factor, e^1000 no number
