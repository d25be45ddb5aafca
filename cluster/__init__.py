"""Where trials run: in this process or on a Ray cluster. The only folder that imports ray."""
