"""Folders of videos to datasets: what is written, checked against the frames."""

import json
import pathlib
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import tiny_video
from PIL import Image

from alpt_jax import pace, specs
from alpt_jax.area_resize import AreaResize
from alpt_jax.data.packed import open_recorded
from alpt_jax.data.pool import write_pool
from alpt_jax.errors import UserError
from alpt_jax.experiment import video_dataset
from alpt_jax.experiment.recording import card_of
from alpt_jax.experiment.recordings import read_recordings
from alpt_jax.experiment.video_conversion import VideoChoice, convert_videos
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol
from alpt_jax.types import Episode

pytest.importorskip('av')


@pytest.fixture
def clips(tmp_path, monkeypatch):
  """A folder to fill; messages name it as it was typed."""
  monkeypatch.chdir(tmp_path)
  pathlib.Path('clips').mkdir()
  return pathlib.Path('clips')


def convert(data='clips', say=None, **choice):
  """Frames as they are, no RLDS, unless said otherwise."""
  choice = VideoChoice(**{'size': None, 'rlds': False, **choice})
  return convert_videos(str(data), pathlib.Path('out'), 'pool', choice, say or list)


def names(folder):
  return sorted(path.name for path in pathlib.Path(folder).iterdir())


def pool(folder='out'):
  return open_recorded(pathlib.Path(folder, 'pool'))


def actions(folder='out'):
  """Those of all steps in order, None where not known."""
  found = pool(folder)
  known = zip(found.actions, found.is_labelled, strict=True)
  return [found.spec.action_names[a] if k else None for a, k in known]


def record(folder='out'):
  return json.loads(pathlib.Path(folder, 'conversion.json').read_text())


# What is written.


def test_a_video_without_loss_gives_the_pool_that_its_frames_give(clips):
  one, other = tiny_video.pictures(9), tiny_video.pictures(14)
  tiny_video.write(clips / 'a.mkv', one)
  (clips / 'a.csv').write_text('frame,action,reward\n0,UP,\n4,DOWN,1\n6,,\n')
  tiny_video.write_pngs(clips / 'b', other)
  convert(color=True, frame_skip=2, max_pool=True)
  # a: frames 0-1 and 2-3 UP, 4-5 DOWN, 6-7 not known; 8 is what that leads to.
  # b: 13 is no whole step's.
  pooled = [
    np.concatenate([each[:1], np.maximum(each[1:-1:2], each[2::2])[:steps]])
    for each, steps in ((one, 4), (other, 6))
  ]
  spec = EnvironmentSpec(
    'own/clips',
    ('DOWN', 'UP'),
    ObservationSpec('image', (28, 28, 3), 'uint8'),
    (-20, 100),
    Protocol(27_000, frame_skip=2, max_pool=True, frame_rate=60.0),
  )
  known = np.array([True, True, True, False])
  ones, zeros = np.ones(4), np.zeros(6)
  expected = [
    Episode(pooled[0], np.array([1, 1, 0, 0]), np.array([0, 0, 1, 0]), ones, known),
    Episode(pooled[1], zeros, zeros, np.ones(6), np.zeros(6, bool)),
  ]
  by_hand = write_pool('by_hand', spec, expected)
  assert pool().manifest_hash == by_hand.manifest_hash


def test_frames_are_grey_and_shrunk_by_area_as_the_emulators_are(clips):
  frames = tiny_video.pictures(5)
  tiny_video.write(clips / 'a.mkv', frames)
  convert(size=(14, 21), actions=('A',))
  resize = AreaResize((28, 28), (14, 21))
  grey = [np.asarray(Image.fromarray(frame).convert('L')) for frame in frames]
  expected = np.stack([resize(frame) for frame in grey])[..., None]
  assert np.array_equal(pool().observations, expected)
  assert pool().spec.protocol.resize == 'area'


