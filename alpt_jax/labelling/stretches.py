"""What the model says of a few stretches of a dataset, the rest of it left unread."""

from collections.abc import Sequence

import numpy as np

from alpt_jax.data.pool import Pool
from alpt_jax.labelling.labeller import (
  Labeller,
  LabellingConfig,
  Progress,
  label_episodes,
  recording_of,
)


def label_stretches(
  labeller: Labeller,
  pool: Pool,
  stretches: Sequence[tuple[int, int, int]],
  config: LabellingConfig,
  progress: Progress | None = None,
) -> np.ndarray:
  """The probabilities that labelling whole episodes would give, but for rounding.

  Args:
    labeller: trained on observations of the pool's form.
    pool: its recorded actions do not matter.
    stretches: (episode, first step, number of steps) each.
    config: how episodes are labelled.
    progress: counted up meanwhile, with the margins that are read around a stretch.

  Returns:
    `[n, own actions]` float32, one stretch behind the other.

  Raises:
    UserError: see `label_episodes`.
  """
  length = labeller.idm.num_transitions
  bounds = [_around(pool, stretch, length) for stretch in stretches]
  recordings = (
    recording_of(pool, episode, begin, end)
    for (episode, _, _), (begin, end) in zip(stretches, bounds, strict=True)
  )
  found = [np.zeros((0, len(pool.spec.action_names)), np.float32)]
  labels = label_episodes(labeller, pool.spec, recordings, config, progress)
  for (_, first, count), (begin, _), each in zip(
    stretches, bounds, labels, strict=True
  ):
    found.append(each.probabilities[first - begin : first - begin + count])
  return np.concatenate(found)


def _around(pool: Pool, stretch: tuple[int, int, int], length: int) -> tuple[int, int]:
  """What must be read for a stretch to have the windows that it has in its episode.

  Those that show one of its transitions reach T - 1 beyond. Side by side, windows begin
  at multiples of T, and the last is another where the reading ends elsewhere.
  """
  episode, first, count = stretch
  begin = max(0, (first - length) // length * length)
  return begin, min(int(pool.lengths[episode]), first + count + 2 * length)
