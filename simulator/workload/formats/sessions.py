"""This project's own columns for sessions that were recorded without the times at which they start."""

from dataclasses import replace

from simulator.workload.formats import servesim

FORMAT = replace(servesim.FORMAT, arrival_s=None)
