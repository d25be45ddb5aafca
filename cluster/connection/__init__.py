"""Start or join a Ray cluster, check it, submit jobs to it."""
