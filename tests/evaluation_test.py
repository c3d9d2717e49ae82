"""How runs are scored: the arithmetic, and the same episodes for everyone."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from alpt_jax.envs import maze
from alpt_jax.errors import UserError
from alpt_jax.experiment import evaluation, playing
from alpt_jax.types import EvaluationWindows, Window


def _truth(true_actions, counted, allowed) -> EvaluationWindows:
  """Windows of two transitions; the observation is the window's number."""
  num_windows, length = np.shape(true_actions)
  window = Window(
    observations=np.tile(np.arange(num_windows)[:, None], (1, length + 1)),
    actions=np.zeros((num_windows, length), np.int32),
    is_labelled=np.zeros((num_windows, length), bool),
    rewards=np.zeros((num_windows, length), np.float32),
    discounts=np.ones((num_windows, length), np.float32),
    returns_to_go=np.zeros((num_windows, length), np.float32),
    valid=np.ones((num_windows, length), bool),
    allowed=np.array(allowed, bool),
    environment=np.zeros(num_windows, np.int32),
  )
  return EvaluationWindows(window, np.array(true_actions), np.array(counted, bool))


class _KnownIdm:
  """An IDM that answers window i with row i of `logits`, whatever its parameters."""

  def __init__(self, logits):
    self._logits = jnp.asarray(logits)

  def apply(self, variables, observations, valid):
    del variables, valid
    return self._logits[observations[:, 0]]


def test_idm_accuracy_counts_only_the_counted_and_guesses_only_the_allowed():
  # Window 0 guesses action 1 twice, window 1 would guess action 2, not allowed
  # there, and so guesses 0. Counted: right, wrong, right = 2 of 3.
  logits = np.log([[[0.2, 0.7, 0.1]] * 2, [[0.4, 0.1, 0.5]] * 2])
  truth = _truth(
    true_actions=[[1, 0], [0, 1]],
    counted=[[True, True], [True, False]],
    allowed=[[True, True, True], [True, True, False]],
  )
  scores = evaluation.idm_scores(_KnownIdm(logits), {}, truth)
  assert scores['accuracy'] == pytest.approx(2 / 3)
  # Counted true actions are 1, 0, 0: always saying 0 is right in 2 of 3.
  assert scores['majority'] == pytest.approx(2 / 3)
  # Confidences .7 (right), .7 (wrong), .4 / .5 = .8 (right). Bins of 1/15: .7 is in
  # the eleventh, .8 in the thirteenth: |1.4 - 1| / 3 + |.8 - 1| / 3 = .6 / 3.
  assert scores['calibration_error'] == pytest.approx(0.2, abs=1e-6)


def test_more_windows_than_one_chunk_are_all_scored_once():
  num_windows = evaluation._CHUNK + 3
  logits = np.zeros((num_windows, 2, 2))
  logits[:, :, 1] = 1.0
  actions = np.ones((num_windows, 2), int)
  actions[-1] = 0  # the last two transitions are missed
  counted = np.ones((num_windows, 2), bool)
  truth = _truth(actions, counted, np.ones((num_windows, 2), bool))
  scores = evaluation.idm_scores(_KnownIdm(logits), {}, truth)
  assert scores['accuracy'] == pytest.approx(1 - 2 / (2 * num_windows))


def _first_observations(spec, seed):
  starts = playing.episode_starts(spec, 10, seed)
  return np.stack([start()[1].observation for start in starts])


def test_every_method_of_a_seed_plays_the_same_pairs_and_seeds_differ():
  spec = maze.Maze('maze/blocked:20/3').environment_spec
  first = _first_observations(spec, 0)
  np.testing.assert_array_equal(first, _first_observations(spec, 0))
  assert (first != _first_observations(spec, 1)).any()


def test_episodes_of_one_layout_do_not_disturb_each_other():
  spec = maze.Maze('maze/blocked:20/3').environment_spec
  starts = playing.episode_starts(spec, 2, 0)
  one, first = starts[0]()
  kept = np.array(first.observation)
  other, _ = starts[1]()
  for action in range(4):
    other.step(action)
  assert one.agent == tuple(kept[:2])
  assert one.goal == tuple(kept[2:])


def test_a_fixed_goal_is_the_goal_of_every_scored_episode():
  cells = np.argwhere(~maze.layout('maze/tunneled/3'))
  goal = tuple(cells[40].tolist())
  spec = maze.Maze('maze/tunneled/3', goal=goal).environment_spec
  goals = _first_observations(spec, 0)[:, 2:]
  assert {tuple(each) for each in goals.tolist()} == {goal}


def test_reference_policies_are_ordered_and_the_optimal_one_never_fails():
  spec = maze.Maze('maze/blocked:20/3').environment_spec
  scores = playing.reference_scores(spec, 100, 0, within=50)
  assert scores['random_walk'] < 0.3 < scores['behaviour'] < scores['optimal'] == 1.0


def test_an_environment_that_cannot_be_played_is_named():
  spec = maze.Maze('maze/blocked:20/3').environment_spec
  other = types.SimpleNamespace(**{**vars(spec), 'name': 'doom/e1m1'})
  with pytest.raises(UserError, match="can play 'doom/e1m1'"):
    playing.episode_starts(other, 1, 0)


def test_an_animation_holds_every_step_of_every_filmed_episode(tmp_path):
  spec = maze.Maze('maze/blocked:20/3').environment_spec
  films = []
  for start in playing.episode_starts(spec, 2, 0):
    environment, _ = playing.film(start, films)()
    for action in (0, 1, 2):
      environment.step(action)
  assert [len(film.frames) for film in films] == [4, 4]
  playing.save_gif(tmp_path / 'film.gif', films)
  from PIL import Image

  with Image.open(tmp_path / 'film.gif') as image:
    # Pictures that do not change are merged, their times added.
    durations = []
    for frame in range(image.n_frames):
      image.seek(frame)
      durations.append(image.info['duration'])
  assert sum(durations) == 2 * (4 + 6) * 120
