"""A cluster of machines, models and callers on paper: what would happen, before anything is bought.

Time, machines, engines and callers are simulated. Admission, lending and queues, retries, the arbiter and autoscaling
are the service's own code.
"""
