"""RL Unplugged shards as a run's data: the same windows as a pool of the episodes."""

import dataclasses

import numpy as np
import pytest
import tiny_configs

from alpt_jax import specs
from alpt_jax.data import rl_unplugged
from alpt_jax.data.labels import Labels
from alpt_jax.data.pool import write_pool
from alpt_jax.data.shards import recorded_runs, write_shards
from alpt_jax.data.windows import with_frames
from alpt_jax.errors import UserError
from alpt_jax.experiment import datasets
from alpt_jax.experiment.config import from_mapping
from alpt_jax.experiment.recorded import PoolSet, View
from alpt_jax.experiment.recording import card_of
from alpt_jax.experiment.run import Run
from alpt_jax.experiment.shard_set import ShardSet
from alpt_jax.types import Episode

GAMES = ('Breakout', 'Freeway')
# Dealt to two shards in turn, so the manifest has them as 14, 9, 3, 12.
LENGTHS = (14, 3, 9, 12)
VOCABULARY = specs.ALE_ACTIONS
VIEW = View(VOCABULARY, environment=0, length=5, seed=3)


def _episode(length, number, num_actions):
  rng = np.random.default_rng([length, number])
  return Episode(
    rng.integers(0, 256, (length + 1, 84, 84, 1)).astype(np.uint8),
    rng.integers(0, num_actions, length).astype(np.int32),
    rng.integers(-2, 3, length).astype(np.float32),
    (np.arange(length) < length - 1).astype(np.float32),
  )


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """Two games of four episodes in two shards each; not to be changed."""
  root = tmp_path_factory.mktemp('rlu')
  for game in GAMES:
    num_actions = len(specs.atari_spec(game, specs.RL_UNPLUGGED_PROTOCOL).action_names)
    episodes = [_episode(n, i, num_actions) for i, n in enumerate(LENGTHS)]
    write_shards(root, game, episodes, 2)
  return root


@pytest.fixture(scope='module')
def shards(root):
  cache = root / 'cache'
  manifest = rl_unplugged.scan(root, 'Breakout', cache, (1,), say=lambda line: None)
  return ShardSet(manifest, str(root), cache)


@pytest.fixture(scope='module')
def pool(shards, tmp_path_factory):
  """The same episodes as a pool."""
  episodes = [
    Episode(rl_unplugged.decode(episode.frames), *episode[1:])
    for _, episode in rl_unplugged.read_episodes(shards.index, shards.folder)
  ]
  folder = tmp_path_factory.mktemp('pool') / 'pool'
  return PoolSet(write_pool(folder, shards.spec, episodes))


def _labels(of):
  """Episode 2 is held out; 0 has a segment inside, 1 one at its start and its end."""
  segments = ((0, 6, 3), (1, 0, 2), (1, 8, 1))
  return Labels(of.manifest_hash, 0, segments, (2,))


def _sorted_rows(window):
  """The fields of windows, in the order of their last frames."""
  order = np.argsort([frames[-1].tobytes() for frames in window.observations])
  return [np.asarray(field)[order] for field in window]


