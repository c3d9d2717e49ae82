"""One recording under several names."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from alpt_jax.benchmark import many_games
from alpt_jax.data.shards import write_shards
from alpt_jax.errors import UserError
from alpt_jax.types import Episode


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Two shards of Breakout with an episode of 9 transitions in each."""
  folder = tmp_path_factory.mktemp('recorded')
  rng = np.random.default_rng(0)
  zeros, ones = np.zeros(9, np.float32), np.ones(9, np.float32)
  episodes = [
    Episode(
      rng.integers(0, 256, (10, 84, 84, 1)).astype(np.uint8),
      zeros.astype(int),
      zeros,
      ones,
    )
    for _ in range(2)
  ]
  write_shards(folder, 'Breakout', episodes, 2)
  return folder


def test_each_name_has_the_same_episodes_in_an_order_of_its_own(folder, tmp_path):
  sets = many_games.under_names(str(folder), 'stream', 3, tmp_path)
  assert len({each.manifest_hash for each in sets}) == 3
  window = many_games._mixed(sets, 5, 3 * 16).batch(0).window
  orders = [
    [frames[-1].tobytes() for frames in window.observations[window.environment == k]]
    for k in range(3)
  ]
  assert len({tuple(order) for order in orders}) == 3
  # 16 windows of 18 transitions each: no other frames than the recorded ones.
  assert len(set().union(*orders)) <= 18


@pytest.mark.slow
def test_figures_of_every_number_of_games(folder, tmp_path):
  path = tmp_path / 'figures.json'
  command = [sys.executable, '-m', 'alpt_jax.bin.benchmark_games', f'--data={folder}']
  command += ['--games=1,3', '--batch_size=8', '--batches=18', f'--json={path}']
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  figures = json.loads(path.read_text())['figures']['games']
  assert figures['1_games_of_fewest'] == 1
  for count in (1, 3):
    assert figures[f'{count}_games_windows_per_cpu_s'] > 0
    assert figures[f'{count}_games_own_mb'] > 10


@pytest.mark.slow
def test_what_does_not_fit_is_named(folder, tmp_path):
  with pytest.raises(UserError, match='a row for each of 41 games, found 8'):
    many_games.measure_games([str(folder)], (1, 41), 5, 8, 9)
  with pytest.raises(UserError, match='expected files run_<r>'):
    many_games.measure_games([str(tmp_path)], (1,), 5, 8, 9)


def test_what_a_process_holds_is_read_off_its_folder(tmp_path):
  (tmp_path / 'fd').mkdir()
  for name in '012':
    (tmp_path / 'fd' / name).touch()
  lines = 'VmRSS:\t9216 kB\nRssAnon:\t3072 kB\nRssFile:\t6144 kB\nThreads:\t7\n'
  (tmp_path / 'status').write_text(lines)
  assert many_games.held(str(tmp_path)) == many_games.Held(3.0, 6.0, 7.0, 3)
  assert math.isnan(many_games.held(str(tmp_path / 'none')).own_mb)
