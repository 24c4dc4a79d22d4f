"""One way from keys to datapoints, whatever runs it: ledger, leases, and the worker's loop."""
