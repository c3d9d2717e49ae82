"""A game that somebody else steps: he shows what happens, and asks what to do."""

import jax
import numpy as np

from alpt_jax import returns, specs
from alpt_jax.acting.memory import News, blank, remember
from alpt_jax.acting.rollout import Player, own_actions
from alpt_jax.errors import UserError


class OneGame:
  """One episode after the other, as `rollout.play` plays them.

  game.begin(first_observation)
  while ...:
    action = game.act()
    observation, reward = ...  # what that led to
    game.see(observation, reward)
  """

  def __init__(self, player: Player, seed: int = 0, greedy: bool = False):
    """Gets ready; the first decision compiles.

    Args:
      player: the policy.
      seed: of what is sampled; episode i of `rollout.play` with this seed is the i-th
        begun here.
      greedy: take the likeliest action instead of a sample.
    """
    form = player.spec.observation
    allowed = specs.allowed_actions(player.spec, player.vocabulary)
    self._player, self._greedy = player, np.array([greedy])
    self._key = jax.random.key(seed)
    self._own_action = own_actions(player)
    self._history = blank(1, player.context, form, allowed)
    self._news = News(
      np.zeros((1, *form.shape), form.dtype),
      np.zeros(1, np.int32),
      np.zeros(1, np.float32),
      np.zeros(1, np.int32),
      episodes=np.full(1, -1, np.int32),
      steps=np.zeros(1, np.int32),
    )
    self._is_seen = False  # whether there is news to decide upon

  def begin(self, observation) -> None:
    """Starts an episode, whatever became of the one before.

    Args:
      observation: its first, in the form of the player's spec.

    Raises:
      UserError: of another form.
    """
    self._show(observation)
    news = self._news
    self._news = news._replace(episodes=news.episodes + 1, steps=news.steps * 0)

  def act(self) -> str:
    """The name of the action to take, one of the environment's own.

    Raises:
      UserError: nothing was seen since the last one, or nothing has begun.
    """
    if not self._is_seen:
      raise UserError(
        'act: expected begin(observation), or see(observation, reward) after the last '
        'action, found neither.'
      )
    player = self._player
    self._history, keys = remember(player.config, self._history, self._news, self._key)
    decision = player.decide_fn(player.params, self._history, keys, self._greedy)
    self._news = self._news._replace(actions=np.asarray(decision.action))
    self._is_seen = False
    own = self._own_action[int(self._news.actions[0])]
    return player.spec.action_names[own]

  def see(self, observation, reward: float) -> None:
    """Tells what the last action led to.

    Args:
      observation: in the form of the player's spec.
      reward: raw, as in recordings.

    Raises:
      UserError: of another form, or no action was asked for before.
    """
    if self._is_seen or self._news.episodes[0] < 0:
      raise UserError('see: expected act() before, which asks for an action.')
    self._show(observation)
    clipped = returns.clip_rewards(np.array([reward], np.float32))
    self._news = self._news._replace(
      rewards=clipped,
      reward_tokens=returns.reward_tokens(clipped, np.ones(1, np.float32)),
      steps=self._news.steps + 1,
    )

  def _show(self, observation) -> None:
    form = self._player.spec.observation
    observation = np.asarray(observation)
    if (observation.shape, observation.dtype.name) != (form.shape, form.dtype):
      raise UserError(
        f'observation: expected {form.dtype} {list(form.shape)}, found '
        f'{observation.dtype} {list(observation.shape)}.'
      )
    self._news = self._news._replace(observations=observation[None])
    self._is_seen = True
