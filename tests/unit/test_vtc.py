"""Fair shares between tenants: the bound of the paper, and small cases."""

import random

import numpy as np
import pytest

from policies.scheduling.vllm_v1 import VllmV1
from policies.scheduling.vtc import Vtc
from tests.ranked_cases import job, play, seats


def service_by_step(policy, jobs, n_seats, limits):
    """Tokens served to tenants 0 and 1 (a prompt's 1, an output's 2) while both have requests waiting."""
    served, rows = [0.0, 0.0], []
    counted, begun = dict.fromkeys(jobs, 0), set()

    def look(engine):
        for each in jobs:
            served[each.tenant] += 2 * (each.generated_tokens - counted[each])
            counted[each] = each.generated_tokens
        for each in engine.running:
            if each not in begun:
                begun.add(each)
                served[each.tenant] += each.prompt_tokens
        if {each.tenant for each in engine.waiting} == {0, 1}:
            rows.append(tuple(served))

    play(policy, jobs, limits, look=look)
    return np.array(rows)


@pytest.mark.parametrize("late_s", [0.0, 60.0])
def test_vtc_bounds_the_difference_in_service(late_s):
    """Theorem 4.4: between backlogged tenants at most 2·max(w_p·L_input, w_q·M); M is the KV cache."""
    blocks, longest = 80, 16

    def flood():
        draw = random.Random(5)
        many = [
            job(i, i * 0.01, draw.randint(8, longest), draw.randint(10, 20), tenant=0) for i in range(300)
        ]
        few = [
            job(300 + i, late_s + i * 0.5, draw.randint(1, 8), draw.randint(1, 20), tenant=1)
            for i in range(120)
        ]
        return many + few

    def largest_difference(policy):
        rows = service_by_step(policy, flood(), 4, seats(4, blocks=blocks))
        assert len(rows) > 150
        difference = (rows - rows[0])[:, 0] - (rows - rows[0])[:, 1]
        return difference.max() - difference.min()

    bound = 2 * max(1 * longest, 2 * blocks)
    assert largest_difference(Vtc()) <= bound
    assert largest_difference(VllmV1(async_scheduling=False)) > 2 * bound


def tenants_served_first(policy, jobs):
    times = play(policy, jobs, seats(1))
    return [each.tenant for each in sorted(jobs, key=lambda each: times[each.id][0])]


def test_vtc_weights_count():
    """Whose tokens weigh nothing is not held back for having many of them."""

    def starts_of_the_greedy(policy, prompt, output):
        jobs = [job(i, 0.0, prompt if i % 2 else 2, output if i % 2 else 2, tenant=i % 2) for i in range(20)]
        return sum(tenants_served_first(policy, jobs)[:10])

    assert starts_of_the_greedy(Vtc(), 30, 2) == 2  # 34 against 6
    assert starts_of_the_greedy(Vtc(w_p=1e-9), 30, 2) == 5
    assert starts_of_the_greedy(Vtc(), 2, 6) == 3  # 14 against 6
    assert starts_of_the_greedy(Vtc(w_q=1e-9), 2, 6) == 5


def test_vtc_gives_no_credit_for_time_in_which_no_request_waited():
    """Tenant 0 is served alone, the queue runs dry; then tenant 1 comes, and 0 comes back just after."""
    alone = [job(i, 0.0, 4, 4, tenant=0) for i in range(20)]
    later = [job(20 + i, 100.0 + (i > 9) * 0.5, 4, 4, tenant=int(i < 10)) for i in range(20)]
    assert tenants_served_first(Vtc(), alone + later)[20:30].count(1) <= 6
