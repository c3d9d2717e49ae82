"""Frames to steps, by arithmetic on paper: a skip of 4 unless said otherwise."""

import ale_py
import numpy as np
import pytest
import tiny_video

from alpt_jax.data import checks, pool, screens, video
from alpt_jax.data.video_steps import StepChoice, steps_of
from alpt_jax.data.video_table import Row, Table, read_table, spellings
from alpt_jax.envs import atari
from alpt_jax.specs import (
  ATARI_EVALUATION_PROTOCOL,
  EnvironmentSpec,
  ObservationSpec,
  Protocol,
  atari_spec,
)
from alpt_jax.types import Episode

NAMES = ('A', 'B', 'C')
UNKNOWN = -1


def steps(rows, num_frames, skip=4, cap=27_000, max_pool=False, starts=None, **choice):
  """Steps of `{frame: action, (action, reward) or (action, reward, end)}`."""
  found = []
  for line, (frame, cells) in enumerate(rows.items(), 1):
    cells = (cells,) if isinstance(cells, str) else cells
    action, reward, end = (*cells, 0.0, '')[:3] if len(cells) == 1 else (*cells, '')[:3]
    found.append(Row(line, frame, action, reward, end))
  protocol = Protocol(cap, frame_skip=skip, max_pool=max_pool)
  table = Table('a.csv', tuple(found)) if found else None
  return steps_of(table, num_frames, NAMES, protocol, StepChoice(**choice), starts)


def actions(episode):
  """The actions of an episode, -1 where not known."""
  assert (episode.actions[~episode.is_labelled] == 0).all()
  return np.where(episode.is_labelled, episode.actions, UNKNOWN).tolist()


def only(recording):
  (episode,) = recording.episodes
  return episode


# Actions.


def test_an_action_is_held_until_the_next_row():
  # Steps are frames 0-3, 4-7, 8-11; frame 12 is what the last one leads to.
  recording = steps({0: 'A', 8: 'C'}, 13)
  assert actions(only(recording)) == [0, 0, 2]
  assert only(recording).shown.tolist() == [0, 4, 8, 12]
  assert recording[1:] == (0, 0, 0, 0)


def test_nothing_is_known_before_the_first_row_and_after_an_empty_one():
  assert actions(only(steps({4: 'A', 8: ''}, 17))) == [UNKNOWN, 0, UNKNOWN, UNKNOWN]


def test_a_recording_without_table_knows_nothing():
  recording = steps({}, 9)
  assert actions(only(recording)) == [UNKNOWN, UNKNOWN]
  assert only(recording).rewards.tolist() == [0, 0]


@pytest.mark.parametrize(
  ('row_at', 'action'), [(1, 1), (2, 0), (3, 0)], ids=['3 of 4', 'a tie', '1 of 4']
)
def test_a_mixed_step_has_the_action_of_most_frames_the_first_of_a_tie(row_at, action):
  recording = steps({0: 'A', row_at: 'B', 4: 'A'}, 9)
  assert actions(only(recording)) == [action, 0]
  assert recording.num_mixed == 1


def test_a_mixed_step_is_unlabelled_where_that_is_asked_for():
  recording = steps({0: 'A', 3: 'B'}, 9, mixed='unlabelled')
  assert actions(only(recording)) == [UNKNOWN, 1]
  assert recording.num_mixed == 1


def test_not_known_for_most_frames_is_not_known():
  recording = steps({3: 'A', 5: '', 6: 'B'}, 13)
  # ---A, A-BB, BBBB
  assert actions(only(recording)) == [UNKNOWN, 1, 1]
  assert recording.num_mixed == 2


def test_an_action_on_the_last_frame_is_never_taken():
  assert actions(only(steps({0: 'A', 8: 'B'}, 9))) == [0, 0]


# Rewards.


def test_rewards_of_a_step_are_summed_and_not_held():
  rows = {0: ('A', 1.0), 3: ('A', 0.5), 4: ('B', -2.0), 7: ('B', 0.0)}
  recording = steps(rows, 13)
  assert only(recording).rewards.tolist() == [1.5, -2, 0]
  assert only(recording).rewards.dtype == np.float32
  assert recording.num_dropped_rewards == 0


def test_rewards_where_no_step_is_are_counted():
  # 15 frames: steps to frame 12; 12, 13 and 14 belong to none.
  recording = steps({0: ('A', 1.0), 12: ('A', 1.0), 14: ('A', 3.0)}, 15)
  assert only(recording).rewards.tolist() == [1, 0, 0]
  assert (recording.num_dropped_frames, recording.num_dropped_rewards) == (2, 2)


# Ends.


def test_a_cut_episode_drops_the_rest_and_is_not_terminal():
  recording = steps({0: 'A'}, 16)
  assert only(recording).shown.tolist() == [0, 4, 8, 12]
  assert only(recording).discounts.tolist() == [1, 1, 1]
  assert recording.num_dropped_frames == 3


