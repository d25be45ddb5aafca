"""Start or join a Ray, check it, submit a job to it."""