def _assert_same(one, two):
  for a, b in zip(_sorted_rows(one), _sorted_rows(two), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('within', [5, 4])
def test_labelled_windows_are_those_of_a_pool(shards, pool, within):
  # Returns-to-go among them: over the whole episodes, not over the slices.
  streams = [each.labelled(VIEW, _labels(each), within) for each in (shards, pool)]
  counts = [len(stream.ends) for stream in streams]
  # 7 windows of five hold one of steps 6 to 8, 6 one of 0 and 1; step 8 is the last.
  assert counts[0] == counts[1] == (3 + within - 1) + (2 + within - 1) + 1
  windows = [
    with_frames(stream.take(0, counts[0], (0, 'x')), stream.frames)
    for stream in streams
  ]
  _assert_same(*windows)
  assert windows[0].is_labelled.any(1).all()


@pytest.mark.parametrize('heldout', [False, True])
def test_evaluation_truth_is_that_of_a_pool(shards, pool, heldout, tmp_path):
  shards = dataclasses.replace(shards, cache=tmp_path / 'cache')
  # All there is: 38 transitions, 3 of them held out and 6 labelled.
  found = [e.evaluation(VIEW, _labels(e), 1_000, heldout) for e in (shards, pool)]
  _assert_same(found[0].window, found[1].window)
  for each in found:
    assert each.counted.sum() == (3 if heldout else 29)
    # What is counted is hidden from the model, and known to the evaluation.
    assert not each.window.is_labelled[each.counted].any()
    assert not each.window.actions[each.counted].any()
  orders = [np.argsort([o[-1].tobytes() for o in e.window.observations]) for e in found]
  for name in ('true_actions', 'counted'):
    one, two = (getattr(e, name)[o] for e, o in zip(found, orders, strict=True))
    np.testing.assert_array_equal(one, two)


def test_what_was_cut_out_once_is_read_from_the_cache(shards, tmp_path, monkeypatch):
  shards = dataclasses.replace(shards, cache=tmp_path)
  first = shards.evaluation(VIEW, _labels(shards), 10, False)

  def fail(*args):
    raise AssertionError('read the shards again')

  monkeypatch.setattr(rl_unplugged, 'read_episodes', fail)
  again = shards.evaluation(VIEW, _labels(shards), 10, False)
  _assert_same(first.window, again.window)


def _config(root, tmp_path, text, **data):
  where = f'rl_unplugged={root},root={tmp_path}'
  fields = tiny_configs.get_config(
    'atari', f'{where},target=Breakout,sources=Freeway,{text}'
  )
  fields.data.update({'labels': 10, 'segment_length': 4, 'runs': (1,), **data})
  fields.data.heldout_share = 0.25
  fields.model.update({'width': 8, 'num_heads': 2, 'num_layers': 1, 'patch_size': 42})
  fields.training.update({'num_steps': 2, 'batch_size': 8})
  fields.evaluation.update({'num_transitions': 8, 'num_episodes': 1, 'max_steps': 3})
  return from_mapping(fields)


@pytest.mark.parametrize('method', ['alpt', 'oracle'])
def test_batches_hide_what_a_method_must_not_see(root, tmp_path, method):
  phase = 'pretrain' if method == 'alpt' else 'finetune'
  config = _config(root, tmp_path, f'method={method},phase={phase}')
  data = datasets.load(config)
  mixture = datasets.make_mixture(config, data)
  batches = [mixture.batch(step) for step in range(12)]
  again = datasets.make_mixture(config, datasets.load(config)).batch(7)
  for one, two in zip(batches[7].window, again.window, strict=True):
    np.testing.assert_array_equal(one, two)
  known = _known(data) if method == 'alpt' else None
  (heldout,) = data.labels.heldout_episodes
  for batch in batches:
    window = batch.window
    target = window.environment == 0
    assert (window.is_labelled[~target] == window.valid[~target]).all()
    places = _places(data, window.observations[target])
    assert heldout not in places[..., 0]
    for row, labelled in zip(places, window.is_labelled[target], strict=True):
      for (episode, step), is_labelled in zip(row.tolist(), labelled, strict=True):
        expected = episode >= 0 and (known is None or (episode, step) in known)
        assert is_labelled == expected
    assert not window.actions[~window.is_labelled].any()


def _known(data):
  """(episode, step) of every labelled transition."""
  return {
    (episode, first + step)
    for episode, first, count in data.labels.segments
    for step in range(count)
  }


def _places(data, observations):
  """`[B, T, 2]` (episode, step) that each window's transitions start from; -1: none."""
  manifest = data.target.index
  frames = {}
  for index, episode in rl_unplugged.read_episodes(manifest, data.target.folder):
    for step, frame in enumerate(rl_unplugged.decode(episode.frames)):
      frames[frame.tobytes()] = index, step
  return np.array(
    [
      [frames.get(frame.tobytes(), (-1, -1)) for frame in row[:-1]]
      for row in observations
    ]
  )


@pytest.mark.slow
def test_a_run_trains_and_is_scored_on_shards(root, tmp_path, capsys):
  config = _config(root, tmp_path, 'phase=pretrain')
  state = Run(config).train(tmp_path / 'run')
  assert int(state.step) == 2
  assert 'idm_accuracy' in (tmp_path / 'run' / 'metrics.jsonl').read_text()


def test_a_set_that_shows_its_screen_in_another_way_is_refused(shards):
  protocol = dataclasses.replace(specs.RL_UNPLUGGED_PROTOCOL, frame_skip=2)
  other = specs.atari_spec('Freeway', protocol)
  with pytest.raises(UserError, match='field protocol: frame_skip 2, not 4 as in'):
    datasets._check_alike('x', other, 'y', shards.spec)


def test_the_card_of_shards_counts_every_run(root):
  card = card_of(root / 'Breakout')
  assert card['num_episodes'] == 4
  assert card['num_transitions'] == 38
  assert card['unchanged_share'] == 0  # random frames
  assert card['source'] == 'RL Unplugged shards of Breakout, runs 1'


def test_runs_are_read_out_of_the_names_of_whole_shards(tmp_path):
  names = 'run_1-00000-of-00002 run_12-00001-of-00002 run_12-00000-of-00002'
  others = 'run_x-00000-of-00001 run_3-00000-of-00001.gstmp run_4-notes manifest.json'
  for name in f'{names} {others}'.split():
    (tmp_path / name).touch()
  assert recorded_runs(tmp_path) == [1, 12]
  assert recorded_runs(tmp_path / 'nowhere') == []
