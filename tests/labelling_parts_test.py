"""How a dataset is cut into parts, and parts into shares."""

import numpy as np
import pytest

from alpt_jax.errors import UserError
from alpt_jax.labelling import parts as cutting
from alpt_jax.labelling.parts import Part


def test_a_part_ends_with_20000_transitions_or_100_episodes():
  # 12,000 + 9,000 are enough; then one long one; then 100 short ones; then the rest.
  lengths = [12_000, 9_000, 27_000, *[5] * 100, 3, 4]
  assert cutting.cut(lengths) == (
    Part(0, 0, 2),
    Part(1, 2, 1),
    Part(2, 3, 100),
    Part(3, 103, 2),
  )
  assert cutting.cut([7]) == (Part(0, 0, 1),)


@pytest.mark.parametrize('count', [1, 2, 3, 9])
def test_shares_are_all_parts_in_order(count):
  lengths = np.random.default_rng(0).integers(1, 15_000, 12)
  parts = cutting.cut(lengths)
  shares = [cutting.share(parts, lengths, index, count) for index in range(count)]
  assert sum(shares, ()) == parts
  assert [e for part in parts for e in part.episodes] == list(range(12))


def test_a_share_that_is_not_there_is_named():
  with pytest.raises(UserError, match='shard 3/3: expected 0 to 2'):
    cutting.share(cutting.cut([5]), [5], 3, 3)
