"""The benchmark's sections that need no data: its arithmetic, and tiny models."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import tiny_models as tiny

from alpt_jax.benchmark import (
  acting,
  ceilings,
  labelling,
  machine,
  measured,
  peer,
  subjects,
  timing,
  training_steps,
)
from alpt_jax.benchmark.programs import Program
from alpt_jax.benchmark.timing import Timing
from alpt_jax.errors import UserError
from alpt_jax.models.flops import decision_flops
from alpt_jax.specs import ObservationSpec


def tiny_subject(batch_size=8, **fields):
  """The mazes' models, 16 wide."""
  config = subjects.config_of('tiny', batch_size, 'float32')
  fields = {'width': 16, 'num_layers': 1, 'num_heads': 2, **fields}
  model = dataclasses.replace(config.model, **fields)
  return subjects.prepare(dataclasses.replace(config, model=model))


@pytest.fixture(scope='module')
def subject():
  return tiny_subject()


@pytest.fixture(scope='module')
def limits():
  return ceilings.programs('float32', side=16, num_bytes=1_024)


def test_programs_take_turns_and_a_short_one_is_called_more_than_once():
  """`long` takes 4 s and `short` 1 s by the clock, half of it CPU; a turn 3 s."""
  now, called = [0.0], []

  def program(name, seconds):
    def run():
      called.append(name)
      now[0] += seconds

    return run

  times = timing.take_turns(
    {'long': program('long', 4.0), 'short': program('short', 1.0)},
    2,
    turn=3.0,
    wall=lambda: now[0],
    cpu=lambda: now[0] / 2,
  )
  # A turn begins with a call that does not count.
  warm_up, turn = ['long'] * 2 + ['short'] * 2, ['long'] * 2 + ['short'] * 4
  assert called == warm_up + turn + turn
  assert times['long'] == Timing((4.0, 4.0), (2.0, 2.0), 1)
  assert times['short'] == Timing((1.0, 1.0), (0.5, 0.5), 3)


def test_a_time_is_the_median_and_its_spread_half_the_distance_of_the_quartiles():
  # Sorted 1 2 3 4 9: quartiles 2 and 4.
  found = Timing((3.0, 1.0, 9.0, 2.0, 4.0), (1.0,) * 5, 1)
  assert (found.seconds, found.spread, found.cpu_seconds) == (3.0, 1.0, 1.0)
  assert Timing((3.0,), (1.0,), 1).spread == 0.0


def test_a_ratio_is_taken_turn_by_turn():
  # (6 / (1 + 2), 12 / (1 + 3), 20 / (2 + 3)) = (2, 3, 4); quartiles 2.5 and 3.5.
  above = [Timing((6.0, 12.0, 20.0), (3.0, 3.0, 3.0), 1)]
  below = [
    Timing((1.0, 1.0, 2.0), (1.0, 1.0, 1.0), 1),
    Timing((2.0, 3.0, 3.0), (1.0, 1.0, 5.0), 1),
  ]
  assert timing.ratio(above, below) == timing.Ratio(3.0, 0.5, 1.5)


def test_the_limit_is_whichever_ceiling_takes_longer():
  """A product of 100 operations in 1 s, then 2 s; a copy of 10 bytes in 1 s."""
  limits = {
    ceilings.MATMUL: Program(lambda: None, flops=100.0, moved=1),
    ceilings.COPY: Program(lambda: None, moved=10),
  }
  times = {
    ceilings.MATMUL: Timing((1.0, 2.0), (1.0, 1.0), 1),
    ceilings.COPY: Timing((1.0, 1.0), (1.0, 1.0), 1),
  }
  took = Timing((4.0, 8.0), (1.0, 1.0), 1)
  # 200 operations: 2 s of 4, 4 s of 8. 10 bytes: 1 s of each.
  work = Program(lambda: None, flops=200.0, moved=10)
  assert measured.limit_of(work, took, limits, times) == measured.Limit(
    3.0, 'matmul', 0.5
  )
  # 40 bytes: 4 s of 4, and of 8.
  moving = Program(lambda: None, flops=1.0, moved=40)
  assert measured.limit_of(moving, took, limits, times) == measured.Limit(
    4.0, 'copy', 0.75
  )


