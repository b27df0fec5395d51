"""BurstGPT (HPMLL/BurstGPT): CSV with seconds since the first day began, from its third version on with sessions."""

from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(
    arrival_s="Timestamp",
    prompt_tokens="Request tokens",
    output_tokens="Response tokens",
    session_id="Session ID",
)
