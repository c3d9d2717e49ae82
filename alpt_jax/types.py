"""The structs that cross from room to room, with a shape on every field.

Floor 0: imports nothing of ours, and no JAX, so that `data/` can fill them with
plain numpy; `training/` receives the same structs holding device arrays.

The letters, everywhere in this project:

  B  windows per batch          A  actions in the joint vocabulary
  T  transitions per window     N  tokens per sequence
  E  episodes                   D  width of a token
  L  transitions of an episode
"""

from typing import Any, NamedTuple

Array = Any  # numpy.ndarray on the host, jax.Array on the device


class Episode(NamedTuple):
  """One recorded episode, as an environment gave it.

  `actions[t]` was taken on seeing `observations[t]` and led to
  `observations[t + 1]`; the last observation has no action.
  """

  observations: Array  # [L + 1, ...] uint8 or float32
  actions: Array  # [L] int32, index into the environment's OWN action names
  rewards: Array  # [L] float32, raw
  discounts: Array  # [L] float32, 0 on a terminal transition, else 1
  is_labelled: Array | None = None  # [L] bool, None: all; `actions` is 0 elsewhere


class Window(NamedTuple):
  """T consecutive transitions of one episode, the unit of all training.

  Padding stands on the left, as it does while acting: a window that ends at
  transition `e < T - 1` of its episode starts with `T - 1 - e` padded ones,
  whose observations are zero. A window never reaches past the last observation.
  """

  observations: Array  # [B, T + 1, ...] uint8 or float32
  actions: Array  # [B, T] int32, joint vocabulary; 0 where hidden or padded
  is_labelled: Array  # [B, T] bool, True where `actions` was recorded
  rewards: Array  # [B, T] float32, clipped to [-1, 1]
  discounts: Array  # [B, T] float32, 0 on a terminal transition
  returns_to_go: Array  # [B, T] float32, clipped rewards, including r_t
  valid: Array  # [B, T] bool, False on padding
  allowed: Array  # [B, A] bool, actions that this environment accepts
  environment: Array  # [B] int32, for metrics only, never a model's input


class Batch(NamedTuple):
  """Windows and what each of them may teach to which model.

  The four use fields are how a method (`alpt_jax/methods.py`) reaches the
  training step: methods of one order of rows share one compiled program.
  """

  window: Window
  idm_weight: Array  # [B] float32, weight in the IDM's loss
  policy_weight: Array  # [B] float32, weight in the DT's losses
  relabel: Array  # [B] bool, the IDM's guess stands in for a hidden action


class RowUse(NamedTuple):
  """Which rows of a batch each part of a training step needs.

  A batch is a sequence of groups of rows, in each of which the streams come in the
  same order with the same shares, to a row. A part of the step needs the same places
  of every group: those from `begin` up to `end`, a few of which may carry no weight.
  """

  group: int  # rows, a divisor of B
  idm: tuple[int, int]  # the IDM learns from them
  relabelled: tuple[int, int]  # the IDM labels them; (0, 0) where it labels none
  policy: tuple[int, int]  # the DT learns from them


# Of any batch: all rows for everything.
EVERY_ROW = RowUse(1, (0, 1), (0, 1), (0, 1))


class PseudoLabels(NamedTuple):
  """Actions for every transition: recorded ones where known, else guesses."""

  action: Array  # [B, T] int32
  confidence: Array  # [B, T] float32 in [0, 1], exactly 1 where recorded
  probabilities: Array | None  # [B, T, A] float32, or None when not asked for


class Decision(NamedTuple):
  """What a policy does next in each of B episodes."""

  # [B] int32, joint vocabulary; an allowed one unless acting.illegal is 'noop'
  action: Array
  return_to_go: Array | None = None  # [B] int32, asked for; None without returns


class EvaluationWindows(NamedTuple):
  """Windows whose true actions are known to the evaluation alone."""

  window: Window  # actions hidden as in training
  true_actions: Array  # [B, T] int32, joint vocabulary
  counted: Array  # [B, T] bool, the transitions that are scored
