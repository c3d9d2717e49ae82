"""Pools, streams and windows small enough to be checked on paper.

Every observation names its own place, so a test can read off where a row came
from: `[episode + 1, step, 7]`, and 0 stands for nothing but padding.
"""

import dataclasses
from fractions import Fraction

import numpy as np

from alpt_jax.data.mixture import PoolWindows, Stream
from alpt_jax.data.pool import Pool
from alpt_jax.data.windows import WindowReader
from alpt_jax.specs import EnvironmentSpec, ObservationSpec, Protocol
from alpt_jax.types import Episode, Window

ACTIONS = ('down', 'left', 'right', 'up')
HASH = '00000000000000a1'


def tiny_spec(name='tiny', action_names=ACTIONS, return_range=(-1, 2)):
  """An environment whose observations are three small integers."""
  return EnvironmentSpec(
    name=name,
    action_names=tuple(action_names),
    observation=ObservationSpec('integers', (3,), 'uint8', (201, 201, 8)),
    return_range=return_range,
    protocol=Protocol(max_episode_steps=200),
  )


def tiny_episode(length, number=0, num_actions=4, terminal=True):
  """An episode of `length` transitions; its last one is rewarded with 1.

  The action of step t is `(number + t) % num_actions`.
  """
  steps = np.arange(length + 1, dtype=np.uint8)
  observations = np.stack(
    [
      np.full(length + 1, number + 1, np.uint8),
      steps,
      np.full(length + 1, 7, np.uint8),
    ],
    axis=1,
  )
  last = np.arange(length) == length - 1
  return Episode(
    observations=observations,
    actions=((number + np.arange(length)) % num_actions).astype(np.int32),
    rewards=last.astype(np.float32),
    discounts=(1 - last * terminal).astype(np.float32),
  )


def tiny_episodes(lengths=(5, 3), num_actions=4):
  """One `tiny_episode` for each length, numbered from 0."""
  return [tiny_episode(length, i, num_actions) for i, length in enumerate(lengths)]


def pool_of(episodes, spec=None, manifest_hash=HASH):
  """A pool in memory of some episodes; no file is written."""
  columns = zip(*(episode[:4] for episode in episodes), strict=True)
  fields = [np.concatenate(arrays) for arrays in columns]
  known = [
    np.ones(len(episode.actions), bool)
    if episode.is_labelled is None
    else episode.is_labelled
    for episode in episodes
  ]
  return Pool(
    spec or tiny_spec(),
    *fields,
    lengths=np.array([len(episode.actions) for episode in episodes], np.int64),
    is_labelled=np.concatenate(known),
    manifest_hash=manifest_hash,
  )


def assert_equal_episodes(one, two):
  """That two episodes are equal in every bit and dtype, and in what is known."""
  for name, a, b in zip(one._fields, one, two, strict=True):
    if a is None or b is None:
      assert a is b is None, name
    else:
      assert a.dtype == b.dtype and np.array_equal(a, b), name


def tiny_pool(lengths=(5, 3), spec=None, manifest_hash=HASH):
  """A pool in memory of `tiny_episodes(lengths)`."""
  spec = spec or tiny_spec()
  episodes = tiny_episodes(lengths, len(spec.action_names))
  return pool_of(episodes, spec, manifest_hash)


def with_actions(pool, actions):
  """The same pool (same manifest hash) with other recorded actions."""
  return dataclasses.replace(pool, actions=np.asarray(actions, np.int32))


def tiny_stream(pool, name='tiny', share=Fraction(1), ends=None, environment=0, **uses):
  """A stream over all windows of a pool (or over `ends`) that trains both models."""
  return Stream(
    name=name,
    windows=PoolWindows(
      WindowReader(pool, pool.spec.action_names, environment),
      np.arange(pool.num_transitions) if ends is None else ends,
    ),
    share=share,
    **{'idm_weight': 1.0, 'policy_weight': 1.0, 'relabel': False, **uses},
  )


def tiny_window(num_windows=2, pool=None, length=5) -> Window:
  """The last `num_windows` windows of a pool, all of it labelled."""
  pool = pool or tiny_pool()
  ends = np.arange(pool.num_transitions - num_windows, pool.num_transitions)
  return WindowReader(pool, pool.spec.action_names, 0, length)(ends)
