"""Labels of recordings of which only some actions were ever recorded.

Three parts of what was recorded: one trains, one is the audit, which tells how often
the guesses are right, and one lies in the held-out episodes.

  whole     20 episodes and more are labelled throughout: whole ones are audited
  strewn    else: stretches strewn over all that was recorded. The model then learns
            from other moments of the same episodes.

A window of T transitions that shows a trained label shows T - 1 transitions on either
side of it. So those of an audited stretch that stand nearer to a trained label are
neither audited nor trained on.
"""

import numpy as np

from alpt_jax.data.labels import Labels, Segments, first_transitions, generator
from alpt_jax.data.pool import Pool
from alpt_jax.errors import UserError

# Ours: below, too few whole episodes would be audited, or too few be left.
_MANY_EPISODES = 20
# Ours: with fewer no interval says anything.
_MIN_AUDITED = 4


def recorded_runs(pool: Pool) -> np.ndarray:
  """`[R, 3]` int64 (episode, first step, length): transitions in a row with an action.

  Each is as long as it can be; none reaches past its episode.
  """
  known = pool.is_labelled
  begins, ends = np.array(known), np.array(known)
  begins[1:] &= ~known[:-1]
  begins[pool.starts] = known[pool.starts]
  ends[:-1] &= ~known[1:]
  lasts = pool.starts + pool.lengths - 1
  ends[lasts] = known[lasts]
  firsts = np.flatnonzero(begins)
  episodes = np.searchsorted(pool.starts, firsts, side='right') - 1
  lengths = np.flatnonzero(ends) - firsts + 1
  return np.stack([episodes, firsts - pool.starts[episodes], lengths], axis=1)


def draw_recorded(
  pool: Pool,
  budget: int,
  seed: int,
  segment_length: int = 50,
  heldout_share: float = 0.05,
  audit_share: float = 0.2,
  window_length: int = 5,
) -> Labels:
  """Chooses among actions that were really recorded; sets a part aside for the audit.

  The held-out episodes and the audit do not depend on the budget, so that runs with
  several are judged by the same transitions, and budgets are nested. Where too little
  was recorded for an audit of 4 stretches that leaves half to train on, or the share is
  0, there is none.

  Args:
    pool: the recorded dataset; of its actions only which are known is read.
    budget: number of transitions that are trained on; 0: all that are left.
    seed: of the draw.
    segment_length: transitions of a stretch that is trained on or audited, where as
      many were recorded in a row; 0: as long as may be. Ours: at least 4 T, as shorter
      ones would lose most to their neighbours, and, where that is more, at most a
      twentieth of what was recorded, as longer ones would be too few.
    heldout_share: share of episodes that is set aside. Of those that hold a recorded
      action no more than this share is, rounded, so that few labels are not given away:
      where nearly all hold some, it may be none.
    audit_share: share of the recorded transitions, outside those, that is audited.
    window_length: T.

  Raises:
    UserError: no action is recorded, or fewer are left than `budget`.
  """
  rng = generator(pool.manifest_hash, seed)
  runs = recorded_runs(pool)
  heldout = _held_out(pool, runs, rng.permutation(pool.num_episodes), heldout_share)
  runs = runs[~np.isin(runs[:, 0], heldout)]
  if not len(runs):
    raise UserError(
      f'{pool.spec.name}: expected recorded actions to learn from, found none in its '
      f'{pool.num_episodes} episodes. Label some of its recordings.'
    )
  whole = runs[runs[:, 2] == pool.lengths[runs[:, 0]]]
  pieces = _cut(runs, _stretch(int(runs[:, 2].sum()), segment_length, window_length))
  if len(whole) >= _MANY_EPISODES:
    candidates = whole
  else:
    candidates = pieces[pieces[:, 2] >= 2 * window_length]
  wanted = audit_share * runs[:, 2].sum()
  audited = _audit(candidates[rng.permutation(len(candidates))], wanted)
  trained = pieces[~is_in(pool, audited)[pool.starts[pieces[:, 0]] + pieces[:, 1]]]
  trained = trained[rng.permutation(len(trained))]
  available = int(trained[:, 2].sum())
  if not 0 <= budget <= available:
    raise UserError(
      f'{budget} labels asked for: expected 1 to {available}, the recorded actions of '
      f'{pool.spec.name} that are neither held out nor audited, or 0 for all of them. '
      'Change data.labels, or label more of its recordings.'
    )
  return Labels(
    pool.manifest_hash,
    seed,
    first_transitions(trained, budget or available),
    tuple(sorted(heldout.tolist())),
    _apart(pool, audited, trained, window_length),
  )


