"""The two models, in Flax linen; fields only, no config object inside."""