def test_a_terminal_episode_keeps_a_short_last_step():
  # Frames 12 and 13 are the step, 14 is where the game was over.
  rows = {0: 'A', 12: ('B', 1.0), 13: ('C', 2.0), 14: ('', 0.0, 'terminal')}
  recording = steps(rows, 15, max_pool=True)
  assert only(recording).shown.tolist() == [0, 4, 8, 12, 14]
  assert actions(only(recording)) == [0, 0, 0, 1]
  assert only(recording).rewards.tolist() == [0, 0, 0, 3]
  assert only(recording).discounts.tolist() == [1, 1, 1, 0]
  # The emulator stops on the frame that ends the game and has no other to pool.
  assert only(recording).is_pooled.tolist() == [False, True, True, True, False]
  assert recording.num_dropped_frames == 0


def test_a_whole_last_step_of_a_terminal_episode_is_no_shorter():
  recording = steps({0: 'A'}, 9, end='terminal', max_pool=True)
  assert only(recording).shown.tolist() == [0, 4, 8]
  assert only(recording).discounts.tolist() == [1, 0]
  assert only(recording).is_pooled.tolist() == [False, True, True]


def test_another_episode_begins_behind_an_end_with_no_action_known():
  rows = {0: 'A', 8: ('A', 0.0, 'terminal'), 13: 'B'}
  one, other = steps(rows, 20).episodes
  assert (one.shown.tolist(), actions(one)) == ([0, 4, 8], [0, 0])
  # Frames 9-12 are a step, 13-16 the next; 17-19 are dropped.
  assert (other.shown.tolist(), actions(other)) == ([9, 13, 17], [UNKNOWN, 1])
  assert (one.discounts[-1], other.discounts[-1]) == (0, 1)


def test_an_end_on_the_last_frame_is_the_recordings():
  recording = steps({0: 'A', 8: ('', 0.0, 'cut')}, 9, end='terminal')
  assert only(recording).discounts.tolist() == [1, 1]


def test_an_episode_too_short_for_a_step_is_dropped():
  rows = {0: 'A', 2: ('', 5.0, 'cut'), 3: 'B'}
  recording = steps(rows, 8)
  assert only(recording).shown.tolist() == [3, 7]
  assert (recording.num_dropped_frames, recording.num_dropped_rewards) == (3, 1)
  assert steps({0: 'A'}, 4).episodes == ()
  # Lost after two frames, and after one, of which no action was seen.
  assert only(steps({0: 'A'}, 2, end='terminal')).shown.tolist() == [0, 1]
  assert steps({0: 'A'}, 1, end='terminal').episodes == ()


def test_a_cap_cuts_an_episode_and_loses_no_step():
  rows = {0: 'A', 4: 'B', 8: 'C', 12: ('A', 1.0), 16: 'B'}
  recording = steps(rows, 21, cap=2, max_pool=True, end='terminal')
  assert [e.shown.tolist() for e in recording.episodes] == [
    [0, 4, 8],
    [8, 12, 16],
    [16, 20],
  ]
  assert [actions(e) for e in recording.episodes] == [[0, 1], [2, 0], [1]]
  assert [e.discounts.tolist() for e in recording.episodes] == [[1, 1], [1, 1], [0]]
  # The moment that is shared looks the same to both.
  assert [e.is_pooled[0] for e in recording.episodes] == [False, True, True]
  assert recording.num_capped == 2


def test_without_a_skip_every_frame_is_seen_and_none_is_pooled():
  recording = steps({0: 'A', 1: 'B', 2: 'C'}, 4, skip=1, max_pool=True)
  assert actions(only(recording)) == [0, 1, 2]
  assert only(recording).shown.tolist() == [0, 1, 2, 3]
  assert not only(recording).is_pooled.any() and recording.num_mixed == 0


# Where other frames are shown than the table counts.


def test_rows_of_frames_that_are_shown_twice_or_not_are_where_these_are():
  # Shown are 0 0 1 3 4: frame 2 is passed over, its reward comes with the next one.
  rows = {0: 'A', 1: ('B', 1.0), 2: ('C', 2.0), 3: ('A', 4.0)}
  found = only(steps(rows, 5, skip=1, starts=(0, 2, 3, 3, 4)))
  assert actions(found) == [0, 0, 1, 0]
  assert found.rewards.tolist() == [0, 0, 1, 6]
  assert found.shown.tolist() == [0, 1, 2, 3, 4]


def test_an_episode_ends_with_the_last_that_is_shown_of_it():
  # Every second of 8 frames: 0 2 4, then 6 7. Frame 3 is seen with frame 4, which is
  # the end: its reward is that of the step before.
  rows = {0: 'A', 3: ('B', 1.0), 4: ('', 8.0, 'terminal'), 5: 'C'}
  recording = steps(rows, 5, skip=1, starts=(0, 1, 1, 2, 2, 3, 3, 4))
  one, other = recording.episodes
  assert (one.shown.tolist(), actions(one)) == ([0, 1, 2], [0, 0])
  assert one.rewards.tolist() == [0, 1] and recording.num_dropped_rewards == 1
  assert (other.shown.tolist(), actions(other)) == ([3, 4], [2])


