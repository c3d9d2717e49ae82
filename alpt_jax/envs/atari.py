"""Atari games under an explicit protocol: one at a time, or many at once.

`Atari` plays one game and can be looked into: RAM, lives, saved states, pictures.
`AtariBatch` plays many episodes of a game on threads, for scoring policies.

Both show the maximum of a step's last two grayscale frames, shrunk by area, as
Dopamine and RL Unplugged do; the same actions give the same observations and
rewards in both where nothing is drawn (no sticky actions, no no-ops). They differ
in one place: the observation on which an episode TERMINATES is the emulator's last
picture in `Atari`, and in `AtariBatch` what the vector environment has by then.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import ale_py
import ale_py.roms
import dm_env
import numpy as np

from alpt_jax.area_resize import AreaResize
from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec, atari_game


class AtariState(NamedTuple):
  """A moment of an episode, to go on from as often as one likes."""

  emulator: ale_py.ALEState  # with the random numbers of sticky actions
  num_steps: int
  lives: int
  is_over: bool


class BatchStep(NamedTuple):
  """One step of E episodes."""

  observations: np.ndarray  # [E, height, width, 1] uint8
  rewards: np.ndarray  # [E] float32, raw
  discounts: np.ndarray  # [E] float32, 0 from the terminal transition on, else 1
  is_last: np.ndarray  # [E] bool, True from the episode's last step on


def rom_name(game: str) -> str:
  """The emulator's name of a game: 'SpaceInvaders' becomes 'space_invaders'."""
  return re.sub(r'(?<=.)(?=[A-Z])', '_', game).lower()


class Atari(dm_env.Environment):
  """One game; observations `[height, width, 1]` uint8, raw rewards.

  An action is an index into the spec's own action names. Losing the game is
  terminal (discount 0); reaching the step cap cuts the episode off (discount 1). No
  FIRE is pressed for the player.

  The seed draws the no-ops and the sticky actions. The whole sequence of episodes
  is a function of the seed and of the actions; where the protocol draws nothing, all
  episodes start alike.
  """

  def __init__(self, spec: EnvironmentSpec, seed: int = 0):
    """Loads the game; the first `reset` starts an episode.

    Args:
      spec: from `specs.atari_spec`.
      seed: of the no-ops and the sticky actions.

    Raises:
      UserError: not an Atari spec, or a protocol that cannot be played.
    """
    _check(spec)
    self._spec, self._protocol, self._seed = spec, spec.protocol, seed
    self._emulator = _emulator(
      atari_game(spec), _emulator_seed(seed, 0), self._protocol.sticky_actions
    )
    _check_actions(spec, self._emulator.getMinimalActionSet())
    self._actions = [ale_py.Action[name] for name in spec.action_names]
    screen = self._emulator.getScreenDims()
    self._resize = AreaResize(screen, spec.observation.shape[:2])
    self._frame, self._frame_before = np.empty((2, *screen), np.uint8)
    self._num_episodes = self._num_steps = self._lives = 0
    self._is_over = True

  @property
  def environment_spec(self) -> EnvironmentSpec:
    """What data recorded here, and policies that play here, must share."""
    return self._spec

  @property
  def ram(self) -> np.ndarray:
    """`[128]` uint8, the console's memory now."""
    return self._emulator.getRAM()

  @property
  def lives(self) -> int:
    """Lives left; 0 in games that count none."""
    return self._emulator.lives()

  def screen(self) -> np.ndarray:
    """`[210, 160, 3]` uint8, the last frame in colour (some games are taller).

    After `restore` it is still the frame before the restoring, until a step is made.
    """
    return self._emulator.getScreenRGB()

  def clone(self) -> AtariState:
    """Saves this moment; an observation looks at frames of its own step only."""
    emulator = self._emulator.cloneState(include_rng=True)
    return AtariState(emulator, self._num_steps, self._lives, self._is_over)

  def restore(self, state: AtariState) -> None:
    """Goes back to a moment of this game; the same steps have the same results."""
    self._emulator.restoreState(state.emulator)
    self._num_steps, self._lives, self._is_over = state[1:]

  def reset(self) -> dm_env.TimeStep:
    """Starts the next episode, after 0 to `max_noops` emulator frames of NOOP."""
    emulator = self._emulator
    emulator.reset_game()
    rng = np.random.default_rng((self._seed, self._num_episodes))
    for _ in range(rng.integers(self._protocol.max_noops, endpoint=True)):
      emulator.act(ale_py.Action.NOOP)
      if emulator.game_over():
        emulator.reset_game()
    self._num_episodes += 1
    self._num_steps, self._lives, self._is_over = 0, emulator.lives(), False
    emulator.getScreenGrayscale(self._frame)
    return dm_env.restart(self._observe(self._frame))

  def step(self, action: int) -> dm_env.TimeStep:
    """Holds an action for `frame_skip` emulator frames, fewer if the game ends."""
    if self._is_over:
      return self.reset()
    if not 0 <= action < len(self._actions):
      raise _bad_action(self._spec, f'step {self._num_steps}', action)
    reward, is_terminal, picture = self._hold(self._actions[action])
    self._num_steps += 1
    observation = self._observe(picture)
    if is_terminal:
      self._is_over = True
      return dm_env.termination(reward, observation)
    if self._num_steps == self._protocol.max_episode_steps:
      self._is_over = True
      return dm_env.truncation(reward, observation)
    return dm_env.transition(reward, observation)

  def observation_spec(self) -> dm_env.specs.BoundedArray:
    """Grayscale, one channel."""
    shape = self._spec.observation.shape
    return dm_env.specs.BoundedArray(shape, np.uint8, 0, 255, 'observation')

  def action_spec(self) -> dm_env.specs.DiscreteArray:
    """The spec's own actions, in its order."""
    return dm_env.specs.DiscreteArray(len(self._actions), np.int32, 'action')

  def reward_spec(self) -> dm_env.specs.Array:
    """The change of the game's score."""
    return dm_env.specs.Array((), float, 'reward')

  def _hold(self, action: ale_py.Action) -> tuple[float, bool, np.ndarray]:
    """The emulator's part of a step: reward, whether the game ended, picture."""
    emulator, protocol = self._emulator, self._protocol
    reward, is_terminal, num_kept = 0, False, 0
    for frames_left in reversed(range(protocol.frame_skip)):
      reward += emulator.act(action)
      lives = emulator.lives()
      # Games may take the last life a moment before they say that they are over.
      is_terminal = emulator.game_over() or (
        protocol.life_loss_ends and 0 < lives < self._lives
      )
      if is_terminal or frames_left <= protocol.max_pool:
        self._frame, self._frame_before = self._frame_before, self._frame
        emulator.getScreenGrayscale(self._frame)
        num_kept += 1
      if is_terminal:
        break
    self._lives = emulator.lives()
    picture = self._frame
    if num_kept == 2:
      picture = np.maximum(picture, self._frame_before)
    return float(reward), is_terminal, picture

  def _observe(self, picture: np.ndarray) -> np.ndarray:
    return self._resize(picture)[..., None]


