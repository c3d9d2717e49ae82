"""From the IDM's scores to the actions that the policy learns from.

Floor 3. Section 4.2: the IDM provides labels for the unlabelled part.
"""

import jax
import jax.numpy as jnp

from alpt_jax.types import PseudoLabels

MODES = ('argmax', 'sample', 'soft')


def pseudo_label(
  logits, actions, is_labelled, allowed, mode: str = 'argmax', key=None
) -> PseudoLabels:
  """Fills the missing actions of a window with the IDM's best guess.

  A recorded action is never overwritten. A missing one becomes the likeliest
  action among those that the window's own environment accepts; its probability,
  renormalised over those actions, is passed on so the policy loss can weigh it.
  No gradient flows through the result: the policy must not train the labeller.

  `B` is windows per batch, `T` transitions per window, `A` joint actions.

  Args:
    logits: `[B, T, A]` IDM scores before the softmax, any float dtype.
    actions: `[B, T]` int32 recorded actions; read only where `is_labelled`.
    is_labelled: `[B, T]` bool, True where `actions` holds a recorded action.
    allowed: `[B, A]` bool, True for actions this window's environment accepts.
      At least one per row; a row of False gives NaN confidence.
    mode: 'argmax'; 'sample' draws the guess from the probabilities instead;
      'soft' guesses the argmax and returns the probabilities too, as targets.
    key: random key, read only by 'sample'.

  Returns:
    `PseudoLabels(action [B, T] int32, confidence [B, T] float32 in [0, 1],
    probabilities)`, confidence exactly 1 where the action is recorded.
    `probabilities` is `[B, T, A]` float32 for 'soft' (one-hot where recorded),
    None otherwise.

  Relabelling follows Venuto et al. (2023), section 4.2; the restriction to
  `allowed`, the confidence and the other modes are this project's additions.
  """
  logits = jax.lax.stop_gradient(logits).astype(jnp.float32)
  logits = jnp.where(allowed[:, None, :], logits, -jnp.inf)
  probabilities = jax.nn.softmax(logits)
  guess = jax.random.categorical(key, logits) if mode == 'sample' else logits.argmax(-1)
  chosen = jnp.take_along_axis(probabilities, guess[..., None], -1)[..., 0]
  action = jnp.where(is_labelled, actions, guess).astype(jnp.int32)
  confidence = jnp.where(is_labelled, 1.0, chosen)
  if mode != 'soft':
    return PseudoLabels(action, confidence, None)
  recorded = jax.nn.one_hot(actions, logits.shape[-1])
  targets = jnp.where(is_labelled[..., None], recorded, probabilities)
  return PseudoLabels(action, confidence, targets)
