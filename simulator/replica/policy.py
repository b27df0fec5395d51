"""The seam between an engine and what it plans: a scheduling policy."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self

from simulator.replica.idle_cost import IdleCost
from simulator.replica.job import Job
from simulator.replica.ledger_view import Ledger


class Scheduler(ABC):
    """Decides what one replica computes in its next step: subclass it in a file of its own."""

    reserves_whole: ClassVar[bool] = False  # running requests hold the KV blocks for all of their output

    def splits_prompts(self) -> bool:
        """Whether a prompt may be computed over several steps.

        Where it may not, the engine needs a token budget that holds the longest sequence.
        """
        return True

    def splits_sms(self) -> bool:
        """Whether prompts run beside the decodes on a part of the GPU: ``step.lanes`` is then there."""
        return False

    def decides_each_step(self) -> bool:
        """Whether a step can be planned only when the one before has ended.

        An engine that plans ahead then does not: it serves this policy step by step, at what that costs.
        """
        return False

    def fits_pipeline(self) -> bool:
        """Whether it plans steps of an engine with several stages: each of what is in no batch in flight.

        All other running requests are then neither in the decode group nor partial, and may be preempted.
        """
        return False

    def plans_unseen_ends(self) -> bool:
        """Whether it says itself, by ``decode_all(beyond=True)``, which steps compute a token too many.

        Those that are run without a plan then compute it wherever a last one is in flight, and ``goes_on_decoding`` is
        asked after them. Else an engine that plans ahead adds it to the step after each last one that was a stop token.
        """
        return False

    def native_engine(self) -> str | None:
        """Return the engine profile that the policy is named after; None: it is named after none."""
        return None

    def prefix_cache(self) -> Literal["blocks", "radix"] | None:
        """How requests that begin alike share their KV: not at all, by full blocks, or by a radix tree."""
        return None

    def seats_what_comes(self) -> bool:
        """Whether requests whose KV came from another replica decode from the next step on, before it is planned.

        Else they wait in the queue, with their KV, for the policy to admit them.
        """
        return False

    def admits_all(self) -> bool:
        """Whether ``plan`` admits all that wait, with all of their known tokens, if that fits and all others decode.

        The engine then does so without asking.
        """
        return False

    def fast_forward_spare_blocks(self) -> int | None:
        """Return how many KV blocks a step has to leave free for the engine to run it without asking.

        Asked for only while no job waits and each running one decodes, where most policies would do nothing but
        ``decode_all()``; nor is ``plan`` asked then while all that runs is complete when the steps in flight end.
        None: ``plan`` wants to be asked every time.
        """
        return None

    def goes_on_decoding(self, step: Ledger) -> bool:
        """Whether ``plan`` would do nothing but ``decode_all()``, now and until a request comes, leaves or is complete.

        Asked before such steps are run without a plan of each, where ``fast_forward_spare_blocks`` allows that, and
        again when one of them has completed a request, after ``decoded`` told of those so far.
        """
        return True

    def decoded(self, begun_s: float, ends_s: Sequence[float], first_tick: int) -> None:
        """Hear when steps ended that were run without a plan: ``begun_s`` is the start of the first one.

        ``first_tick`` is how many ticks the decode group had done before them.
        """
        return

    def queue_key(self) -> Callable[[Job], Any] | None:
        """Return what orders the waiting queue (smallest first); None: first come, first served."""
        return None

    @abstractmethod
    def plan(self, step: Ledger) -> None:
        """Write the plan of the next step with the ledger's verbs."""

    def promises(self, step: Ledger, job: Job, at_s: float) -> bool:
        """Whether a request that came now would be promised its bounds in the next step, which starts at ``at_s``.

        Asked by routers; it changes nothing. A policy that promises nothing declines none.
        """
        return True

    def told_frontend(self, frontend_s: float) -> Self:
        """Return itself, told before the first plan how long a token takes from its generation to its client."""
        return self

    def told(self, readers: IdleCost) -> Self:
        """Return itself, told before the first plan what readers' waiting costs; most policies do not look at it."""
        return self