def check_can_batch(spec: EnvironmentSpec) -> None:
  """Raises `UserError` where episodes cannot be played side by side.

  ale-py leaves its vector environment out, silently, where gymnasium is missing.
  """
  if not hasattr(ale_py, 'AtariVectorEnv'):
    raise UserError(
      f'{spec.name}: ale-py has its vector environment only beside gymnasium, which '
      'is not installed. Run: pip install gymnasium'
    )


class AtariBatch:
  """E episodes of one game at once, on threads, for scoring policies.

  All start together. An episode that has ended stays ended: its later rewards are
  0, its observations mean nothing. Every episode is a function of its own seed, of
  how often `reset` was called and of its actions, not of its neighbours. Loading
  and every `reset` take a tenth of a CPU-second per episode.
  """

  def __init__(self, spec: EnvironmentSpec, seeds: Sequence[int], num_threads: int = 0):
    """Loads the game E times; `reset` starts the episodes.

    Args:
      spec: from `specs.atari_spec`.
      seeds: one per episode.
      num_threads: 0 takes as many as there are cores, at most E.

    Raises:
      UserError: gymnasium is not installed, not an Atari spec, or a protocol that
        cannot be played.
    """
    _check(spec)
    check_can_batch(spec)
    if not len(seeds):
      raise UserError(f'{spec.name}, seeds: expected one per episode, found none.')
    protocol = spec.protocol
    height, width, _ = spec.observation.shape
    self._spec, self._seeds = spec, list(seeds)
    self._vector = ale_py.AtariVectorEnv(
      rom_name(atari_game(spec)),
      len(self._seeds),
      batch_size=0,  # all of them every time, in order
      num_threads=num_threads,
      thread_affinity_offset=-1,  # the system places the threads
      # Out of reach: the cap is counted below, because the environment would cut an
      # episode off before it fetches the frames of its last observation.
      max_num_frames_per_episode=(protocol.max_episode_steps + 1) * protocol.frame_skip,
      repeat_action_probability=protocol.sticky_actions,
      full_action_space=False,  # the minimal set, which the spec's own actions are
      continuous=False,  # joystick directions, not angles
      # With 'SameStep' the last observation would be the next episode's first.
      autoreset_mode='NextStep',
      img_height=height,
      img_width=width,
      grayscale=True,
      stack_num=1,  # the models are given one frame per step (section 5.1)
      frameskip=protocol.frame_skip,
      maxpool=protocol.max_pool,
      noop_max=protocol.max_noops + 1,  # ale-py 0.12 draws fewer than so many
      episodic_life=protocol.life_loss_ends,
      life_loss_info=False,  # else a lost life would look terminal
      reward_clipping=False,  # scores are raw
      use_fire_reset=False,  # a player has to press FIRE by itself
    )
    _check_actions(spec, self._vector.ale.get_action_set())
    self._num_resets = self._num_steps = 0
    self._observations = None
    self._is_last = np.zeros(len(self._seeds), bool)
    self._discounts = np.ones(len(self._seeds), np.float32)

  @property
  def environment_spec(self) -> EnvironmentSpec:
    """What data recorded here, and policies that play here, must share."""
    return self._spec

  def reset(self) -> np.ndarray:
    """Starts the next E episodes; `[E, height, width, 1]` uint8 first observations."""
    seeds = [_emulator_seed(seed, self._num_resets) for seed in self._seeds]
    self._num_resets += 1
    self._num_steps = 0
    self._is_last[:] = False
    self._discounts[:] = 1
    observations, _ = self._vector.reset(seed=np.array(seeds))
    self._observations = self._as_images(observations)
    return self._observations

  def step(self, actions: Sequence[int] | np.ndarray) -> BatchStep:
    """Takes one action in every running episode.

    Args:
      actions: `[E]` indices into the spec's own action names; those of ended
        episodes are not read.
    """
    was_last = self._is_last
    actions = np.where(was_last, 0, actions).astype(np.int32)
    legal = (actions >= 0) & (actions < len(self._spec.action_names))
    if not legal.all():
      episode = int(legal.argmin())
      place = f'episode {episode}, step {self._num_steps}'
      raise _bad_action(self._spec, place, actions[episode])
    rewards = np.zeros(len(actions), np.float32)
    if not was_last.all():
      observations, raw_rewards, terminated, _, _ = self._vector.step(actions)
      self._observations = self._as_images(observations)
      rewards = np.where(was_last, 0, raw_rewards).astype(np.float32)
      self._num_steps += 1
      is_cut_off = self._num_steps >= self._spec.protocol.max_episode_steps
      self._discounts = np.where(terminated & ~was_last, 0, self._discounts)
      self._is_last = was_last | terminated | is_cut_off
    return BatchStep(
      self._observations, rewards, self._discounts.copy(), self._is_last.copy()
    )

  def _as_images(self, stacks: np.ndarray) -> np.ndarray:
    """`[E, 1, height, width]`, a stack of one frame, to `[E, height, width, 1]`."""
    return stacks.reshape(len(stacks), *self._spec.observation.shape)