def test_a_batch_without_a_dataset_has_the_shares_of_a_run(subject):
  """A target and a source: 4 rows each, of the target's one labelled and three not."""
  batch = subject.batch()
  assert batch.window.observations.shape == (8, 6, 4)
  assert batch.window.observations.dtype == np.uint8
  assert batch.relabel.sum() == 3
  assert not batch.window.is_labelled[batch.relabel].all(1).any()
  assert batch.window.is_labelled[~batch.relabel].any(1).all()
  assert batch.idm_weight.tolist() == (1.0 - batch.relabel).tolist()


def test_screens_are_those_of_atari():
  subject = subjects.prepare(subjects.config_of('small', 8, 'bfloat16'))
  window = subject.batch(16).window
  assert window.observations.shape == (16, 6, 84, 84, 1)
  assert window.observations.dtype == np.uint8
  assert subject.steps.idm.form == 'pair'
  assert subject.steps.policy.dtype == 'bfloat16'
  assert window.allowed.shape == (16, len(subject.data.vocabulary))


def test_the_papers_size_is_table_3_and_can_be_rematerialised():
  config = subjects.config_of('paper', 32, 'float32', remat=True)
  assert (config.model.width, config.model.num_layers) == (512, 6)
  assert config.execution.remat


def test_a_size_that_is_not_known_is_named():
  with pytest.raises(
    UserError, match='--size: expected one of tiny, small, paper, fou'
  ):
    subjects.config_of('papr', 8, 'float32')


@pytest.mark.slow
def test_a_step_is_measured_beside_its_parts(subject, limits):
  section = training_steps.measure_steps(subject, limits, 2)
  record = json.loads(json.dumps(section.record()))
  parts = ['IDM step', 'DT step', 'IDM forward', 'IDM forward on rows to label']
  assert [*limits, *parts, 'joint step'] == list(record['programs'])[:7]
  for name in parts:
    found = record['programs'][name]
    assert found['seconds'] > 0 and found['cpu_seconds'] >= 0 and found['repeats'] == 2
    assert found['peak_bytes'] > 0 and found['limit'] in limits
    assert found['windows_per_s'] == pytest.approx(
      found['flops_per_s'] / found['flops'] * (3 if 'label' in name else 8)
    )
  # Of 8 rows 5 teach the IDM, 3 get labels, 7 teach the DT.
  flops = {name: found['flops'] for name, found in record['programs'].items()}
  learnt = flops['IDM step'] + flops['DT step']
  assert flops['joint step'] == learnt + flops['IDM forward on rows to label']
  assert flops['IDM step'] == 5 / 8 * 3 * flops['IDM forward']
  assert record['rows to label'] == '3 of 8'
  assert 'joint step / (IDM step + DT step + IDM forward)' in record['ratios']
  for name in (*parts, 'ceiling', 'rows to label: 3 of 8'):
    assert f'\n{name}' in section.table()


@pytest.mark.slow
def test_both_ways_of_acting_give_the_same_actions(subject, limits):
  record = acting.measure_acting(subject, limits, 2).record()
  # 16 environments, 8 random keys, drawn and greedy.
  assert record['same actions'] == '256 of 256'
  decision, passes = (record['programs'][n] for n in ('decision', 'two whole passes'))
  assert decision['flops'] < passes['flops']
  assert decision['decisions_per_s'] == pytest.approx(16 / decision['seconds'])


def test_labels_are_counted_by_window_and_by_transition(subject, limits):
  found = labelling.measure_labels(subject, limits, 2).record()['programs']
  found = found['IDM forward and argmax']
  assert found['transitions_per_s'] == pytest.approx(5 * found['windows_per_s'])


@pytest.mark.slow
def test_rematerialisation_needs_less_memory():
  # Scanned: a CPU's compiler keeps what separate layers compute twice.
  found = training_steps.step_memory(tiny_subject(256, num_layers=6, scan_layers=True))
  assert found['ratio'] == found['bytes_with_remat'] / found['bytes'] < 1


