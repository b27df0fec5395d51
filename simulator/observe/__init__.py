"""Drive a real server that speaks OpenAI's API with a scenario's traffic, and record when each token came.

What it makes is what ``simulator.results.imports`` makes of a file of a load test: a run whose tables and metrics are
those of a simulation. Needs the extra ``observe`` (httpx), which is imported when a server is called.
"""
