"""Which recorded actions are known, and the forgetting of all others.

An action-limited dataset (section 3.3) is a recorded one whose actions are
overwritten, here, before anything else can see them. Which transitions keep
theirs is drawn once per (dataset, seed, budget), written to a label file, and
identified by that file's hash.

One fixed random order of segments per (dataset, seed) makes budgets nested: a
budget of n keeps the first n transitions of that order, the last segment
shortened to fit.

Where only some actions were recorded in the first place they are chosen among
(`recorded_labels.py`), and a part of them, the audit, is told to nobody but the
evaluation.
"""

import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from alpt_jax.data.pool import Pool
from alpt_jax.data.windows import WindowReader
from alpt_jax.errors import UserError
from alpt_jax.types import EvaluationWindows

Segments = tuple[tuple[int, int, int], ...]

# Ours: of more pieces than these evaluation looks at so many in random order.
_MANY_PIECES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Labels:
  """The transitions of one dataset whose actions are known.

  Attributes:
    dataset: manifest hash of the pool that they were drawn from.
    seed: of the draw.
    segments: (episode, first step, number of steps) each; non-overlapping.
    heldout_episodes: never trained on in any way, for the honest second figure.
    audited: segments as well, whose recorded actions are hidden from training to tell
      how often the guesses are right. () where every action was recorded: what is
      hidden tells that.
  """

  dataset: str
  seed: int
  segments: Segments
  heldout_episodes: tuple[int, ...]
  audited: Segments = ()

  @property
  def budget(self) -> int:
    """The number of labelled transitions."""
    return sum(length for _, _, length in self.segments)

  @property
  def hash(self) -> str:
    """Identifies the choice; part of every run's identity."""
    return hashlib.sha256(_to_json(self).encode()).hexdigest()[:16]


def draw_labels(
  pool: Pool,
  budget: int,
  seed: int,
  segment_length: int = 5,
  heldout_share: float = 0.05,
) -> Labels:
  """Chooses exactly `budget` transitions of a pool as random segments.

  Held-out episodes are set aside first and hold no label.

  Args:
    pool: the recorded dataset; its actions are not read.
    budget: number of transitions that keep their action; 0: all not held out.
    seed: of the draw; the same for every budget that shall be nested.
    segment_length: transitions per segment (ours: 5 for mazes, 50 for Atari),
      or 0 for whole episodes.
    heldout_share: share of episodes that is set aside, at least one unless 0.

  Raises:
    UserError: the pool has fewer transitions than `budget` outside the held-out
      episodes, or `budget` is below 0; or not all of its actions are known.
  """
  if not pool.is_labelled.all():
    raise UserError(
      f'{pool.spec.name}: expected all {pool.num_transitions:,} actions to be known, '
      f'found {int(pool.is_labelled.sum()):,}. Draw among those that were recorded.'
    )
  rng = generator(pool.manifest_hash, seed)
  order = rng.permutation(pool.num_episodes)
  num_heldout = max(1, round(heldout_share * len(order))) if heldout_share else 0
  heldout, trained = np.sort(order[:num_heldout]), np.sort(order[num_heldout:])
  available = int(pool.lengths[trained].sum())
  if not 0 <= budget <= available:
    raise UserError(
      f'{budget} labels asked for: expected 1 to {available}, the transitions of '
      f'the {len(trained)} episodes of {pool.spec.name} that are trained on. '
      'Lower data.labels or record more episodes.'
    )
  segments = cut(pool.lengths, trained, segment_length)
  kept = first_transitions(
    segments[rng.permutation(len(segments))], budget or available
  )
  return Labels(pool.manifest_hash, seed, kept, tuple(heldout.tolist()))


def first_transitions(segments: np.ndarray, budget: int) -> Segments:
  """The first `budget` transitions of segments in an order, the last one shortened."""
  kept, missing = [], budget
  for episode, first, length in segments.tolist():
    kept.append((episode, first, min(length, missing)))
    missing -= kept[-1][2]
    if not missing:
      break
  return tuple(kept)


def generator(dataset: str, seed: int) -> np.random.Generator:
  """Random numbers of a dataset, by its manifest hash, and a seed."""
  return np.random.default_rng([int(dataset, 16), seed])


