"""Model `navier_stokes`."""
