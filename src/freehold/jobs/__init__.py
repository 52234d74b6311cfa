"""Work that outlives a request: a durable queue, and what takes jobs from it."""