def test_packed_and_pool_are_one_dataset_and_rlds_says_what_is_known(clips):
  from alpt_jax.data import rlds

  tiny_video.write(clips / 'a.mkv', tiny_video.pictures(9))
  (clips / 'a.csv').write_text('0,A\n3,\n')
  tiny_video.write(clips / 'b.mkv', tiny_video.pictures(5))
  choice = VideoChoice(size=None)
  convert_videos('clips', pathlib.Path('packed'), 'packed', choice, list)
  convert()
  assert open_recorded('packed/packed').manifest_hash == pool().manifest_hash
  expected = [pool().episode(index) for index in range(2)]
  for episode, other in zip(rlds.read('packed'), expected, strict=True):
    for field, other_field in zip(episode, other, strict=True):
      assert np.array_equal(field, other_field)
  assert names('packed') == sorted(
    ['card.json', 'card.md', 'conversion.json', 'dataset_info.json', 'features.json']
    + ['environment.json', 'own_clips-train.tfrecord-00000', 'packed', 'picture.png']
    + ['steps-action.labels.txt']
  )


def test_videos_of_which_no_action_is_known_are_a_dataset(clips):
  for name in ('a.mkv', 'b.gif', 'c.mp4'):
    tiny_video.write(clips / name, tiny_video.pictures(5), rate=50)
  convert(actions=('LEFT', 'RIGHT'))
  assert pool().lengths.tolist() == [4, 4, 4]
  assert pool().spec.action_names == ('LEFT', 'RIGHT')
  assert not pool().is_labelled.any() and not pool().actions.any()
  card = card_of(pathlib.Path('out'))
  assert card['labelled_share'] == 0 and card['warnings']


def test_rewards_that_nobody_wrote_down_are_said(clips):
  for name in ('a.mkv', 'b.mkv'):
    tiny_video.write(clips / name, tiny_video.pictures(5))
  (clips / 'a.csv').write_text('0,A,1\n')
  lines = []
  convert(say=lines.append)
  assert (
    'own/clips: 1 of 2 recordings have no .csv: their rewards and returns are not '
    'known, 0 stands there.'
  ) in lines


def test_a_card_and_a_picture_lie_beside_the_episodes(clips):
  tiny_video.write(clips / 'a.mkv', tiny_video.grey_levels(17))
  choice = VideoChoice(size=None, rlds=False, actions=('A',))
  convert_videos('clips', pathlib.Path('out'), choice=choice, say=list, command='typed')
  card = json.loads(pathlib.Path('out/card.json').read_text())
  assert card['source'] == record()['command'] == 'typed'
  assert card['manifest_hash'] == open_recorded('out/packed').manifest_hash
  # An eighth, three, five and seven eighths of 16 steps, each twice as large.
  picture = np.asarray(Image.open('out/picture.png'))
  assert picture.shape == (56, 224)
  assert picture[0, ::56].tolist() == [2, 6, 10, 14]


# What was chosen.


def test_a_step_of_two_actions_is_counted_and_can_be_left_unlabelled(clips):
  tiny_video.write(clips / 'a.mkv', tiny_video.pictures(13))
  (clips / 'a.csv').write_text('0,A\n7,B\n')
  lines = []
  convert(frame_skip=4, say=lines.append)
  assert actions() == ['A', 'A', 'B']
  assert lines == [
    'clips: 1 recording and 1 table of actions; looking at them all first.',
    'own/clips: 1 of 3 steps of recordings with a .csv have several actions '
    '(--mixed=most): is it the --frame_skip of its writer?',
    'own/clips: 1 of 1 recording kept, 1 episode, 3 steps of 4 frames.',
    '  actions: known of 3 steps (100.0%), from 1 table: A, B',
    '  1 step of several actions (--mixed)',
    '  longest that one action is held: 7 frames (0.1 s), in a.csv',
    'out: written.',
  ]
  pathlib.Path('out').rename('first')
  convert(frame_skip=4, mixed='unlabelled')
  assert actions() == ['A', None, 'B']