def cut(lengths, episodes: np.ndarray, segment_length: int) -> np.ndarray:
  """`[S, 3]` (episode, first, length): episodes cut every `segment_length` steps.

  Args:
    lengths: `[E]` int, of all episodes.
    episodes: those to be cut.
    segment_length: 0: not cut.
  """
  lengths = np.asarray(lengths)[episodes]
  strides = np.full_like(lengths, segment_length) if segment_length else lengths
  counts = -(-lengths // strides)
  of = np.repeat(np.arange(len(counts)), counts)
  firsts = (np.arange(len(of)) - np.repeat(counts.cumsum() - counts, counts)) * (
    strides[of]
  )
  return np.stack(
    [episodes[of], firsts, np.minimum(strides[of], lengths[of] - firsts)], axis=1
  )


def _to_json(labels: Labels) -> str:
  fields = dataclasses.asdict(labels)
  if not labels.audited:  # so that the hash of what has none is as it was without
    del fields['audited']
  return json.dumps(fields) + '\n'


def save_labels(path: str | os.PathLike, labels: Labels) -> None:
  """Writes a label file, whole or not at all."""
  path = pathlib.Path(path)
  partial = path.with_name(f'{path.name}.partial')
  partial.write_text(_to_json(labels))
  os.replace(partial, path)


def load_labels(path: str | os.PathLike) -> Labels:
  """Reads a label file that `save_labels` wrote."""
  try:
    fields = json.loads(pathlib.Path(path).read_text())
    return Labels(
      fields['dataset'],
      fields['seed'],
      _read_segments(fields['segments']),
      tuple(fields['heldout_episodes']),
      _read_segments(fields.get('audited', ())),
    )
  except (OSError, KeyError, TypeError, ValueError) as error:
    raise UserError(f'{path}: not a label file ({error!r}). Draw it anew.') from error


def _read_segments(rows) -> Segments:
  return tuple((episode, first, length) for episode, first, length in rows)


def labelled_transitions(pool: Pool, labels: Labels) -> np.ndarray:
  """Sorted indices of the transitions whose action is known.

  Raises:
    UserError: the label file was drawn from another dataset.
  """
  return _transitions(pool, labels, labels.segments)


def audited_transitions(pool: Pool, labels: Labels) -> np.ndarray:
  """Sorted indices of the transitions of the audit.

  Raises:
    UserError: the label file was drawn from another dataset.
  """
  return _transitions(pool, labels, labels.audited)


def _transitions(pool: Pool, labels: Labels, segments: Segments) -> np.ndarray:
  if labels.dataset != pool.manifest_hash:
    raise UserError(
      f'labels of dataset {labels.dataset} do not belong to {pool.spec.name}, whose '
      f'manifest hash is {pool.manifest_hash}. Draw labels for this dataset.'
    )
  ranges = [
    np.arange(length) + pool.starts[episode] + first
    for episode, first, length in segments
  ]
  return np.sort(np.concatenate([np.zeros(0, np.int64), *ranges]))


def labelled_windows(pool: Pool, labels: Labels, length: int) -> np.ndarray:
  """Sorted last transitions of all windows that hold a labelled transition.

  A labelled transition is shown at every place of a window that its episode has
  room for, so each of the IDM's slots learns from it. (Windows that END on one only:
  the last slot gets five times the labels of the first, and an IDM trained alone on
  250 of them stood at .60 instead of .93 on two maze seeds.)
  """
  known = labelled_transitions(pool, labels)
  ends = known[:, None] + np.arange(length)
  inside = ends < (pool.starts + pool.lengths)[pool.episode_of[known]][:, None]
  return np.unique(ends[inside])


def trained_transitions(pool: Pool, labels: Labels) -> np.ndarray:
  """Sorted indices of all transitions outside the held-out episodes."""
  trained = np.setdiff1d(np.arange(pool.num_episodes), labels.heldout_episodes)
  return pool.transitions_of(trained)


def hide_actions(pool: Pool, labels: Labels) -> Pool:
  """Returns the pool with every action overwritten that `labels` does not name.

  What was hidden before stays hidden.
  """
  is_labelled = np.zeros(pool.num_transitions, bool)
  is_labelled[labelled_transitions(pool, labels)] = True
  is_labelled &= pool.is_labelled
  actions = np.where(is_labelled, pool.actions, 0).astype(np.int32)
  return dataclasses.replace(pool, actions=actions, is_labelled=is_labelled)


def evaluation_windows(
  pool: Pool,
  labels: Labels,
  vocabulary: tuple[str, ...],
  seed: int,
  num_transitions: int,
  *,
  heldout: bool = False,
  window_length: int = 5,
) -> EvaluationWindows:
  """Windows with the true actions that the label file hides: evaluation truth.

  Only metric functions may receive the result. B is the number of windows.

  Args:
    pool: the dataset with ALL its recorded actions.
    labels: what is known to training.
    vocabulary: the run's joint vocabulary.
    seed: of the choice, which `evaluation_ends` makes.
    num_transitions: how many to count.
    heldout: True for the held-out episodes, False for hidden transitions of the
      episodes trained on: all of them, or where only some actions were recorded
      those of the audit.
    window_length: T.
  """
  ends, counted = evaluation_ends(
    pool, labels, seed, num_transitions, heldout=heldout, window_length=window_length
  )
  truth = WindowReader(pool, vocabulary, 0, window_length)(ends)
  training = WindowReader(hide_actions(pool, labels), vocabulary, 0, window_length)
  return EvaluationWindows(training(ends), truth.actions, counted)


def evaluation_ends(
  index,
  labels: Labels,
  seed: int,
  num_transitions: int,
  *,
  heldout: bool = False,
  window_length: int = 5,
) -> tuple[np.ndarray, np.ndarray]:
  """Chooses the transitions that every method of a seed is scored on.

  Episodes are cut into windows that do not overlap, as they lie; the first of a
  random order of them, fixed by (dataset, seed) whatever the labels, are taken until
  `num_transitions` hidden transitions are counted, or all of them where there are
  fewer. So every method of a seed is scored on the same ones, none counted twice.

  Args:
    index: a pool or a manifest: what says how long each episode is.
    labels: what is known to training.
    seed: of the choice.
    num_transitions: how many to count.
    heldout: as in `evaluation_windows`.
    window_length: T.

  Returns:
    `(ends [B] int64, counted [B, T] bool)`: last transitions of the windows, and
    which of their transitions count.
  """
  is_counted, episodes = _truth(index, labels, heldout)
  pieces = cut(index.lengths, episodes, window_length)
  order = generator(index.manifest_hash, seed + 1_000_003).permutation(len(pieces))
  if len(order) > _MANY_PIECES:
    # Far more than are needed, even of held-out episodes; all would take gigabytes.
    order = order[: max(_MANY_PIECES, 100 * num_transitions)]
  episodes, firsts, lengths = pieces[order].T
  firsts = firsts + index.starts[episodes]
  ends = firsts + lengths - 1
  inside = ends[:, None] + np.arange(1 - window_length, 1)
  # An episode's last piece may be short: its window also shows the end of the piece
  # before (or padding), which is not this window's to count.
  counted = (inside >= firsts[:, None]) & is_counted[np.maximum(inside, 0)]
  counted &= counted.cumsum().reshape(counted.shape) <= num_transitions
  chosen = counted.any(1)
  if not chosen.any():
    raise UserError(
      f'{index.spec.name}: no transition is left to evaluate the IDM on; lower '
      'data.labels or raise data.heldout_share.'
    )
  return ends[chosen], counted[chosen]


def has_truth(index, labels: Labels, *, heldout: bool = False) -> bool:
  """Whether there is any transition for `evaluation_ends` to choose."""
  return bool(_truth(index, labels, heldout)[0].any())


def _truth(index, labels: Labels, heldout: bool) -> tuple[np.ndarray, np.ndarray]:
  """(`[N]` bool, which transitions may be counted, the episodes they may lie in)."""
  episodes = np.arange(index.num_episodes)
  is_heldout = np.isin(episodes, labels.heldout_episodes)
  if index.is_labelled.all():
    is_counted = np.repeat(is_heldout == heldout, index.lengths)
    if not heldout:
      is_counted[labelled_transitions(index, labels)] = False
    return is_counted, episodes
  if heldout:
    is_counted = np.repeat(is_heldout, index.lengths) & index.is_labelled
  else:
    is_counted = np.zeros(index.num_transitions, bool)
    is_counted[audited_transitions(index, labels)] = True
  # Of a large set few episodes may hold any; pieces of the others would crowd them out.
  return is_counted, np.flatnonzero(np.logical_or.reduceat(is_counted, index.starts))
