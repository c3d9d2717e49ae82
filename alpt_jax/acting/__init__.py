"""A trained policy plays: optimistic returns, batched episodes, scores."""
