//! Health probes, rise/fall verdicts and the aggregation from backend to service to VIP.
