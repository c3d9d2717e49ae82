"""From a stream of batches to trained parameters, for every phase and method."""
