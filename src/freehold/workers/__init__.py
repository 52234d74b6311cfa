"""Several processes that take requests on one machine: the core, which has the home, and its workers.

The core is the whole server, but for the public port. A worker serves the requests that are frequent by itself and
passes all others on to the core. What must be exact stays in the core alone, and workers ask for it by messages: the
ledger of limits, the journal, and the replicas. What is read for every request, workers have copies of.
"""
