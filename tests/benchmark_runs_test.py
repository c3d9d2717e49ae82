"""The benchmark's sections `convert` and `label_run` on short recordings."""

import json
import math
import time

import pytest
from benchmark_labelling_test import tiny_subject

from alpt_jax.benchmark import (
  ceilings,
  converting,
  figures_file,
  labelling,
  labelling_run,
  memory_trace,
)
from alpt_jax.errors import UserError
from alpt_jax.experiment.demo_recordings import DemoGame


def test_memory_is_looked_at_over_the_whole_time_of_a_call(monkeypatch):
  """Looks of 1, 2, 3, .. MB: a sixth of the way behind is what the end shows."""
  looks = iter(range(1, 10_000))
  monkeypatch.setattr(memory_trace.inputs, 'own_mb', lambda: float(next(looks)))
  trace = memory_trace.trace(time.sleep, 0.3)
  count = len(trace.mb)
  assert trace.mb == tuple(range(1, count + 1)) and count > 2
  rows = trace.record()
  assert rows['mb_at_a_sixth'] == count // 6 + 1
  assert rows['mb_at_end'] == rows['mb_most'] == count
  assert rows['seconds'] >= 0.3 > rows['cpu_seconds']


@pytest.mark.slow
def test_what_fails_in_a_process_of_its_own_fails_here():
  assert [each.result for each in memory_trace.traced(math.sqrt, [4], [9])] == [2, 3]
  with pytest.raises(ValueError, match='math domain error'):
    memory_trace.traced(math.sqrt, [-1])


def test_a_section_is_shown_as_rows_or_as_its_table(capsys):
  class Table:
    def table(self):
      return 'a table'

    def record(self):
      return {'b': 2}

  assert figures_file.show('one', {'a': 1}) == {'a': 1}
  assert figures_file.show('two', Table()) == {'b': 2}
  first, second = capsys.readouterr().out.splitlines()
  assert first.split() == ['one', 'a', '1.00'] and second == 'a table'


@pytest.mark.slow
def test_videos_are_converted_in_every_way():
  game = DemoGame('Breakout', num_steps=60, clip_steps=30)
  found = converting.measure_conversion(1, game, hour=120)
  # Each clip shows the frame that it begins with, and four for a decision.
  assert found['frames'] == 2 * (30 * 4 + 1)
  ways = ('decode', 'decode_grey', 'observations', 'packed', 'packed_rlds')
  long = ('small_ten_minutes', 'small_hour', 'ten_minutes')
  long = [f'{name}{ending}' for name in long for ending in ('', '_rlds')]
  for name in (*ways, *long):
    assert found[f'{name}_frames_per_cpu_s'] > 0
  for name in long:
    assert 0 < found[f'{name}_mb_at_a_sixth'] <= found[f'{name}_mb_most']


@pytest.mark.slow
def test_a_packed_set_is_labelled_alone_and_as_bin_label_does(monkeypatch):
  monkeypatch.setattr(labelling, '_MOST', 3)
  subject = tiny_subject('small', idm_form='pair', patch_size=42)
  limits = ceilings.programs('float32', side=16, num_bytes=1_024)
  section = labelling_run.measure_label_runs(subject, limits, 1, 600, 2_000)
  found = json.loads(json.dumps(section.record()))
  assert found['programs']['reading, once']['transitions_per_s'] > 0
  for name, count in (('demo', 600), ('hour_in_one', 2_000), ('hour_in_many', 2_000)):
    seconds = found[f'{name}: cpu_seconds']
    rate = found[f'{name}: transitions_per_cpu_s']
    assert rate == pytest.approx(count / seconds, rel=0.01)
    assert 0 <= found[f'{name}: waited'] < 1
    assert 0 < found[f'{name}: mb_at_a_sixth'] <= found[f'{name}: mb_most']


def test_a_model_of_mazes_labels_no_games():
  with pytest.raises(UserError, match='expected a --size whose model sees screens'):
    labelling_run.measure_label_runs(tiny_subject(), {}, 1)
