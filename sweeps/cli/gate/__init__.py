"""`sweeps gate`: candidate changes against an incumbent."""