def test_a_table_with_a_row_for_each_frame_says_what_one_of_changes_says(clips):
  tiny_video.write(clips / 'a.mkv', tiny_video.pictures(21))
  table = clips / 'a.csv'
  head = 'frame,action,reward,end\n'
  # The row that ends an episode still names an action, which is not held over it.
  actions_of = ['A'] * 8 + ['B'] * 5 + [''] * 3 + ['B'] * 5
  rewards = {2: '1', 14: '-2'}
  rows = [
    f'{frame},{action},{rewards.get(frame, "")},{"terminal" if frame == 10 else ""}\n'
    for frame, action in enumerate(actions_of)
  ]
  table.write_text(head + ''.join(rows))
  convert(frame_skip=2)
  assert record()['recordings'][0]['longest_hold'] == 1
  dense = pool().manifest_hash
  table.write_text(
    head
    + '0,A,,\n2,A,1,\n3,A,,\n8,B,,\n10,,,terminal\n11,B,,\n13,,,\n14,,-2,\n16,B,,\n'
  )
  pathlib.Path('out').rename('dense')
  convert(frame_skip=2)
  assert pool().manifest_hash == dense
  # Frames 0 to 10 are 5 steps; 11 and 12, 13 and 14, .. the others, one of them mixed.
  assert actions() == ['A'] * 4 + ['B', 'B', None, None, 'B']
  assert pool().rewards.tolist() == [0, 1, 0, 0, 0, 0, -2, 0, 0]


def test_a_recording_ends_as_it_is_said_to(clips):
  tiny_video.write(clips / 'a.mkv', tiny_video.pictures(6))
  (clips / 'a.csv').write_text('frame,action,end\n1,A,\n3,,cut\n4,B,\n')
  convert(frame_skip=2, end='terminal', first_frame=1)
  # From 1: frames 0-2 are cut off, 3-5 the last episode.
  assert pool().lengths.tolist() == [1, 1]
  assert pool().discounts.tolist() == [1, 0]
  assert actions() == ['A', 'B']


def test_a_long_episode_is_cut_and_no_step_is_lost(clips):
  frames = tiny_video.grey_levels(6)
  tiny_video.write(clips / 'a.mkv', frames)
  lines = []
  convert(max_episode_steps=2, actions=('A',), say=lines.append)
  assert pool().lengths.tolist() == [2, 2, 1]
  assert pool().observations[:, 0, 0, 0].tolist() == [0, 1, 2, 2, 3, 4, 4, 5]
  assert '  2 cuts at 2 steps' in lines
  assert record()['recordings'][0]['first_frames'] == [0, 2, 4]


def test_a_varying_rate_is_held_where_that_is_asked_for(clips):
  # Due at 0, 20, 60 and 80 ms: at 50 a second the second one is shown twice.
  tiny_video.write(clips / 'a.mkv', tiny_video.grey_levels(4), times=[0, 20, 60, 80])
  convert(fps=50, actions=('A',))
  assert pool().observations[:, 0, 0, 0].tolist() == [0, 1, 1, 2, 3]
  assert pool().spec.protocol.frame_rate == 50


def test_a_table_counts_the_frames_of_its_file_also_where_others_are_shown(clips):
  # Of frames due at 0, 20, 60 and 80 ms 0, 1, 1, 2, 3 are shown; 2 is the third.
  tiny_video.write(clips / 'a.mkv', tiny_video.grey_levels(4), times=[0, 20, 60, 80])
  (clips / 'a.csv').write_text('0,A\n2,B\n')
  # Every second one of 0 to 12: B from the one that shows frame 4 on.
  tiny_video.write(clips / 'b.mkv', tiny_video.grey_levels(13), rate=100)
  (clips / 'b.csv').write_text('0,A\n3,B\n')
  convert(fps=50)
  assert actions() == ['A', 'A', 'A', 'B'] + ['A', 'A', 'B', 'B', 'B', 'B']
  # A frame's number would be looked for in the file, where it is another's.
  assert read_recordings('out', pool()).place(1, 3) == 'b.mkv at 0:00.1'


def test_which_picture_a_table_begins_with_is_said_where_it_has_another_number(clips):
  tiny_video.write_pngs(clips / 'a', tiny_video.pictures(9), first=7)
  (clips / 'a.csv').write_text('7,A\n')
  tiny_video.write_pngs(clips / 'b', tiny_video.pictures(9), first=7)
  convert(first_frame=7)
  assert not [note for note in record()['notes'] if 'first picture' in note]
  shutil.rmtree('out')
  convert()
  assert [note for note in record()['notes'] if 'first picture' in note] == [
    'clips/a.csv: its frame 0 is the first picture, frame_007.png. If it counts as '
    'these are named, pass --first_frame=7.'
  ]


