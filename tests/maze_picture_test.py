"""Pictures of mazes."""

import numpy as np
import pytest

from alpt_jax.envs import maze_picture

#    column 01234
ROOM = """  #####
            #..##
            #.#.#
            #...#
            #####"""
WALLS = np.array([[mark == '#' for mark in row] for row in ROOM.split()])


def test_a_picture_shows_walls_goal_agent_and_a_fading_path():
  def colour(picture, cell):
    return picture[12 * cell[0] + 6, 12 * cell[1] + 6].tolist()

  bare = maze_picture.render(WALLS)
  assert bare.shape == (60, 60, 3) and bare.dtype == np.uint8
  wall, floor = colour(bare, (2, 2)), colour(bare, (3, 2))
  assert max(wall) < 100 and min(floor) > 200  # dark walls, light floor
  path = [(1, 2), (1, 1), (2, 1), (3, 1), (3, 2)]
  full = maze_picture.render(WALLS, agent=(3, 2), goal=(2, 3), path=path)
  red, green, blue = colour(full, (2, 3))
  assert green > red and green > blue
  assert colour(full, (3, 2)) not in (floor, wall, colour(full, (2, 3)))
  # Blue over a light floor: the less red is left, the stronger the trace.
  assert floor[0] > colour(full, (1, 2))[0] > colour(full, (2, 1))[0]
  assert colour(full, (3, 3)) == floor
  assert (full[WALLS.repeat(12, 0).repeat(12, 1)] == wall).all()


@pytest.mark.parametrize(
  ('path', 'on', 'off'),
  [
    ([(0, 0), (1, 1)], (12, 12), [(6, 15), (15, 6)]),  # down_right
    ([(1, 0), (0, 1)], (11, 12), [(15, 15), (6, 6)]),  # up_right
  ],
)
def test_a_diagonal_step_is_a_thread_between_the_centres(path, on, off):
  # Cells of 12 pixels: centres at 6 and 18, the common corner at 12.
  picture = maze_picture.render(np.zeros((2, 2), bool), path=path)
  floor = picture[3, 3].tolist()
  assert picture[on][0] < floor[0]
  for row, column in path:
    assert picture[12 * row + 6, 12 * column + 6, 0] < floor[0]
  assert all(picture[place].tolist() == floor for place in off)
