"""One recorded Atari episode whose frames are still PNG files.

A frame of 84 x 84 pixels is 7,056 bytes decoded and about 1,000 as a PNG, so
episodes stay encoded until a window of them is really needed.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from alpt_jax.errors import UserError
from alpt_jax.specs import EnvironmentSpec

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
# Where the header of a PNG keeps width and height.
_SIZE = slice(16, 24)
# Ours: on Asterix, level 1 is no faster and 5 % larger, level 6 half as fast.
_ZLIB_LEVEL = 3

# The features of a record that are read, each a list of these.
FEATURES = {
  'checkpoint_idx': 'int64_list',
  'episode_idx': 'int64_list',
  'observations': 'bytes_list',
  'actions': 'int64_list',
  'unclipped_rewards': 'float_list',
  'discounts': 'float_list',
}
_PER_STEP = ('observations', 'actions', 'unclipped_rewards', 'discounts')


class EncodedEpisode(NamedTuple):
  """An `Episode` of L transitions with encoded observations."""

  frames: Sequence[bytes]  # L + 1 PNG files
  actions: np.ndarray  # [L] int32, own numbering
  rewards: np.ndarray  # [L] float32
  discounts: np.ndarray  # [L] float32, 0 on a terminal transition


def to_episode(
  steps: Mapping[str, Sequence], spec: EnvironmentSpec, lead: int, place: str
) -> EncodedEpisode:
  """The transitions of one record, checked.

  Args:
    steps: the lists of a record by feature, L + 1 entries each.
    spec: whose actions and frames they must be.
    lead: how many steps early rewards are recorded.
    place: how messages name the episode.

  Raises:
    UserError: with place, step, field, what was expected and what was found.
  """
  _check_features(steps, place)
  actions = np.array(steps['actions'], np.int64)
  rewards = np.array(steps['unclipped_rewards'], np.float32)
  discounts = np.array(steps['discounts'], np.float32)
  # The last step's action has no meaning, but no other environment's either.
  _check_values(
    actions,
    (actions >= 0) & (actions < len(spec.action_names)),
    f'0 to {len(spec.action_names) - 1} ({", ".join(spec.action_names)})',
    f'{place}, step {{}}, field actions',
  )
  _check_values(
    rewards,
    np.isfinite(rewards),
    'a finite number',
    f'{place}, step {{}}, field unclipped_rewards',
  )
  last = np.arange(len(discounts)) == len(discounts) - 1
  _check_values(
    discounts,
    (discounts == 1) | (last & (discounts == 0)),
    '1, or 0 on the last step',
    f'{place}, step {{}}, field discounts',
  )
  _check_frames(steps['observations'], spec, place)
  num_transitions = len(actions) - 1
  return EncodedEpisode(
    frames=steps['observations'],
    actions=actions[:-1].astype(np.int32),
    rewards=np.concatenate([np.zeros(lead, np.float32), rewards])[:num_transitions],
    # A terminal last step says so of the transition that led to it.
    discounts=discounts[1:],
  )


def _check_features(steps: Mapping[str, Sequence], place: str) -> None:
  missing = [name for name in FEATURES if not len(steps.get(name, ()))]
  if 'episode_idx' in missing and 'episode_id' in steps:
    raise UserError(
      f'{place}, field episode_idx: expected the schema of atari_episodes_ordered, '
      'found an older one (episode_id). Download atari_episodes_ordered.'
    )
  if missing:
    raise UserError(
      f'{place}, field {missing[0]}: expected a feature of this name, found '
      f'{", ".join(sorted(steps)) or "none"}. Give files of atari_episodes_ordered.'
    )
  num_steps = len(steps['observations'])
  for name in _PER_STEP:
    if len(steps[name]) != num_steps:
      raise UserError(
        f'{place}, field {name}: expected {num_steps} values, one for each of the '
        f'observations, found {len(steps[name])}. Download or record the file anew.'
      )


def _check_values(values, is_good, expected: str, place: str) -> None:
  if not is_good.all():
    step = int(is_good.argmin())
    raise UserError(
      f'{place.format(step)}: expected {expected}, found {values[step]}. '
      'Remove the file or record it anew.'
    )


def _check_frames(frames: Sequence[bytes], spec: EnvironmentSpec, place: str) -> None:
  """Whether every frame says that it is a PNG of the right size."""
  height, width, _ = spec.observation.shape
  expected = struct.pack('>II', width, height)
  for step, frame in enumerate(frames):
    if frame[_SIZE] != expected or frame[:8] != _SIGNATURE:
      found = 'something else'
      if frame[:8] == _SIGNATURE and len(frame) >= _SIZE.stop:
        found = '{} x {}'.format(*struct.unpack('>II', frame[_SIZE]))
      raise UserError(
        f'{place}, step {step}, field observations: expected a PNG of {width} x '
        f'{height}, found {found}. Remove the file or record it anew.'
      )


def encode_png(frame: np.ndarray) -> bytes:
  """A `[height, width, 1]` uint8 frame as a PNG file, without loss.

  Rows are not filtered: that is smallest for the flat colours of Atari screens,
  and three times as fast as what Pillow makes.
  """
  height, width, _ = frame.shape
  rows = np.zeros((height, width + 1), np.uint8)  # 0 before each row: no filter
  rows[:, 1:] = frame[..., 0]
  # Width, height, 8 bits, grey, and the only methods that there are.
  header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
  pixels = zlib.compress(rows.tobytes(), _ZLIB_LEVEL)
  return _SIGNATURE + b''.join(
    struct.pack('>I', len(data))
    + kind
    + data
    + struct.pack('>I', zlib.crc32(kind + data))
    for kind, data in ((b'IHDR', header), (b'IDAT', pixels), (b'IEND', b''))
  )