def test_a_table_may_have_a_byte_order_mark_and_another_separator(clips):
  tiny_video.write(clips / 'a.mkv', tiny_video.pictures(5))
  (clips / 'a.csv').write_bytes(b'\xef\xbb\xbfframe;action\r\n0;LEFT\r\n')
  convert(separator=';')
  assert actions() == ['LEFT'] * 4
  assert record()['notes'][0] == 'clips/a.csv: a UTF-8 byte-order mark was read past.'
  card = json.loads(pathlib.Path('out/card.json').read_text())
  assert card['warnings'][0] == record()['notes'][0]


def test_an_atari_game_has_its_own_actions_and_protocol(clips):
  frames = tiny_video.pictures(9, 84, 84)
  tiny_video.write(clips / 'a.mkv', frames)
  (clips / 'a.csv').write_text('0,NOOP\n4,FIRE\n')
  convert(size=(84, 84), environment='atari/Breakout')
  spec = specs.atari_spec('Breakout', specs.RL_UNPLUGGED_PROTOCOL)
  found = pool().spec
  assert found.protocol.frame_rate == 60
  assert not found.protocol.seen_differences(specs.ATARI_EVALUATION_PROTOCOL)
  assert found.action_names == spec.action_names
  assert (found.name, found.observation) == (spec.name, spec.observation)
  assert found.return_range == spec.return_range
  assert actions() == ['NOOP', 'FIRE']


def test_a_return_that_the_range_cannot_show_is_refused_for_ones_own_game(clips):
  tiny_video.write(clips / 'a.mkv', tiny_video.pictures(7))
  (clips / 'a.csv').write_text('0,A,1\n1,A,5\n2,A,1\n')
  with pytest.raises(UserError) as error:
    convert(return_range=(-1, 3))
  assert str(error.value) == (
    'clips/a.mkv, episode 0 (frames 0 to 6): returns of rewards clipped to [-1, 1] are '
    '0 to 3, --return_range is -1,3. Pass --return_range=-1,4.'
  )
  convert(return_range=(-1, 4))
  assert pool().rewards.tolist() == [1, 5, 1, 0, 0, 0]


# Several games.


@pytest.fixture
def games(clips):
  for game, name, action in (('pong', 'a.mkv', 'left'), ('maze', 'b.mkv', 'LE FT')):
    (clips / game).mkdir()
    tiny_video.write(clips / game / name, tiny_video.pictures(5))
    table = clips / game / name.replace('.mkv', '.csv')
    table.write_text(f'0,{action}\n2,{game}\n')
  return clips


def test_several_games_are_as_many_datasets_with_a_joint_vocabulary(games):
  (games / 'readme.txt').write_text('ours')
  lines = []
  summary = convert(say=lines.append)
  assert names('out') == ['maze', 'pong']
  assert pool('out/pong').spec.name == 'own/pong'
  assert actions('out/maze') == ['LE FT', 'LE FT', 'maze', 'maze']
  assert summary.vocabulary == ('LE FT', 'left', 'maze', 'pong')
  assert 'clips: not looked at: readme.txt.' in lines
  assert 'Joint vocabulary of 4 actions: LE FT, left, maze, pong.' in lines
  for other, where in (('left', 'own/pong'), ('LEFT', 'the Atari games')):
    assert (
      f"Action 'LE FT' of own/maze is written '{other}' in {where}: in one run they "
      'are two actions. Write it one way if they are one.'
    ) in lines


def test_games_that_no_run_can_hold_together_are_said(games):
  tiny_video.write(games / 'pong' / 'a.mkv', tiny_video.pictures(5, 30, 30), rate=30)
  lines = []
  convert(say=lines.append)
  assert (
    'own/pong: observations of 30x30x1, not 28x28x1, frame_rate 30 / frame_skip 1 (30 '
    'steps a second), not frame_rate 60 / frame_skip 1 (60 steps a second) as '
    'own/maze: no run can take both.'
  ) in lines


