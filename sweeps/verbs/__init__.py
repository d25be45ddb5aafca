"""The verbs of the `sweeps` command. They import the other folders inside their functions only."""
