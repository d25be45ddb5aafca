"""Where a trial runs: in this process, in a Ray Tune actor. The only folder that imports ray."""
