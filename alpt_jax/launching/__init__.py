"""Several runs as one: over the cores of a machine, resumed, reported."""
