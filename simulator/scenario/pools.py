"""One pool of replicas of a scenario's cluster: of a role, or of several that are unlike."""

import re
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from simulator.errors import InputError
from simulator.scenario.engine import AtLeastOne, Gpus, Section, Watts, without_unset
from simulator.scenario.policy import PolicyChoice, choice
from simulator.workload.difficulty import routerbench
from simulator.workload.ranges import Positive

Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Replicas = Annotated[int, Field(ge=1, le=10_000)]
OrNone = Annotated[int, Field(ge=0, le=10_000)]
NAME = re.compile("[A-Za-z][A-Za-z0-9_-]*")


class PoolSpec(Section):
    """The replicas of one role; what is unset is as in hardware, engine and policy."""

    replicas: Replicas = Field(1, description="identical engines in this role")
    gpu: str | None = Field(None, description="unset: as hardware.gpu")
    tensor_parallel_size: Gpus | None = Field(None, description="unset: as in engine")
    data_parallel_size: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="unset: as in engine"
    )
    max_num_seqs: AtLeastOne | None = Field(None, description="unset: as in engine")
    max_num_batched_tokens: AtLeastOne | None = Field(None, description="unset: as in engine")
    num_gpu_blocks: AtLeastOne | None = Field(None, description="unset: as in engine")
    profile: str | None = Field(None, description="unset: as engine.profile")
    scheduling: Annotated[PolicyChoice | None, choice("scheduling", "cluster.prefill/decode.scheduling")] = (
        Field(None, description="unset: as policy.scheduling")
    )
    scaling: Annotated[PolicyChoice | None, choice("scaling", "cluster.prefill/decode.scaling")] = Field(
        None, description="unset: as policy.scaling"
    )
    min_replicas: OrNone | None = Field(None, description="unset: as in cluster.scaling")
    max_replicas: Replicas | None = Field(None, description="unset: as in cluster.scaling")
    power_cap_w: Watts | None = Field(None, description="unset: as hardware.power_cap_w")

    @model_serializer(mode="wrap")
    def _brief(self, whole: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        return without_unset(whole(self), info, "power_cap_w")


class MixedPoolSpec(PoolSpec):
    """One of several pools of unlike replicas behind one router."""

    replicas: OrNone = Field(
        1, description="identical engines in this pool; 0 at the start only if it is scaled"
    )
    model: str | None = Field(None, description="unset: as hardware.model")
    usd_per_gpu_hour: Positive | None = Field(None, description="unset: as the GPU's profile")
    quality: Score | str | None = Field(
        None,
        description="mean score of its model's answers, from 0 to 1, or a model of RouterBench; unset: not known",
    )
    usd_per_request: Positive | None = Field(
        None,
        description="list price, for routers that weigh it; unset: that of RouterBench, if quality names a model",
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        if isinstance(self.quality, str) and self.quality not in routerbench():
            raise InputError(
                f"cluster.pools: quality {self.quality!r} found; expected a number from 0 to 1, or one of"
                f" {', '.join(routerbench())}"
            )
        return self

    @property
    def published(self) -> tuple[float | None, float]:
        """Mean score, None where it is not known, and list price of a request in US$, 0 where it is not known."""
        if not isinstance(self.quality, str):
            return self.quality, self.usd_per_request or 0.0
        found = routerbench()[self.quality]
        return found.score, self.usd_per_request or found.usd_per_request
