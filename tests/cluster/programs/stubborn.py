"""A program that ignores SIGTERM."""

import json
import os
import signal
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(os.environ["SWEEPS_TEST_READY"], "w").close()
for epoch in range(1, 1000):
    time.sleep(0.1)
    with open(os.environ["SWEEPS_RECORDS"], "a") as file:
        file.write(json.dumps({"epoch": epoch, "val/steps": epoch}) + "\n")
