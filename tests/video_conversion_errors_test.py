"""Folders of videos that cannot be converted as they are: one line for each reason.

Every one is refused before anything is written, or left out where that is asked for.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import tiny_video
from PIL import Image

from alpt_jax.data.packed import open_recorded
from alpt_jax.errors import UserError
from alpt_jax.experiment.video_conversion import VideoChoice, convert_videos

pytest.importorskip('av')

GOOD = '0,LEFT\n12,RIGHT\n'


@pytest.fixture(autouse=True)
def clips(tmp_path, monkeypatch):
  """`clips` with a good recording `good.mkv`, of 28x28 pixels at 60 a second."""
  monkeypatch.chdir(tmp_path)
  folder = pathlib.Path('clips')
  folder.mkdir()
  tiny_video.write(folder / 'good.mkv', tiny_video.grey_levels(20))
  (folder / 'good.csv').write_text(GOOD)
  return folder


def convert(**choice):
  lines = []
  choice = VideoChoice(**{'size': None, 'rlds': False, **choice})
  convert_videos('clips', pathlib.Path('out'), 'pool', choice, lines.append)
  return lines


def said(**choice):
  with pytest.raises(UserError) as error:
    convert(**choice)
  assert '\n' not in str(error.value)
  assert not [path for path in pathlib.Path().iterdir() if path.name != 'clips']
  return str(error.value)


def video(name, num_frames=20, **form):
  return lambda clips: tiny_video.write(
    clips / name, tiny_video.pictures(num_frames, **form)
  )


def table(content, name='x.mkv', num_frames=20):
  """A recording of 20 frames and a table beside it."""

  def make(clips):
    tiny_video.write(clips / name, tiny_video.pictures(num_frames))
    path = (clips / name).with_suffix('.csv')
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

  return make


def both(*makers):
  def make(clips):
    for maker in makers:
      maker(clips)

  return make


def varying(clips):
  times = [0, 16, 33, 50, 66, 83, 133, 150, 166, 183]
  tiny_video.write(clips / 'x.mkv', tiny_video.pictures(10), times=times)


def cut_with_index(clips):
  path = tiny_video.write(clips / 'x.mp4', tiny_video.pictures(40))
  tiny_video.cut(tiny_video.index_first(path))


def png_gap(clips):
  folder = tiny_video.write_pngs(clips / 'x', tiny_video.pictures(5), first=38)
  (folder / 'frame_040.png').unlink()


def png_size(clips):
  folder = tiny_video.write_pngs(clips / 'x', tiny_video.pictures(5))
  Image.new('RGB', (30, 28)).save(folder / 'frame_005.png')


def png_damaged(clips):
  folder = tiny_video.write_pngs(clips / 'x', tiny_video.pictures(5))
  tiny_video.cut(folder / 'frame_003.png')


def png_stranger(clips):
  folder = tiny_video.write_pngs(clips / 'x', tiny_video.pictures(5))
  (folder / 'x.csv').write_text(GOOD)


@dataclasses.dataclass(frozen=True)
class Case:
  make: Callable[[pathlib.Path], object]
  message: str
  choice: dict = dataclasses.field(default_factory=dict)
  is_whole: bool = True  # or the message goes on


# What is wrong with one recording, `x`: `good` is converted all the same.
ONE = {
  'zero bytes': Case(
    lambda clips: (clips / 'x.mp4').touch(),
    'clips/x.mp4: expected a video, found an empty file. Record or copy it anew, or '
    'remove it.',
  ),
  'not a video': Case(
    lambda clips: (clips / 'x.mp4').write_text(GOOD),
    'clips/x.mp4: cannot be opened as a video (Invalid data found when processing '
    'input). Copy it anew; a recording that was cut off may be repaired with ffmpeg.',
  ),
  'cut mp4 without index': Case(
    lambda clips: tiny_video.cut(
      tiny_video.write(clips / 'x.mp4', tiny_video.pictures(40))
    ),
    'clips/x.mp4: cannot be opened as a video (Invalid data',
    is_whole=False,
  ),
  'a link to nothing': Case(
    lambda clips: (clips / 'x.mp4').symlink_to('nowhere.mp4'),
    'clips/x.mp4: expected a video, found nothing there.',
  ),
  'no picture stream': Case(
    lambda clips: tiny_video.write_sound(clips / 'x.mkv'),
    'clips/x.mkv: expected a video stream, found audio alone. Remove it.',
  ),
  'damaged inside': Case(
    lambda clips: tiny_video.damage(
      tiny_video.write(clips / 'x.mp4', tiny_video.pictures(40)), 20
    ),
    'clips/x.mp4, about frame 20 (0:00.3): cannot be decoded (Invalid data found when '
    'processing input). Copy it anew, or remove it.',
  ),
  'fewer frames than the index says': Case(
    cut_with_index, 'clips/x.mp4: its index promises 40 frames, ', is_whole=False
  ),
  'no step': Case(
    video('x.mkv', 3),
    'clips/x.mkv: expected at least 5 frames for one step of 4, found 3. Remove it, or '
    'lower --frame_skip.',
    {'frame_skip': 4},
  ),
  'varying rate': Case(
    varying,
    'clips/x.mkv, frame 6 (0:00.1): frames come 16 to 50 ms apart. Pass --fps=60',
    is_whole=False,
  ),
  'two rates in one game': Case(
    lambda clips: tiny_video.write(clips / 'x.mkv', tiny_video.pictures(9), rate=30),
    'clips/x.mkv: 30 frames a second, clips/good.mkv has 60. Pass --fps=30, or convert '
    'them apart.',
  ),
  'another frame size': Case(
    video('x.mkv', height=28, width=30),
    'clips/x.mkv: expected 28x28 pixels as in clips/good.mkv, found 30x28 pixels: '
    'another game, or another window? Convert it apart.',
  ),
  'smaller than asked for': Case(
    video('x.mkv', height=14, width=28),
    'clips/x.mkv: 14x28 pixels (height x width) are fewer than --size=28x28. Pass '
    '--size=14x28.',
    {'size': (28, 28)},
  ),
  'a gap in the pictures': Case(
    png_gap,
    'clips/x/frame_041.png: expected frame 40 after 39, found 41. Number them without '
    'gaps.',
  ),
  'a picture of another size': Case(
    png_size,
    'clips/x/frame_005.png: expected 28x28 pixels as in clips/x/frame_000.png, found '
    '30x28 pixels. Make all pictures of a recording one size.',
  ),
  'a damaged picture': Case(
    png_damaged, 'clips/x/frame_003.png: cannot be decoded (', is_whole=False
  ),
  'a stranger among pictures': Case(
    png_stranger,
    'clips/x/x.csv: expected nothing but .png files in a folder that is a recording. '
    'Move it elsewhere.',
  ),
  'a table without recording': Case(
    lambda clips: (clips / 'god.csv').write_text(GOOD),
    'clips/god.csv: no recording of that name (god.mp4, god.mkv, god.gif or a folder '
    'god). Did you mean good.mkv?',
  ),
  'another separator': Case(
    table('frame;action\n0;LEFT\n'),
    "clips/x.csv, line 1: expected columns separated by ',' (frame,action), found "
    "'frame;action'. Pass --separator=';'.",
  ),
  'UTF-16': Case(
    table('\ufeff0,LEFT\n'.encode('utf-16-le')),
    'clips/x.csv: UTF-16 (byte-order mark FF FE). Save it as UTF-8.',
  ),
  'Latin-1': Case(
    table(b'0,LEFT\n3,g\xe9n\xe9ral\n'),
    'clips/x.csv, line 2: byte 0xe9 is not UTF-8. Save it as UTF-8.',
  ),
  'an unknown column': Case(
    table('frame,aktion\n0,LEFT\n'),
    "clips/x.csv, line 1: unknown column 'aktion'; did you mean 'action'? Known: "
    'action, end, frame, reward.',
  ),
  'too many cells': Case(
    table('0,LEFT\n4,LEFT,UP\n'),
    'clips/x.csv, line 2: expected 2 cells, found 3. Quote commas inside a name.',
  ),
  'no frame number': Case(
    table('0,LEFT\n12.5,UP\n'),
    "clips/x.csv, line 2: expected a frame number, found '12.5'. Write frames, not "
    'seconds.',
  ),
  'a frame twice': Case(
    table('0,LEFT\n4,LEFT\n4,RIGHT\n'),
    'clips/x.csv, line 3: frame 4 again (line 2). Remove one.',
  ),
  'unsorted': Case(
    table('0,LEFT\n9,LEFT\n4,RIGHT\n'),
    'clips/x.csv, line 3: frame 4 after 9 (line 2). Sort the rows.',
  ),
  'beyond the end': Case(
    table('1,LEFT\n20,RIGHT\n'),
    'clips/x.csv, line 2: frame 20, the video has 0 to 19. Pass --first_frame=1 if it '
    'counts from 1, or give the table of this video.',
  ),
  'rows against frames': Case(
    table('\n'.join(f'{frame},LEFT' for frame in range(15))),
    'clips/x.csv: a row for each of 15 frames, the video has 20. Rows must follow its '
    'frames; a table with gaps may end early, one without by a row without action.',
  ),
  'an unknown name': Case(
    table('0,LEFT\n4,LFT\n'),
    "clips/x.csv, line 2: action 'LFT' is not known; did you mean 'LEFT'? Known: LEFT, "
    'RIGHT.',
    {'actions': ('LEFT', 'RIGHT')},
  ),
  'an unknown name of an Atari game': Case(
    both(
      lambda clips: [path.unlink() for path in clips.iterdir()],
      table('0,LEFT\n', 'good.mkv'),
      lambda clips: tiny_video.write(
        clips / 'good.mkv', tiny_video.pictures(9, 84, 84)
      ),
      lambda clips: tiny_video.write(clips / 'x.mkv', tiny_video.pictures(9, 84, 84)),
      lambda clips: (clips / 'x.csv').write_text('0,UP\n'),
    ),
    "clips/x.csv, line 1: action 'UP' is not known. Known: FIRE, LEFT, NOOP, RIGHT.",
    {'environment': 'atari/Breakout', 'size': (84, 84)},
  ),
  'two spellings': Case(
    table('0,RIGHT\n4,left\n'),
    "clips/x.csv, line 2: action 'left' is written 'LEFT' in clips/good.csv, line 1. "
    'Write it one way.',
  ),
  'no reward': Case(
    table('0,LEFT,1\n4,LEFT,nan\n'),
    "clips/x.csv, line 2: expected a finite number as reward, found 'nan'. Write 0 or "
    'nothing where there is none.',
  ),
  'no end': Case(
    table('0,LEFT,1,\n4,LEFT,0,done\n'),
    "clips/x.csv, line 2: end: expected terminal or cut, found 'done'. Leave it empty "
    'inside an episode.',
  ),
  'no whole step between ends': Case(
    table('frame,action,end\n0,LEFT,\n3,,cut\n7,,cut\n11,,cut\n15,,cut\n19,,cut\n'),
    'clips/x.csv: expected an episode of a whole step (4 frames) between its ends, '
    "found none. Correct its column 'end'.",
    {'frame_skip': 4},
  ),
}


@pytest.mark.parametrize('case', ONE.values(), ids=ONE)
def test_what_is_wrong_with_a_recording_is_said_or_left_out(clips, case):
  case.make(clips)
  message = said(**case.choice)
  assert (message if case.is_whole else message[: len(case.message)]) == case.message
  lines = convert(**case.choice, keep_going=True)
  assert f'left out: {message}' in lines
  found = open_recorded('out/pool')
  if found.spec.name == 'own/clips':
    skip = case.choice.get('frame_skip', 1)
    assert found.lengths.tolist() == [19 // skip]
    assert np.array_equal(found.observations[0, ..., 0], np.zeros((28, 28)))


def as_it_is(clips):
  del clips


def nothing_labelled(clips):
  (clips / 'good.csv').unlink()
  tiny_video.write_pngs(clips / 'x', tiny_video.pictures(5))


def no_action_named(clips):
  (clips / 'good.csv').write_text('frame,action,reward\n3,,1\n')


def beside_games(clips):
  (clips / 'game').mkdir()
  tiny_video.write(clips / 'game' / 'x.mkv', tiny_video.pictures(5))


def all_of_pictures(clips):
  for path in clips.iterdir():
    path.unlink()
  clips.rmdir()
  tiny_video.write_pngs(clips, tiny_video.pictures(5))


# What is wrong with all of it, or was asked for.
ALL = {
  'no labelled file at all': Case(
    nothing_labelled,
    'clips: none of 2 recordings has a .csv beside it, so no action name is known. '
    'Label one, or name the actions: --actions=LEFT,RIGHT,...',
  ),
  'tables without a name': Case(
    no_action_named,
    'clips: no .csv (1 of 1 recordings) names an action, so no action name is known. '
    'Label one, or name the actions: --actions=LEFT,RIGHT,...',
  ),
  'recordings beside games': Case(
    beside_games,
    'clips: holds recordings (good.mkv) and folders of recordings (game): one game, or '
    'several? Move them all into folders, one for each game, or all out of them.',
  ),
  'one recording of pictures': Case(
    all_of_pictures,
    'clips: is one recording, of pictures. Pass --data=. where it lies.',
  ),
  'a separator of two signs': Case(
    as_it_is,
    "--separator: expected one character that is no quote, found ';;'.",
    {'separator': ';;'},
  ),
  'a name twice': Case(
    as_it_is,
    "--actions: 'left' is 'LEFT' again. Name each action once.",
    {'actions': ('LEFT', 'left')},
  ),
  'an empty name': Case(
    as_it_is,
    "--actions: expected names divided by commas, found ''.",
    {'actions': ('LEFT', ' ')},
  ),
  'no name of a game': Case(
    as_it_is,
    "--environment: expected own/<name> or atari/<Game>, found 'mygame'.",
    {'environment': 'mygame'},
  ),
  'an unknown Atari game': Case(
    as_it_is,
    "game 'Brekout' has no table of actions; did you mean 'Breakout'? Known: ",
    {'environment': 'atari/Brekout'},
    is_whole=False,
  ),
  'another frame skip than the Atari games': Case(
    as_it_is,
    '--frame_skip: atari/Pong is played with 4, found 2. Leave it away, or name the '
    'game own/...',
    {'environment': 'atari/Pong', 'size': (84, 84), 'frame_skip': 2},
  ),
  'another size than the Atari games': Case(
    as_it_is,
    '--size: atari/Pong is played with 84x84, found 0. Leave it away, or name the game '
    'own/...',
    {'environment': 'atari/Pong'},
  ),
  'no frame of a step': Case(
    as_it_is, '--frame_skip: expected at least 1, found 0.', {'frame_skip': 0}
  ),
  'a rate below 0': Case(
    as_it_is, '--fps: expected frames a second, found -1.', {'fps': -1.0}
  ),
  'nothing to pool': Case(
    as_it_is,
    '--max_pool: with --frame_skip=1 a step has one frame, found no other to pool. '
    'Leave it away, or raise --frame_skip.',
    {'max_pool': True},
  ),
  'a range without 0': Case(
    as_it_is,
    '--return_range: expected low,high with low <= 0 < high, found 5,9.',
    {'return_range': (5, 9)},
  ),
}


@pytest.mark.parametrize('case', ALL.values(), ids=ALL)
def test_what_is_wrong_with_the_whole_is_said(clips, case):
  case.make(clips)
  message = said(**case.choice)
  assert (message if case.is_whole else message[: len(case.message)]) == case.message


def test_an_episode_too_large_for_rlds_is_said_before_it_is_decoded(monkeypatch):
  from alpt_jax.experiment import video_plan

  monkeypatch.setattr(video_plan, '_LARGEST_RECORD', 10 * 28 * 28)
  assert said(rlds=True) == (
    'clips/good.mkv, episode 0 (frames 0 to 19): 0.0 GB of observations are too large '
    'for one record of RLDS. Pass --max_episode_steps=9, or --norlds.'
  )
  convert()


def test_a_table_that_may_not_be_read_is_said(clips, monkeypatch):
  def denied(path):
    raise PermissionError(13, 'Permission denied', str(path))

  monkeypatch.setattr(pathlib.Path, 'read_bytes', denied)
  assert said() == (
    'clips/good.csv: cannot be read (Permission denied). Look after its permissions or '
    'the disk, or remove it.'
  )
