"""Scripted players of Atari games: who records data where nothing is downloaded.

Each script is a few lines that look at the console's memory, not at the screen, and
plays like a beginner or better. Mixed with random play that fades out, as a DQN's
exploration does, it gives a dataset of all qualities. Which bytes mean what was found
by watching them change while playing (ours).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from alpt_jax.envs.atari import Atari
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.specs import EnvironmentSpec, atari_game
from alpt_jax.types import Episode

# The console's 128 bytes -> the name of an action. Numbers below are bytes' places
# in memory (capitals) or pixels, and ours.
PlayerFn = Callable[[bytes], str]


def _breakout(ram: bytes) -> str:
  """Keeps the paddle's middle under the ball."""
  PADDLE_X, BALL_X, BALL_Y = 72, 99, 101
  if ram[BALL_Y] == 0:  # no ball in play
    return 'FIRE'
  # The paddle is 16 wide and glides on: a narrower dead zone makes it tremble.
  return _towards(ram[BALL_X] - (ram[PADDLE_X] + 8), 8, 'LEFT', 'RIGHT')


def _pong(ram: bytes) -> str:
  """Keeps the paddle at the ball's height; LEFT is down."""
  PADDLE_Y, BALL_X, BALL_Y = 51, 49, 54
  if ram[BALL_X] == 0:  # no ball in play
    return 'FIRE'
  return _towards(ram[BALL_Y] - 8 - ram[PADDLE_Y], 6, 'RIGHT', 'LEFT')


def _freeway(ram: bytes) -> str:
  """Walks up where no car comes, else waits, else steps back."""
  Y, FIRST_CAR_X, WIDTH = 14, 108, 160
  # Pixels per step of the car of each lane, from the bottom; right is positive.
  SPEEDS = (0.75, 1, 1.25, 2, 4, -4, -2, -1.25, -1, -0.75)

  def is_free(speed: int, num_steps: int) -> bool:
    """No car where the chicken will be in the next steps at so many pixels each."""
    for step in range(1, num_steps + 1):
      y = ram[Y] + speed * step
      for lane in range(10):
        if 6 < y - 16 * lane < 22:  # lanes are 16 high, the lowest begins at 6
          x = (ram[FIRST_CAR_X + lane] + SPEEDS[lane] * step) % WIDTH
          if 38 < x < 54:  # the chicken walks at about 45
            return False
    return True

  if is_free(4, 4):
    return 'UP'
  return 'NOOP' if is_free(0, 2) else 'DOWN'


class _SpaceInvaders:
  """Sweeps from edge to edge and fires all the time."""

  def __init__(self):
    self._action = 'RIGHTFIRE'

  def __call__(self, ram: bytes) -> str:
    PLAYER_X = 28
    if ram[PLAYER_X] >= 112:
      self._action = 'LEFTFIRE'
    elif ram[PLAYER_X] <= 38:
      self._action = 'RIGHTFIRE'
    return self._action


def _asterix(ram: bytes) -> str:
  """Fetches the nearest prize, and keeps out of lanes where a lyre is near."""
  X, LANE, FIRST_OBJECT_X, FIRST_KIND = 41, 39, 42, 18
  LYRES, NOTHING, NUM_LANES = (204, 216), (11, 12), 8
  x, lane = ram[X], min(ram[LANE], NUM_LANES - 1)
  kinds = [ram[FIRST_KIND - each] for each in range(NUM_LANES)]  # stored backwards
  away = [ram[FIRST_OBJECT_X + each] - x for each in range(NUM_LANES)]

  def is_safe(each: int) -> bool:
    return 0 <= each < NUM_LANES and not (kinds[each] in LYRES and abs(away[each]) < 30)

  prizes = [each for each in range(NUM_LANES) if kinds[each] not in (*LYRES, *NOTHING)]
  # 20: about as far as one walks while changing lanes.
  goal = min(
    prizes, key=lambda each: 20 * abs(each - lane) + abs(away[each]), default=0
  )
  down = _sign(goal - lane) if prizes else 0
  if not is_safe(lane + down):
    down = next((way for way in (0, -down, 1, -1) if is_safe(lane + way)), 0)
  right = _sign(away[goal]) if prizes else _sign(80 - x)
  if down == 0 and kinds[lane] in LYRES:
    right = -_sign(away[lane])
  return ('UP', '', 'DOWN')[down + 1] + ('LEFT', '', 'RIGHT')[right + 1] or 'NOOP'


class _Enemy(NamedTuple):
  cost: float
  down: int  # how far its lane is below
  right: float  # how far it will be to the right once the lane is reached


