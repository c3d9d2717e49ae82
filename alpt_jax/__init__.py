"""Action-Limited PreTraining (Venuto et al., ICML 2023) in JAX and Flax."""

__version__ = '0.1.0'
