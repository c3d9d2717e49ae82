"""A game of one square on a screen, as its owner has it, and recordings of it."""

import numpy as np

from alpt_jax.data.video_writing import write_video

HEIGHT, WIDTH, SQUARE = 96, 112, 12
# Pixels down and to the right, a frame.
MOVES = {
  'NOOP': (0, 0),
  'LEFT': (0, -2),
  'RIGHT': (0, 2),
  'UP': (-2, 0),
  'DOWN': (2, 0),
  'CROUCH': (6, 0),
}
HELD = 4  # frames


class Game:
  """What docs/own_game.md asks of a game that an agent plays."""

  def __init__(self, num_steps=6):
    self._num_steps = num_steps

  def reset(self):
    """The first screen, `[height, width, 3]` uint8."""
    self._place, self._step = np.array([42, 50]), 0
    return self.screen()

  def step(self, action):
    """(screen before the last one, last screen, reward, whether it is over)."""
    self._step += 1
    screens = [self.frame(action) for _ in range(HELD)]
    return *screens[-2:], 0.0, self._step == self._num_steps

  def frame(self, action):
    """The next screen."""
    most = (HEIGHT - SQUARE, WIDTH - SQUARE)
    self._place = np.clip(self._place + MOVES[action], 0, most)
    return self.screen()

  def screen(self):
    """The present one."""
    screen = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    row, column = self._place
    screen[row : row + SQUARE, column : column + SQUARE] = 255
    return screen


def record(path, num_frames, names, seed=0):
  """Writes a video of random play; gives the text of its table."""
  rng, game = np.random.default_rng(seed), Game()
  frames, rows = [game.reset()], ['frame,action']
  for frame in range(num_frames - 1):
    if frame % HELD == 0:
      name = names[rng.integers(len(names))]
      rows.append(f'{frame},{name}')
    frames.append(game.frame(name))
  path.parent.mkdir(parents=True, exist_ok=True)
  write_video(path, frames, 60)
  return '\n'.join(rows) + '\n'
