"""When the reader of a request began, and how much text it is owed, for the policy ``smooth``."""

from policies.scheduling._smooth_worth import Worth
from simulator.policy import Job


class Clocks:
    """The clocks of readers: each begins once, and goes on from a token that came late."""

    def __init__(self, worth: Worth) -> None:
        self._worth = worth
        self._starts_s: dict[Job, float] = {}  # when the clock of each reader began who had a token
        self._owed_s: dict[Job, float] = {}  # needs of readers whose requests gave up their blocks
        self._tokens: dict[Job, int] = {}  # of readers with a curve: the number of the token that came last

    def owed_s(self, job: Job) -> float:
        """When the reader of a preempted request needs its next token."""
        return self._owed_s.get(job, job.due_s)

    def number(self, job: Job) -> int:
        """How many tokens a reader has, or is taken to have."""
        return job.generated_tokens

    def _first_key(self, job: Job, token_s: float, tick: int) -> float:
        """What a request is ordered by whose next token comes at ``token_s``."""
        pace_s, number = job.pace_s, job.generated_tokens + 1
        start_s = self._starts_s.get(job)
        if start_s is None:
            arrived_s = job.arrival_s + job.allowance_s
            start_s = self._begin(job, token_s if self._begins_to_read(job, number) else arrived_s)
        place, more = float(number), 1.0
        if job.curve is not None:
            place = job.place_of(number)
            more = job.place_of(number + 1) - place
            self._tokens[job] = number
        due_s = start_s + pace_s * place
        return max(due_s, self._owed_s.pop(job, due_s), token_s) + pace_s * more - pace_s * tick

    def _forget(self, job: Job) -> None:
        """A request has ended."""
        self._starts_s.pop(job, None)
        self._tokens.pop(job, None)

    def _begins_to_read(self, job: Job, number: int) -> bool:
        """Whether the clock of a reader begins with the token of that number, the first that is read."""
        return self._worth.at_first_token and number <= job.thinking_tokens + 1

    def _begin(self, job: Job, start_s: float) -> float:
        """Let the clock of a reader begin then, beyond the grace; return when."""
        self._starts_s[job] = start_s = start_s + self._worth.grace_s
        return start_s