def _emulator(game: str, seed: int = 0, sticky: float = 0.0) -> ale_py.ALEInterface:
  """The console with a game in it, switched on."""
  ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner on stderr
  emulator = ale_py.ALEInterface()
  emulator.setInt('random_seed', seed)
  emulator.setFloat('repeat_action_probability', sticky)
  emulator.setInt('frame_skip', 1)  # skipped, pooled and capped by us
  emulator.setInt('max_num_frames_per_episode', 0)
  emulator.setBool('color_averaging', False)
  emulator.loadROM(ale_py.roms.get_rom_path(rom_name(game)))
  return emulator


def _emulator_seed(seed: int, episode: int) -> int:
  """31 well mixed bits: the vector environment takes a negative seed for none."""
  return int(np.random.SeedSequence((seed, episode)).generate_state(1)[0] >> 1)


def _check(spec: EnvironmentSpec) -> None:
  """What both classes can play."""
  if atari_game(spec) is None:
    raise UserError(f"{spec.name}: expected an Atari game, such as 'atari/Breakout'.")
  seen, protocol = spec.observation, spec.protocol
  if (seen.kind, seen.dtype, seen.shape[2:]) != ('image', 'uint8', (1,)):
    raise UserError(
      f'{spec.name}, observation: expected a uint8 image with one channel, found '
      f'{seen.kind} {seen.shape} {seen.dtype}. Use specs.atari_spec.'
    )
  for field, expected, is_right in (
    ('resize', "'area'", protocol.resize == 'area'),
    ('frame_skip', '1 or more', protocol.frame_skip >= 1),
    # Pooling looks at frames of one step.
    ('max_pool', 'False at frame_skip 1', protocol.frame_skip > protocol.max_pool),
    ('max_episode_steps', '1 or more', protocol.max_episode_steps >= 1),
    ('max_noops', '0 or more', protocol.max_noops >= 0),
    ('sticky_actions', '0 to 1', 0 <= protocol.sticky_actions <= 1),
  ):
    if not is_right:
      raise UserError(
        f'{spec.name}, protocol.{field}: expected {expected}, found '
        f'{getattr(protocol, field)!r}.'
      )


def _check_actions(spec: EnvironmentSpec, minimal: Sequence[ale_py.Action]) -> None:
  """The vector environment takes indices into the emulator's own list."""
  names = tuple(action.name for action in minimal)
  if spec.action_names != names:
    raise UserError(
      f'{spec.name}, action_names: expected {" ".join(names)}, found '
      f'{" ".join(spec.action_names)}. Use specs.atari_spec.'
    )


def _bad_action(spec: EnvironmentSpec, place: str, action: Any) -> UserError:
  names = spec.action_names
  return UserError(
    f'{spec.name}, {place}, field action: expected 0 to {len(names) - 1} '
    f'({", ".join(names)}), found {action}.'
  )