def test_one_game_name_for_several_is_refused(games):
  with pytest.raises(UserError) as error:
    convert(environment='own/mine')
  assert str(error.value) == (
    '--environment: names one game, found 2 in clips (maze, pong). Convert each apart, '
    'or leave it away.'
  )


# Where it comes from.


def test_every_episode_is_traced_to_its_frames(clips):
  import hashlib

  path = tiny_video.write(clips / 'a.mkv', tiny_video.pictures(15))
  (clips / 'a.csv').write_text(
    'frame,action,reward,end\n0,A,,\n1,B,,\n6,,,terminal\n8,A,,\n10,,,\n14,,2,\n'
  )
  tiny_video.write_pngs(clips / 'b', tiny_video.pictures(3), first=7)
  convert(frame_skip=2)
  described = record()
  one, other = described.pop('recordings')
  assert one == {
    'file': 'a.mkv',
    'sha256': hashlib.sha256(path.read_bytes()).hexdigest(),
    'frames': 15,
    'frame_rate': 60.0,
    'held': False,
    'size': [28, 28],
    'codec': 'ffv1',
    'csv': 'a.csv',
    'episodes': [0, 2],
    'first_frames': [0, 7],
    'steps': 6,
    # A B, B B, B B; the second from frame 7: - A, A - and two of none.
    'labelled_steps': 4,
    'mixed_steps': 3,
    'dropped_frames': 1,
    'longest_hold': 5,
  }
  assert (other['file'], other['csv'], other['codec']) == ('b', None, 'png')
  assert (other['frames'], other['episodes'], other['steps']) == (3, [2, 1], 1)
  assert described['game'] == 'own/clips' and described['format'] == 1
  assert described['protocol'] == pool().spec.protocol.to_dict()
  assert described['versions'].keys() == {'av', 'ffmpeg'}


# Left out.


