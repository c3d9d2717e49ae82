"""The inverse dynamics model: which actions led from each observation to the next."""

import flax.linen as nn
import jax.numpy as jnp

from alpt_jax.errors import UserError
from alpt_jax.models import embedding
from alpt_jax.models.transformer import Transformer
from alpt_jax.specs import ObservationSpec

# How a window enters the model; only images know the last two.
FORMS = ('frames', 'difference', 'pair')


class InverseDynamics(nn.Module):
  """P(a_t .. a_{t+k-1} | s_t .. s_{t+k}), equation 4 of the paper, k = T.

  Its input is the T + 1 observations of a window and NOTHING else: "the same
  model with a mask of ones" (Appendix B), taken literally, would show it the
  actions it predicts. Each transition has a read-out slot, a token without
  content but its place (ours). `form` says what a sequence holds:

  'frames', the paper's:

    o_0 patches | o_1 patches | ... | o_T patches | slot_0 ... slot_{T-1}

  'difference' (ours): a patch of o_t also holds what changes there until o_{t+1},
  which makes o_T's own patches redundant; slot_t reads those of o_t alone:

    o_0, o_1 - o_0 patches | ... | o_{T-1}, o_T - o_{T-1} patches | slot_0 ...

  'pair' (ours): the same patches as T short sequences with the same weights; a
  transition knows nothing of the others:

    o_t, o_{t+1} - o_t patches | slot

  Every token sees every token of its sequence that is not padding, but for the
  slots of 'difference'; logits[t] are read at slot t.

  Attributes:
    num_actions: A.
    observation_spec: the form of the observations.
    num_transitions: T (k in the paper: 5).
    form: one of FORMS.
    width, num_layers, num_heads, dropout: the transformer's (Table 3).
    patch_size: for images.
    dtype: of the computation.
    scan_layers, remat: the transformer's, see there.

  Raises:
    UserError: the form is not known, or the observations are no images and know no
      'difference' or 'pair'.
  """

  num_actions: int
  observation_spec: ObservationSpec
  num_transitions: int = 5
  form: str = 'frames'
  width: int = 512
  num_layers: int = 6
  num_heads: int = 8
  dropout: float = 0.1
  patch_size: int = 14
  dtype: jnp.dtype = jnp.float32
  scan_layers: bool = False
  remat: bool = False

  def __post_init__(self):
    super().__post_init__()
    kind = self.observation_spec.kind
    known = FORMS if kind == 'image' else ('frames',)
    if self.form not in known:
      raise UserError(
        f'model.idm_form: expected {" or ".join(known)} for observations of kind '
        f"'{kind}', found '{self.form}'."
      )

  @nn.compact
  def __call__(self, observations, valid, deterministic: bool = True):
    """Scores of every action for every transition.

    Args:
      observations: `[B, T + 1, ...]`.
      valid: `[B, T]` bool, False on padding; a padded transition's observation
        is seen by no token and its logits mean nothing.
      deterministic: False applies dropout with the 'dropout' random key.

    Returns:
      `[B, T, A]` float32 logits over the whole joint vocabulary.
    """
    if self.form == 'frames':
      last = jnp.ones((len(valid), 1), bool)
      seen = jnp.concatenate([valid, last], axis=1)
      return self._read(observations, seen, valid, deterministic)
    frames = embedding.with_changes(observations, valid, self.dtype)
    if self.form == 'difference':
      return self._read(frames, valid, valid, deterministic)
    alone = jnp.ones((valid.size, 1), bool)
    frames = frames.reshape(valid.size, 1, *frames.shape[2:])
    logits = self._read(frames, alone, alone, deterministic)
    return logits.reshape(*valid.shape, self.num_actions)

  def _read(self, frames, seen, slots_seen, deterministic):
    """`[b, S, A]` logits of S slots that stand behind F frames.

    Args:
      frames: `[b, F, height, width, channels]`, or without image `[b, F, ...]`.
      seen: `[b, F]` bool, the frames that may be seen.
      slots_seen: `[b, S]` bool, the slots that may be seen.
      deterministic: as above.
    """
    batch, num_slots = slots_seen.shape
    frames = embedding.ObservationEmbedding(
      self.observation_spec, self.width, self.patch_size, self.dtype, name='observation'
    )(frames)
    per_frame = frames.shape[2]
    slots = jnp.zeros((batch, num_slots, self.width), frames.dtype)
    tokens = jnp.concatenate([frames.reshape(batch, -1, self.width), slots], axis=1)
    tokens += embedding.position_embedding(self, tokens.shape[1], self.width)
    seen = jnp.concatenate([jnp.repeat(seen, per_frame, axis=1), slots_seen], axis=1)
    mask = seen[:, None, :]
    if self.form == 'difference':
      mask = mask & _own_frame_only(num_slots, per_frame)
    sequence = Transformer(
      self.num_layers,
      self.num_heads,
      self.dropout,
      self.dtype,
      self.scan_layers,
      self.remat,
      name='sequence',
    )
    last = range(tokens.shape[1] - num_slots, tokens.shape[1])
    tokens, _ = sequence.extend(tokens, mask, None, last, deterministic)
    return nn.Dense(self.num_actions, name='act_linear')(tokens)


def _own_frame_only(num_slots: int, per_frame: int):
  """`[1, N, N]` bool: a slot sees its own frame and itself, a patch sees all.

  A slot that sees every frame must first find its own: on five Atari games, after
  the same CPU time, Freeway stood at .53 instead of .79, the others lower too.
  """
  place = jnp.arange(num_slots * (per_frame + 1))
  is_slot = place >= num_slots * per_frame
  frame = jnp.where(is_slot, place - num_slots * per_frame, place // per_frame)
  return (~is_slot[:, None] | (frame[:, None] == frame[None, :]))[None]
