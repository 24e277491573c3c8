"""Where a person reads their access log; empty until that is built."""
