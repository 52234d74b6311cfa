"""Where processes run: on this machine, or on the nodes of a Ray cluster; and who gets room there (`arbiter`)."""
