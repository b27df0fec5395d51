"""Small runs of whole scenarios on a real cost model, for what one policy does to users beside another."""

from dataclasses import dataclass

import numpy as np

from simulator import Result, Scenario, run

CHAT = {"arrivals": "poisson", "lengths": "chat_sharegpt_vllm", "predictor": "perfect"}


@dataclass(frozen=True)
class Served:
    """What a scenario came to."""

    result: Result

    @property
    def requests(self):
        """One column a value, for each request that arrived."""
        table = self.result.requests()
        return {name: table[name].to_numpy() for name in table.column_names}

    @property
    def token_times(self):
        """When each token was generated, request by request."""
        return self.result.tokens()["generated_s"].to_numpy()

    @property
    def gaps_s(self):
        """The times between tokens of the same request."""
        tokens = self.result.tokens()
        same = np.diff(tokens["request_id"].to_numpy()) == 0
        return np.diff(tokens["delivered_s"].to_numpy())[same]

    @property
    def e2e_s(self):
        """Seconds from arrival to the last token, of completed requests."""
        requests = self.requests
        done = requests["state"] == "completed"
        return (requests["end_s"] - requests["arrival_s"])[done]

    @property
    def ttft_s(self):
        """Seconds from arrival to the first token, of requests that got one."""
        requests = self.requests
        wait_s = requests["first_token_s"] - requests["arrival_s"]
        return wait_s[~np.isnan(wait_s)]

    @property
    def summary(self):
        return self.result.summary()

    @property
    def idle_s(self):
        """Mean idle latency of readers who take a token every 0.05 s from arrival on, of requests that got any."""
        tokens, arrival_s = self.result.tokens(), self.requests["arrival_s"]
        who = tokens["request_id"].to_numpy()
        late_s = tokens["delivered_s"].to_numpy() - arrival_s[who] - 0.05 * tokens["token_index"].to_numpy()
        worst_s = np.full(len(arrival_s), -np.inf)
        np.maximum.at(worst_s, who, late_s)
        return np.maximum(worst_s, 0.0)[worst_s > -np.inf].mean()


def served(scheduling="vllm_v1", *, gpu="h100-80gb-sxm", model="llama-3.1-8b", **sections):
    """Serve traffic; ``sections`` are those of a scenario, beside one replica on the default engine."""
    sections["policy"] = {"scheduling": scheduling, **sections.get("policy", {})}
    sections.setdefault("cluster", {"replicas": 1})
    return Served(run(Scenario(hardware={"gpu": gpu, "model": model}, **sections)))