def test_an_episode_ends_where_its_last_frame_is_first_shown():
  # Shown are 0 1 1 1 2 3: what is shown behind the first 1 is no step of any episode.
  rows = {0: 'A', 1: ('', 0.0, 'terminal'), 2: 'B'}
  one, other = steps(rows, 6, skip=1, starts=(0, 1, 4, 5)).episodes
  assert (one.shown.tolist(), actions(one)) == ([0, 1], [0])
  assert (other.shown.tolist(), actions(other)) == ([4, 5], [1])


def test_an_episode_of_which_nothing_is_shown_is_dropped():
  rows = {1: ('A', 1.0, 'cut'), 2: ('A', 1.0, 'cut'), 3: 'B'}
  recording = steps(rows, 5, skip=1, starts=(0, 1, 2, 2, 3, 4))
  one, other = recording.episodes
  assert (one.shown.tolist(), other.shown.tolist()) == ([0, 1], [2, 3, 4])
  assert recording.num_dropped_rewards == 2


# From a video and a table to a pool.


def test_a_video_and_a_table_give_the_pool_of_their_frames(tmp_path):
  pytest.importorskip('av')
  frames = tiny_video.pictures(14)
  path = tiny_video.write(tmp_path / 'a.mkv', frames)
  (tmp_path / 'a.csv').write_text(
    'frame,action,reward,end\n0,UP,,\n2,DOWN,1,\n6,,,terminal\n7,UP,,\n9,DOWN,,\n'
  )
  clip = video.probe(path)
  table = read_table(tmp_path / 'a.csv', clip.num_frames)
  names = spellings([table])
  spec = EnvironmentSpec(
    'own/tiny',
    names,
    ObservationSpec('image', (28, 28, 3), 'uint8'),
    (-20, 100),
    Protocol(100, frame_skip=2, max_pool=True),
  )
  read = steps_of(table, clip.num_frames, names, spec.protocol).episodes
  made = []
  for steps_read in read:
    shown = screens.observations(clip, steps_read.shown, steps_read.is_pooled, False)
    made.append(Episode(np.stack(list(shown)), *steps_read[2:3], *steps_read[4:]))
  # Frames 0-6 are one episode of 3 steps; 7-13 another, of which 7, 8 are UP.
  pooled = np.maximum(frames[1:], frames[:-1])  # n: frames n and n + 1
  expected = [
    (frames[0], pooled[1], pooled[3], pooled[5]),
    (frames[7], pooled[8], pooled[10], pooled[12]),
  ]
  by_hand = [
    Episode(np.stack(expected[0]), [1, 0, 0], [0, 1, 0], [1, 1, 0]),
    Episode(np.stack(expected[1]), [1, 0, 0], [0, 0, 0], [1, 1, 1]),
  ]
  assert names == ('DOWN', 'UP')
  for episode, other in zip(made, by_hand, strict=True):
    episode = checks.check_episode(episode, spec, 'a')
    other = checks.check_episode(other, spec, 'b')
    for field, expected_field in zip(episode, other, strict=True):
      assert np.array_equal(field, expected_field)
  pool.write_pool(tmp_path / 'made', spec, made)
  pool.write_pool(tmp_path / 'by_hand', spec, by_hand)
  assert (
    pool.open_pool(tmp_path / 'made').manifest_hash
    == pool.open_pool(tmp_path / 'by_hand').manifest_hash
  )


def test_an_emulators_screens_read_as_a_video_are_its_observations(tmp_path):
  """Lossless at 60 Hz, so skip, pooling, grey and shrinking must be the emulator's."""
  pytest.importorskip('av')
  spec = atari_spec('Breakout', ATARI_EVALUATION_PROTOCOL)
  names = spec.action_names
  taken = np.random.default_rng(0).integers(len(names), size=20)
  environment = atari.Atari(spec)
  expected = [environment.reset().observation]
  expected += [environment.step(action).observation for action in taken]
  emulator = ale_py.ALEInterface()
  emulator.setFloat('repeat_action_probability', 0.0)
  emulator.loadROM(ale_py.roms.get_rom_path('breakout'))
  emulator.reset_game()
  screens_seen, rows = [emulator.getScreenRGB()], ['frame,action,reward']
  for step, action in enumerate(taken):
    for frame in range(4 * step, 4 * step + 4):
      reward = emulator.act(ale_py.Action[names[action]])
      rows.append(f'{frame},{names[action]},{reward}')
      screens_seen.append(emulator.getScreenRGB())
  path = tiny_video.write(tmp_path / 'a.mkv', np.stack(screens_seen))
  (tmp_path / 'a.csv').write_text('\n'.join(rows))
  clip = video.probe(path)
  table = read_table(tmp_path / 'a.csv', clip.num_frames)
  (episode,) = steps_of(table, clip.num_frames, names, spec.protocol).episodes
  resize = atari.AreaResize((clip.height, clip.width), (84, 84))
  read = screens.observations(clip, episode.shown, episode.is_pooled, resize_fn=resize)
  assert np.array_equal(np.stack(list(read)), np.stack(expected))
  assert actions(episode) == taken.tolist()