def _held_out(pool: Pool, runs, order: np.ndarray, share: float) -> np.ndarray:
  """The episodes that are set aside, out of a random order of all."""
  if not share:
    return order[:0]
  has_recorded = np.isin(order, runs[:, 0])
  labelled, others = order[has_recorded], order[~has_recorded]
  num_labelled = round(share * len(labelled))
  num_others = max(1, round(share * pool.num_episodes)) - num_labelled
  return np.concatenate([labelled[:num_labelled], others[:num_others]])


def longest_stretch(segment_length: int, window_length: int) -> int:
  """Transitions that an audited stretch may have; 0: as many as there are."""
  return segment_length and max(segment_length, 4 * window_length)


def _stretch(num_recorded: int, segment_length: int, window_length: int) -> int:
  """How many transitions a stretch has where as many were recorded in a row."""
  most = max(4 * window_length, num_recorded // 20)
  return min(longest_stretch(segment_length, window_length) or most, most)


def _cut(runs: np.ndarray, stretch: int) -> np.ndarray:
  """`[S, 3]`: runs cut every `stretch` steps."""
  counts = -(-runs[:, 2] // stretch)
  of = np.repeat(np.arange(len(runs)), counts)
  offsets = (np.arange(len(of)) - np.repeat(counts.cumsum() - counts, counts)) * stretch
  episodes, firsts, lengths = runs[of].T
  lengths = np.minimum(stretch, lengths - offsets)
  return np.stack([episodes, firsts + offsets, lengths], axis=1)


def _audit(candidates: np.ndarray, wanted: float) -> np.ndarray:
  """The first of `candidates` that hold `wanted` transitions; at most half of them."""
  most = len(candidates) // 2
  if most < _MIN_AUDITED or not wanted:
    return candidates[:0]
  enough = int(np.searchsorted(candidates[:, 2].cumsum(), wanted)) + 1
  return candidates[: min(max(enough, _MIN_AUDITED), most)]


def is_in(pool: Pool, segments: Segments | np.ndarray) -> np.ndarray:
  """`[N]` bool: the transitions of segments."""
  found = np.zeros(pool.num_transitions, bool)
  for episode, first, length in np.reshape(segments, (-1, 3)).astype(int).tolist():
    begin = int(pool.starts[episode]) + first
    found[begin : begin + length] = True
  return found


def _apart(pool: Pool, audited, trained, window_length: int) -> Segments:
  """Audited stretches without what windows of trained labels show of them."""
  is_trained = is_in(pool, trained)
  margin, kept = window_length - 1, []
  for episode, first, length in audited.tolist():
    begin = int(pool.starts[episode])
    end = begin + int(pool.lengths[episode])
    low, high = begin + first, begin + first + length
    before = is_trained[max(begin, low - margin) : low]
    after = is_trained[high : min(end, high + margin)]
    # The nearest trained one on a side, and T - 1 more transitions than lie between.
    if before.any():
      low += margin - int(before[::-1].argmax())
    if after.any():
      high -= margin - int(after.argmax())
    if low < high:
      kept.append((episode, low - begin, high - low))
  return tuple(sorted(kept))
