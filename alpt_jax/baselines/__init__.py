"""What the paper compares with and is no part of ALPT: offline Q-learning (CQL)."""
