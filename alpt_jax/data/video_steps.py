"""Rows over a video's frames to episodes over agent steps.

As the emulator's protocol counts: with a frame skip of k, step t takes frames t k to
t k + k - 1 of its episode, and what it leads to is frame t k + k. The action of a step
is the one in force for most of its frames, the reward their sum.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alpt_jax.data.video_table import Table
from alpt_jax.specs import Protocol

# In force before the first row and wherever a row names no action.
_NOT_KNOWN = -1


class Steps(NamedTuple):
  """One episode of L steps, without its pictures.

  `shown` and `is_pooled` are what `screens.observations` asks for.
  """

  shown: np.ndarray  # [L + 1] int64, ascending: the frame that is seen at each moment
  is_pooled: np.ndarray  # [L + 1] bool, with the frame before pooled into it
  actions: np.ndarray  # [L] int32, index into the names given; 0 where not known
  is_labelled: np.ndarray  # [L] bool
  rewards: np.ndarray  # [L] float32
  discounts: np.ndarray  # [L] float32, 0 on a terminal step, else 1


class RecordingSteps(NamedTuple):
  """All episodes of a recording, and what became of the rest of it."""

  episodes: tuple[Steps, ...]
  num_mixed: int  # steps with more than one action, or a known and an unknown one
  num_capped: int  # cuts at the protocol's `max_episode_steps`
  num_dropped_frames: int  # behind the last whole step of an episode
  num_dropped_rewards: int  # rewards that came where no step is


class StepChoice(NamedTuple):
  """What a table leaves open."""

  mixed: str = 'most'  # of a step's actions; 'unlabelled': not known if they differ
  end: str = 'cut'  # of a recording whose table does not say; 'terminal'


_PLAIN = StepChoice()


def steps_of(
  table: Table | None,
  num_frames: int,
  action_names: tuple[str, ...],
  protocol: Protocol,
  choice: StepChoice = _PLAIN,
  starts: Sequence[int] | None = None,
) -> RecordingSteps:
  """A recording's episodes, in order; too short a one for a step is left out.

  Every `max_episode_steps` an episode is cut off, the frame shared, so that no step
  is lost. The last step of a terminal episode may be a short one, as the emulator's,
  and is then not pooled; the rest of a cut one is dropped. No action is held over the
  end of an episode: the next one begins with none known.

  Args:
    table: from `read_table` for as many frames as are stored; None: nothing is known.
    num_frames: of the recording, as they are shown.
    action_names: the environment's own, every name of the table among them.
    protocol: its frame skip, max-pool and cap are read.
    choice: how a mixed step counts, and how the recording ends.
    starts: of each stored frame, from which on it is shown, where that is another
      one (`Clip.starts`). An action counts while its frames are shown, a reward where
      the first frame is shown that is not before its own.
  """
  starts = np.append(np.arange(num_frames) if starts is None else starts, num_frames)
  num_stored = len(starts) - 1
  in_force = np.full(num_stored, _NOT_KNOWN)
  rewards = np.zeros(num_stored)
  rows = table.rows if table else ()
  index = {name: number for number, name in enumerate(action_names)}
  nexts = [row.frame for row in rows[1:]] + [num_stored]
  for row, until in zip(rows, nexts, strict=False):  # of none there is no next
    rewards[row.frame] = row.reward
    if row.action and not row.end:
      in_force[row.frame : until] = index[row.action]
  ends = [(row.frame, row.end) for row in rows if row.end]
  if not ends or ends[-1][0] < num_stored - 1:
    ends.append((num_stored - 1, choice.end))
  counts = np.zeros(4, int)
  episodes, first = [], 0
  for last, end in ends:
    stored = slice(first, last + 1)
    shown_in_force, shown_rewards = _as_shown(
      in_force[stored], rewards[stored], starts[first : last + 2] - starts[first]
    )
    steps, dropped = _episode(
      shown_in_force, shown_rewards, end == 'terminal', protocol, choice.mixed
    )
    counts += dropped
    if steps is not None:
      steps = steps._replace(shown=steps.shown + starts[first])
      pieces = _capped(steps, protocol.max_episode_steps)
      counts[1] += len(pieces) - 1
      episodes += pieces
    first = last + 1
  return RecordingSteps(tuple(episodes), *counts.tolist())


def _as_shown(
  in_force: np.ndarray, rewards: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """`[S]` of an episode's stored frames as `[F]` of those that are shown.

  `starts` is `[S + 1]`, the last one that of the next episode. Until then an episode's
  last frame may be shown again: it ends with the first time. No reward moves onto it,
  where no step is: many a game gives its reward right before its end.
  """
  num_frames = int(min(starts[-2] + 1, starts[-1]))
  stored = np.searchsorted(starts[:-1], np.arange(num_frames), side='right') - 1
  latest = np.append(np.full(len(rewards) - 1, num_frames - 2), num_frames - 1)
  places = np.minimum(starts[:-1], latest).clip(min=0)
  return in_force[stored], np.bincount(places, rewards, num_frames)


def _episode(
  in_force: np.ndarray,
  rewards: np.ndarray,
  is_terminal: bool,
  protocol: Protocol,
  mixed: str,
) -> tuple[Steps | None, tuple[int, int, int, int]]:
  """F frames as steps; what is dropped in the order of `RecordingSteps`' counts."""
  skip, num_frames = protocol.frame_skip, len(in_force)
  num_steps, rest = divmod(max(0, num_frames - 1), skip)
  is_short = is_terminal and rest > 0
  if not num_steps and not is_short:
    return None, (0, 0, num_frames, np.count_nonzero(rewards))
  whole = num_steps * skip
  actions, is_mixed = _votes(in_force[:whole].reshape(-1, skip), mixed)
  sums = rewards[:whole].reshape(-1, skip).sum(1)
  shown = np.arange(num_steps + 1) * skip
  # Within a step: with a skip of 1 there is no frame before.
  is_pooled = (shown > 0) & (protocol.max_pool and skip > 1)
  if is_short:
    last = slice(whole, num_frames - 1)
    short_action, short_is_mixed = _votes(in_force[last][None], mixed)
    actions = np.append(actions, short_action)
    is_mixed = np.append(is_mixed, short_is_mixed)
    sums = np.append(sums, rewards[last].sum())
    shown = np.append(shown, num_frames - 1)
    is_pooled = np.append(is_pooled, False)
  discounts = np.ones(len(actions), np.float32)
  discounts[-1] = 0 if is_terminal else 1
  steps = Steps(
    shown=shown,
    is_pooled=is_pooled,
    actions=np.where(actions == _NOT_KNOWN, 0, actions).astype(np.int32),
    is_labelled=actions != _NOT_KNOWN,
    rewards=sums.astype(np.float32),
    discounts=discounts,
  )
  num_lost = np.count_nonzero(rewards[shown[-1] :])
  return steps, (is_mixed.sum(), 0, num_frames - 1 - shown[-1], num_lost)


def _votes(in_force: np.ndarray, mixed: str) -> tuple[np.ndarray, np.ndarray]:
  """`[L]` the action of each step, and `[L]` whether its `[L, k]` frames differ.

  Not to be known is an answer like any other; of as many the first one counts.
  """
  is_mixed = (in_force != in_force[:, :1]).any(1)
  num_alike = (in_force[:, :, None] == in_force[:, None]).sum(2)
  actions = in_force[np.arange(len(in_force)), num_alike.argmax(1)]
  if mixed == 'unlabelled':
    actions = np.where(is_mixed, _NOT_KNOWN, actions)
  return actions, is_mixed


def _capped(steps: Steps, cap: int) -> list[Steps]:
  """Pieces of at most `cap` steps; each begins with the moment the last ended on."""
  pieces = []
  for begin in range(0, len(steps.actions), cap):
    moments = slice(begin, begin + cap + 1)
    taken = slice(begin, begin + cap)
    pieces.append(
      Steps(*(f[moments] for f in steps[:2]), *(f[taken] for f in steps[2:]))
    )
  return pieces
