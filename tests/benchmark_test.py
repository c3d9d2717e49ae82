"""The benchmark's input sections on tiny recordings."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from alpt_jax.benchmark import inputs
from alpt_jax.data.mixture import Mixture
from alpt_jax.data.packed import PackedPool
from alpt_jax.data.shards import write_shards
from alpt_jax.errors import UserError
from alpt_jax.experiment.recording import Recording, record
from alpt_jax.types import Episode


@pytest.fixture(scope='module')
def maze(tmp_path_factory):
  folder = tmp_path_factory.mktemp('benchmark') / 'maze'
  record(Recording('maze/tunneled/9', episodes=4), folder, rlds=False)
  return str(folder)


def test_rates_count_every_window_but_the_first_batch(maze, tmp_path, monkeypatch):
  """A clock that a batch moves on by 2 s, and the CPU's by 1: 8 windows a batch."""
  clock = {'wall': 0.0, 'cpu': 0.0}
  batch = Mixture.batch

  def slow(self, *args):
    clock['wall'] += 2.0
    clock['cpu'] += 1.0
    return batch(self, *args)

  monkeypatch.setattr(Mixture, 'batch', slow)
  monkeypatch.setattr(inputs.time, 'perf_counter', lambda: clock['wall'])
  monkeypatch.setattr(inputs.time, 'process_time', lambda: clock['cpu'])
  found = inputs.measure(inputs.open_pools([maze], tmp_path), 5, 8, 12)
  assert found.windows_per_s == pytest.approx(4.0)
  assert found.windows_per_cpu_s == pytest.approx(8.0)
  assert found.spread == pytest.approx(0.0)
  assert (found.first_batch_s, found.first_batch_cpu_s) == (2.0, 1.0)
  assert found.seconds == 11 * 2.0


def test_a_pool_is_packed_to_be_measured_so_and_a_packed_set_is_no_pool(maze, tmp_path):
  (one,) = inputs.open_packed_sets([maze], tmp_path)
  (two,) = inputs.open_packed_sets([str(tmp_path / 'packed-0')], tmp_path / 'other')
  assert isinstance(one.index, PackedPool) and isinstance(two.index, PackedPool)
  assert one.manifest_hash == two.manifest_hash
  assert inputs.measure([one], 5, 4, 3).windows_per_s > 0
  with pytest.raises(UserError, match='packed-0: expected a pool, found a packed set'):
    inputs.open_pools([str(tmp_path / 'packed-0')], tmp_path)


def test_each_of_several_processes_reads_a_host_s_rows(maze, tmp_path, monkeypatch):
  """As many rows each as one alone, of batches twice as large."""
  asked = []
  batch = Mixture.batch

  def seen(self, *args):
    asked.append((*args, len(batch(self, *args).relabel)))
    return batch(self, *args)

  monkeypatch.setattr(Mixture, 'batch', seen)
  pools, ready = inputs.open_pools([maze], tmp_path), []
  inputs.measure(pools, 5, 8, 3, 7, 1, 2, lambda: ready.append(len(asked)))
  assert asked == [(7, 1, 2, 8), (8, 1, 2, 8), (9, 1, 2, 8)]
  assert ready == [1]


@pytest.mark.slow
def test_what_several_processes_read_is_put_together(maze):
  found = inputs.measure_section('packed', [maze], 5, 8, 6, 0, 2)
  assert found['processes'] == 2
  assert found['together_windows_per_s'] > 0
  assert found['together_windows_per_cpu_s'] > 0
  assert found['together_of_one'] > 0


def test_a_folder_without_shards_is_named(maze, tmp_path):
  with pytest.raises(UserError, match='expected files run_<r>-<i>-of-<n>'):
    inputs.open_shards([maze], tmp_path)


def test_all_games_below_a_folder_are_opened_and_mixed(tmp_path):
  rng = np.random.default_rng(0)
  for game in ('Breakout', 'Freeway'):
    frames = rng.integers(0, 256, (10, 84, 84, 1)).astype(np.uint8)
    zeros, ones = np.zeros(9, np.float32), np.ones(9, np.float32)
    write_shards(tmp_path, game, [Episode(frames, zeros.astype(int), zeros, ones)], 1)
  found = inputs.open_shards([str(tmp_path)], tmp_path / 'cache')
  names = ['atari/Breakout', 'atari/Freeway']
  assert [each.spec.name for each in found] == names
  (one,) = inputs.open_shards([str(tmp_path / 'Freeway')], tmp_path / 'cache')
  assert one.spec.name == 'atari/Freeway'
  assert inputs.measure(found, 5, 4, 3).windows_per_s > 0


def test_memory_that_is_no_files_is_counted(tmp_path):
  status = tmp_path / 'status'
  status.write_text('VmRSS:\t    9216 kB\nRssAnon:\t    3072 kB\nRssFile:\t  6144 kB\n')
  assert inputs.own_mb(str(status)) == 3.0
  status.write_text('VmRSS:\t    9216 kB\n')  # an old kernel
  assert math.isnan(inputs.own_mb(str(status)))
  assert math.isnan(inputs.own_mb(str(tmp_path / 'none')))


def test_what_goes_up_and_down_has_not_grown():
  """Filling in the first quarter, then between 10 and 12, at the end 2 more."""
  assert inputs.growths([2, 6, 10, 12, 12, 10, 12, 14]) == (11.0, 2.0)
  assert inputs.growths([2, 5]) == (3.0, 0.0)


@pytest.mark.slow
def test_the_figures_are_written_with_the_machine(maze, tmp_path):
  path = tmp_path / 'figures.json'
  command = [sys.executable, '-m', 'alpt_jax.bin.benchmark', '--sections=pool']
  command += [f'--data={maze}', '--batch_size=8', '--batches=4', f'--json={path}']
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert 'windows_per_cpu_s' in done.stdout
  found = json.loads(path.read_text())
  assert found['device'] and found['versions']['jax']
  figures = found['figures']['pool']
  assert figures['windows_per_cpu_s'] > 0 and figures['of_copy'] > 0
  # 6 observations of 4 bytes, 5 transitions of 4 numbers and 2 flags, 4 actions are
  # allowed or not, an environment, two weights and a flag.
  assert figures['window_bytes'] == 6 * 4 + 5 * (4 * 4 + 2) + 4 + 4 + 2 * 4 + 1
  wrong = subprocess.run([*command, '--sections=pol'], capture_output=True, text=True)
  assert wrong.returncode == 2
  assert '--sections: expected some of step, act, ' in wrong.stderr
  assert 'pool, packed, stream, found pol.' in wrong.stderr
