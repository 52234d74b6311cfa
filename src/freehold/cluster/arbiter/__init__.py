"""Who gets room on the cluster, and who makes room: decided without a clock, without I/O and without chance."""
