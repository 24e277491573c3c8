"""KSI's core, the national aggregator and calendar; empty until that is built."""