def _seaquest(ram: bytes) -> str:
  """Hunts the enemy that is soonest in front, and surfaces for air with a diver."""
  X, Y, OXYGEN, NUM_DIVERS, FACING, FACES_LEFT = 70, 97, 102, 62, 86, 8
  FIRST_ENEMY_X, FIRST_HEADING, HEADS_LEFT, FIRST_DIVER_X = 30, 36, 4, 71
  LANES_Y, WIDTH = (105, 81, 57, 33), 160  # what lies beyond is not on the screen
  if ram[Y] <= 16 and ram[OXYGEN] < 60:  # breathes
    return 'NOOP'
  if ram[OXYGEN] < 20 and ram[NUM_DIVERS]:  # without a diver it would cost a life
    return 'UP'
  enemies, divers = [], []
  for lane, lane_y in enumerate(LANES_Y):
    down, x = lane_y - ram[Y], ram[FIRST_ENEMY_X + lane]
    if 0 < x < WIDTH:
      steps = max(abs(down) - 3, 0) / 4
      heading = -1 if ram[FIRST_HEADING + lane] == HEADS_LEFT else 1
      right = x + 1.5 * heading * steps - ram[X]
      if not steps or abs(right) >= 20:  # else it would be run into
        enemies.append(_Enemy(steps + 0.3 * abs(right), down, right))
    elif 0 < ram[FIRST_DIVER_X + lane] < WIDTH:
      divers.append((abs(down), down, ram[FIRST_DIVER_X + lane] - ram[X]))
  if enemies:
    _, down, right = min(enemies)
    faces_it = (ram[FACING] == FACES_LEFT) == (right <= 0)
    aside = '' if faces_it else _towards(right, 0, 'LEFT', 'RIGHT', '')
    return _towards(down, 3, 'UP', 'DOWN', '') + aside + 'FIRE'
  if divers:
    _, down, right = min(divers)
    name = _towards(down, 3, 'UP', 'DOWN', '') + _towards(right, 0, 'LEFT', 'RIGHT', '')
    return name or 'NOOP'
  return _towards(72 - ram[Y], 3, 'UP', 'DOWN')


def _towards(
  distance: float, dead_zone: float, negative: str, positive: str, near: str = 'NOOP'
) -> str:
  """One of two opposite moves, or `near` where there is no need."""
  if abs(distance) <= dead_zone:
    return near
  return positive if distance > 0 else negative


def _sign(number: float) -> int:
  return (number > 0) - (number < 0)


_SCRIPTS: dict[str, Callable[[], PlayerFn]] = {
  'Asterix': lambda: _asterix,
  'Breakout': lambda: _breakout,
  'Freeway': lambda: _freeway,
  'Pong': lambda: _pong,
  'Seaquest': lambda: _seaquest,
  'SpaceInvaders': _SpaceInvaders,
}
SCRIPTED_GAMES = tuple(_SCRIPTS)


def script(game: str) -> PlayerFn:
  """A game's scripted player, fresh: one for every episode.

  Raises:
    UserError: no script for it.
  """
  if game not in _SCRIPTS:
    raise UserError(
      f"game '{game}' has no scripted player{did_you_mean(game, _SCRIPTS)}. Record "
      'it with epsilon 1, random play alone.'
    )
  return _SCRIPTS[game]()


def epsilon_schedule(progress: float) -> float:
  """The epsilon at a share of a recording: from 1 to 0 in a straight line.

  So a recording holds play of all qualities in the order of learning, as the
  replay of a DQN does (ours).
  """
  return 1.0 - progress


class EpsilonScript:
  """A script that now and then does something random for a moment.

  Before each of its steps it starts, with probability epsilon, a uniformly random
  one of the environment's own actions and holds it for 1 to 3 steps, uniformly: an
  action of a single step hardly moves anything under sticky actions (ours).
  Epsilon 1 is random play, and needs no script.
  """

  def __init__(self, spec: EnvironmentSpec, epsilon: float, seed: int):
    """Plays one game.

    Args:
      spec: of the game.
      epsilon: of the first episode.
      seed: of its random actions.

    Raises:
      UserError: epsilon outside [0, 1], or below 1 in a game without a script.
    """
    self._game = atari_game(spec)
    self._index = {name: index for index, name in enumerate(spec.action_names)}
    self._random = np.random.default_rng(seed).random
    self.begin_episode(epsilon)

  def begin_episode(self, epsilon: float) -> None:
    """Forgets the episode before; `epsilon` holds until the next one."""
    if not 0 <= epsilon <= 1:
      raise UserError(f'epsilon: expected 0 to 1, found {epsilon}.')
    self._epsilon = epsilon
    self._script = script(self._game) if epsilon < 1 else None
    self._held, self._num_left = 0, 0

  def action(self, ram: np.ndarray) -> int:
    """The environment's own action for `[128]` uint8 memory."""
    if not self._num_left and self._random() < self._epsilon:
      self._held = int(self._random() * len(self._index))
      self._num_left = 1 + int(self._random() * 3)
    if self._num_left:
      self._num_left -= 1
      return self._held
    # Bytes give plain integers, which do not wrap around when subtracted.
    return self._index[self._script(ram.tobytes())]


def record_episodes(
  environment: Atari,
  player: EpsilonScript,
  num_transitions: int,
  epsilon: float | None = None,
) -> Iterator[Episode]:
  """Plays exactly so many transitions, one episode at a time.

  The last episode is cut off where they are reached; its last discount is 1 unless
  it ended just there.

  Args:
    environment: its next episodes are played.
    player: of the same game.
    num_transitions: at least 1.
    epsilon: of all episodes; None follows `epsilon_schedule`, each episode with the
      value at its start.
  """
  num_left = num_transitions
  while num_left:
    progress = 1 - num_left / num_transitions
    player.begin_episode(epsilon_schedule(progress) if epsilon is None else epsilon)
    episode = _play(environment, player, num_left)
    num_left -= len(episode.actions)
    yield episode


def _play(environment: Atari, player: EpsilonScript, most_steps: int) -> Episode:
  time_step = environment.reset()
  observations, actions, rewards, discounts = [time_step.observation], [], [], []
  while not time_step.last() and len(actions) < most_steps:
    actions.append(player.action(environment.ram))
    time_step = environment.step(actions[-1])
    observations.append(time_step.observation)
    rewards.append(time_step.reward)
    discounts.append(time_step.discount)
  return Episode(
    np.stack(observations),
    np.array(actions, np.int32),
    np.array(rewards, np.float32),
    np.array(discounts, np.float32),
  )