def test_what_cannot_be_read_is_left_out_with_its_table_and_the_rest_converted(clips):
  tiny_video.write(clips / 'a.mkv', tiny_video.grey_levels(5))
  (clips / 'a.csv').write_text('0,A\n')
  tiny_video.write(clips / 'b.mkv', tiny_video.pictures(5))
  (clips / 'b.csv').write_text('frame,action\n0,A\n3,B\n2,A\n')
  tiny_video.damage(tiny_video.write(clips / 'c.mp4', tiny_video.pictures(40)), 20)
  (clips / 'd.mp4').touch()
  tiny_video.write(clips / 'e.mkv', tiny_video.grey_levels(3))
  lines = []
  summary = convert(keep_going=True, say=lines.append)
  assert pool().lengths.tolist() == [4, 2]
  assert pool().observations[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
  said = [line for line in lines if line.startswith('left out: ')]
  assert said == [f'left out: {each.why}' for each in summary.left_out]
  # What only decoding shows comes last.
  assert [(each.file, each.line) for each in summary.left_out] == [
    ('clips/b.mkv', 4),
    ('clips/d.mp4', None),
    ('clips/c.mp4', None),
  ]
  assert record()['left_out'][0] == {
    'file': 'b.mkv',
    'line': 4,
    'why': 'clips/b.csv, line 4: frame 2 after 3 (line 3). Sort the rows.',
  }
  (line,) = [line for line in lines if line.startswith('own/clips:')]
  assert line.startswith('own/clips: 2 of 5 recordings kept, 2 episodes, 6 steps')
  assert [each['file'] for each in record()['recordings']] == ['a.mkv', 'e.mkv']


def test_a_game_of_which_nothing_is_left_is_no_dataset(games):
  (games / 'pong' / 'a.mkv').write_bytes(b'')
  summary = convert(keep_going=True)
  assert names('out') == ['maze']
  assert [each.file for each in summary.left_out] == ['clips/pong/a.mkv']


@pytest.mark.parametrize('damage', [tiny_video.cut, lambda p: tiny_video.damage(p, 20)])
def test_nothing_is_written_where_nothing_is_left(clips, damage):
  for name in ('a.mp4', 'b.mp4'):
    damage(tiny_video.write(clips / name, tiny_video.pictures(40)))
  with pytest.raises(UserError) as error:
    convert(keep_going=True, actions=('A',))
  assert str(error.value) == 'clips: all 2 recordings were left out; see above.'
  assert names('.') == ['clips']


def test_a_table_that_may_be_of_two_recordings_makes_none_of_them_unlabelled(clips):
  for name in ('a.mkv', 'a.mp4', 'b.mkv'):
    tiny_video.write(clips / name, tiny_video.pictures(5))
    (clips / name).with_suffix('.csv').write_text('0,A\n')
  summary = convert(keep_going=True)
  assert [each.why for each in summary.left_out] == [
    'clips/a.csv: is it the table of a.mkv or of a.mp4? Rename one of them.'
  ]
  assert [each['file'] for each in record()['recordings']] == ['b.mkv']


def test_what_was_converted_before_is_not_converted_again(clips):
  tiny_video.write(clips / 'a.mkv', tiny_video.pictures(5))
  choice = VideoChoice(size=None, rlds=False, actions=('A',))
  convert_videos('clips', clips / 'out', 'pool', choice, list)
  lines = []
  convert(actions=('A',), say=lines.append)
  assert 'clips: not looked at: out.' in lines
  assert pool().num_episodes == 1


# On the way.


def test_progress_says_which_recording_and_how_much_is_left(clips, monkeypatch):
  """A clock of 4 seconds a look: begun at 0, every third look is a line."""
  clock = iter(range(0, 999, 4))
  looks = types.SimpleNamespace(monotonic=lambda: float(next(clock)))
  monkeypatch.setattr(pace, 'time', looks)
  tiny_video.write(clips / 'a.mkv', tiny_video.pictures(5))
  tiny_video.write(clips / 'b.mkv', tiny_video.pictures(5))
  lines = []
  convert(actions=('A',), say=lines.append)
  # Frames 0 to 4 of a at 4, 8, .. 20 seconds; of b at 24 to 40.
  assert lines[1:4] == [
    'recording 1 of 2 (a.mkv), 2 of 10 frames, 0 a second, 0:48 left',
    'recording 2 of 2 (b.mkv), 5 of 10 frames, 0 a second, 0:24 left',
    'recording 2 of 2 (b.mkv), 8 of 10 frames, 0 a second, 0:09 left',
  ]


@pytest.mark.parametrize('at', ['decoding', 'writing'])
def test_what_is_stopped_leaves_nothing(clips, monkeypatch, at):
  def stop(*args, **kwargs):
    raise KeyboardInterrupt

  tiny_video.write(clips / 'a.mkv', tiny_video.pictures(5))
  tiny_video.write(clips / 'b.mkv', tiny_video.pictures(5))
  if at == 'writing':
    monkeypatch.setattr(video_dataset, 'write_record', stop)
  else:
    begin = video_dataset.Progress.begin

    def begin_one(self, clip):
      begin(self, clip)
      if self._number == 2:
        stop()

    monkeypatch.setattr(video_dataset.Progress, 'begin', begin_one)
  with pytest.raises(KeyboardInterrupt):
    convert(actions=('A',))
  assert names('.') == ['clips']


# Prints the memory of its own, in kB, a sixth of the way and at the end.
_CONVERT = """
import pathlib, sys
from alpt_jax.experiment import video_conversion, video_dataset

def anonymous():
  lines = open('/proc/self/status').read().splitlines()
  return [int(line.split()[1]) for line in lines if line.startswith('RssAnon')][0]

found = []
at = video_dataset.Progress.at
def measured(self, frame):
  at(self, frame)
  if frame in (9_000, 53_999):
    found.append(anonymous())
video_dataset.Progress.at = measured
choice = video_conversion.VideoChoice(actions=('A',), size=None, rlds=False)
video_conversion.convert_videos('clips', pathlib.Path('out'), choice=choice, say=list)
print(*found, anonymous())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='/proc tells the memory')
def test_memory_is_flat_over_an_hour(clips):
  tiny_video.write_hour(clips / 'hour.mp4')
  command = [sys.executable, '-c', _CONVERT]
  said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
  early, late, end = map(int, said.split())
  assert late - early < 20_000 and end - early < 20_000
  assert open_recorded('out/packed').lengths.tolist() == [27_000, 26_999]