def test_operations_of_a_decision():
  # 2 layers, 8 wide; 4 patches of 4 pixels, 3 transitions; 5 returns, 4 actions.
  #   embedding   4 frames * 4 patches * 4 pixels * 8       =   512
  #   heads       8 * (5 + 4)                               =    72
  #   first frame, 4 tokens
  #     block 1   12 * 4 * 64 + 2 * 4 * 4 * 8               = 3,328
  #     block 2   2 * 4 * 64 + 10 * 64 + 2 * 4 * 8          = 1,216
  #   2 * 4 patches, 2 actions, 2 rewards, 2 returns: 14 tokens that see 18
  #     block 1   12 * 14 * 64 + 2 * 14 * 18 * 8            = 14,784
  #     block 2   2 * 14 * 64 + 10 * 64 + 2 * 18 * 8        = 2,720
  model = tiny.tiny_policy(tiny.IMAGE, num_layers=2)
  counted = 512 + 72 + 3_328 + 1_216 + 14_784 + 2_720
  assert decision_flops(model) == 2 * counted


def test_the_peer_has_as_many_tokens_and_layers():
  # 3 transitions of 4 patches and 3 more: 21 tokens, 8 wide, 2 layers; 3 passes.
  model = tiny.tiny_policy(tiny.IMAGE, num_layers=2)
  assert peer.num_tokens(model) == 21
  block = 12 * 21 * 64 + 2 * 21 * 21 * 8
  assert peer.gpt2_flops(model) == 3 * 2 * 2 * block


def test_a_peer_that_is_not_installed_is_not_measured(monkeypatch):
  monkeypatch.setattr(peer.importlib.util, 'find_spec', lambda name: None)
  found, notes = peer.programs(tiny.tiny_policy(tiny.IMAGE), 2)
  assert found == {}
  assert notes == ('GPT-2 (transformers): not measured: torch is not installed.',)


def test_more_cores_than_there_are_cannot_be_used():
  with pytest.raises(UserError, match='--cores: expected at most'):
    machine.use_cores(1_000_000)


def benchmark(*flags):
  command = [sys.executable, '-m', 'alpt_jax.bin.benchmark', *flags]
  return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_figures_are_written_with_what_they_depend_on(tmp_path):
  path = tmp_path / 'figures.json'
  flags = ['--sections=label', '--size=tiny', '--batch_size=8', '--repeats=1']
  done = benchmark(*flags, '--cores=1', f'--json={path}')
  assert done.returncode == 0, done.stderr
  assert 'IDM forward and argmax' in done.stdout
  found = json.loads(path.read_text())
  assert found['machine']['cores'] == 1 and found['machine']['cpu']
  assert found['flags']['size'] == 'tiny' and found['host_peak_bytes'] > 0
  (labels,) = found['figures'].values()
  assert labels['programs']['IDM forward and argmax']['windows_per_s'] > 0


def test_sections_that_read_episodes_ask_for_them():
  done = benchmark('--sections=label,pool')
  assert done.returncode == 2
  assert '--data: expected dataset folders for section pool' in done.stderr


def test_the_ceilings_are_of_the_shapes_that_they_are_asked_for():
  found = ceilings.programs('bfloat16', side=8, num_bytes=64)
  product = found[ceilings.MATMUL].run()
  assert product.shape == (8, 8) and product.dtype == 'bfloat16'
  assert found[ceilings.MATMUL].flops == 2 * 8**3
  assert [found[ceilings.COPY].run()[0].item() for _ in range(2)] == [-1.0, 1.0]
  assert found[ceilings.COPY].moved == 128
  assert ceilings.host_copy_rate(1_000, 2) > 0


def test_a_decision_of_atari_costs_less_than_half_of_two_plain_passes():
  # 152 * (5 + 1/6) / (312 * 6) tokens and layers = .42; embeddings hardly matter.
  spec = ObservationSpec('image', (84, 84, 1), 'uint8')
  model = tiny.tiny_policy(
    spec, context=4, width=512, num_layers=6, num_heads=8, patch_size=14
  )
  plain_pass = peer.gpt2_flops(model) / 3
  share = decision_flops(model) / (2 * plain_pass)
  assert share == pytest.approx(0.42, abs=0.01)
