"""An experiment's runs: shared programs, shards, failures, signals."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import tiny_configs
import tiny_models
from stub_programs import StubPrograms

from alpt_jax.errors import UserError
from alpt_jax.experiment import recording as recording_lib
from alpt_jax.experiment.recording import Recording, record
from alpt_jax.experiment.run import Run, is_done, write_status
from alpt_jax.launching import sweep, workers
from alpt_jax.partial import writer_name
from alpt_jax.report.runs import load_runs
from alpt_jax.training.step import make_joint_step


def _experiment(*runs):
  """The smoke quickstart with other runs, smaller still."""
  config = tiny_configs.get_config('quickstart', 'smoke')
  config.runs = tuple(
    f'{run},labels=20,seed=0'
    if isinstance(run, str)
    else (f'{run[0]},labels=20,seed=0', *run[1:])
    for run in runs
  )
  config.run_config = str(tiny_configs.CONFIGS / 'maze.py')
  config.record.episodes = 6
  config.overrides.training.num_steps = 2
  config.overrides.training.batch_size = 8
  config.overrides.model = {'width': 8, 'num_heads': 2, 'num_layers': 1}
  config.overrides.evaluation = {
    'num_transitions': 8,
    'num_episodes': 2,
    'max_steps': 5,
  }
  return config


def _record(planned):
  for folder, recording in planned.recordings.items():
    record(recording, folder, rlds=False)


@pytest.mark.slow
def test_methods_of_one_shape_share_one_compiled_step(tmp_path):
  """Both learn the policy from every row, and nothing else."""
  planned = sweep.plan(_experiment('method=dt1', 'method=dt5'), tmp_path)
  _record(planned)
  assert workers.run_shard(planned, 0, 1) == 0
  runs = [Run(config) for config in planned.runs.values()]
  steps = {make_joint_step(run.step_config, run.mesh) for run in runs}
  assert len(steps) == 1
  assert steps.pop()._cache_size() == 1


def test_programs_of_two_kinds_of_run_are_held_at_most(monkeypatch):
  """A third kind makes room; a kind that is held does not."""
  cleared = []
  monkeypatch.setattr(workers.jax, 'clear_caches', lambda: cleared.append(True))
  first, second, third = (tiny_models.tiny_step(shift=shift) for shift in range(3))
  held, times = frozenset(), []
  for needed in (first, second, first, third, third, second, first):
    held = workers._make_room(held, needed)
    times.append(len(cleared))
    assert needed in held
  assert times == [0, 0, 0, 1, 1, 1, 2]


def test_a_failed_run_is_shown_and_stops_no_other(tmp_path, capsys):
  """The first run's target is swapped for a dataset of another maze."""
  planned = sweep.plan(_experiment('method=dt1', 'method=dt1-idm'), tmp_path)
  _record(planned)
  folders = list(planned.runs)
  other = tmp_path / 'other'
  record(Recording('maze/tunneled/9', episodes=6), other, rlds=False)
  config = planned.runs[folders[0]]
  data = dataclasses.replace(config.data, target=str(other))
  broken = dataclasses.replace(config, data=data)
  planned = dataclasses.replace(planned, runs={**planned.runs, folders[0]: broken})
  assert workers.run_shard(planned, 0, 1) == 1
  assert 'expected maze/blocked:20/1000' in capsys.readouterr().err
  assert not is_done(folders[0])
  assert is_done(folders[1])
  states = {run.folder.name: run.state for run in load_runs(tmp_path)}
  assert states[folders[1].name] == 'done'
  # Again: the good one is skipped.
  workers.run_shard(planned, 0, 1)
  assert f'{folders[1].name}: done before' in capsys.readouterr().out


def test_shards_cover_every_run_once(tmp_path, monkeypatch):
  config = _experiment('method=dt1', 'method=dt1-idm', 'method=alpt')
  planned = sweep.plan(config, tmp_path)
  started = []
  monkeypatch.setattr(workers, 'is_done', lambda folder: started.append(folder) or True)
  workers.run_shard(planned, 0, 2)
  workers.run_shard(planned, 1, 2)
  assert sorted(started) == sorted(planned.runs)
  assert len(started) == 3


def test_a_long_run_is_balanced_by_several_short_ones():
  # 7 against 3 + 3 + 2: the last goes to the share that has 6, not 7.
  assert sweep.deal('abcd', [3, 7, 3, 2], 2) == [['b'], ['a', 'c', 'd']]
  assert sweep.deal('ab', [1, 1], 3) == [['a'], ['b'], []]


def test_a_run_that_is_listed_twice_is_refused(tmp_path):
  with pytest.raises(UserError, match='two of its runs are maze-dt1-labels20-seed0'):
    sweep.plan(_experiment('method=dt1', 'method=dt1'), tmp_path)


def test_an_unknown_field_of_the_overrides_is_named(tmp_path):
  config = _experiment('method=dt1')
  config.overrides.model.widht = 3
  with pytest.raises(
    UserError, match="model.widht: unknown field; did you mean 'width'"
  ):
    sweep.plan(config, tmp_path)


def test_the_exit_codes_of_the_workers_come_back():
  commands = [[sys.executable, '-c', f'raise SystemExit({code})'] for code in (3, 0)]
  assert workers.run_workers(commands) == [3, 0]


def _seen_by_workers(tmp_path, monkeypatch, visible, count):
  """(devices, preallocation, cores) of each worker, on a machine with two GPUs."""
  stubs = StubPrograms(tmp_path, 'nvidia-smi')
  stubs.answer(
    'nvidia-smi', '-L', ('GPU 0: H100 (UUID: a)\nGPU 1: H100 (UUID: b)\n', '', 0)
  )
  monkeypatch.setattr(workers, '_has_cuda', lambda: True)
  monkeypatch.setenv('JAX_PLATFORMS', '')
  monkeypatch.setenv('PATH', f'{stubs.bin}:{os.environ["PATH"]}')
  monkeypatch.delenv('XLA_PYTHON_CLIENT_PREALLOCATE', raising=False)
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  if visible is not None:
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
  says = (
    'import json, os, sys\n'
    'names = "CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_PREALLOCATE"\n'
    'seen = [*map(os.environ.get, names), len(os.sched_getaffinity(0))]\n'
    'open(sys.argv[1], "w").write(json.dumps(seen))\n'
  )
  files = [tmp_path / str(index) for index in range(count)]
  commands = [[sys.executable, '-c', says, str(path)] for path in files]
  assert workers.run_workers(commands) == [0] * count
  return [json.loads(path.read_text()) for path in files]


@pytest.mark.skipif(not hasattr(os, 'sched_getaffinity'), reason='Linux has it')
@pytest.mark.parametrize(
  'visible, count, expected',
  [
    (None, 2, [('0', None), ('1', None)]),
    ('3,5', 2, [('3', None), ('5', None)]),
    (None, 3, [('0', 'false'), ('1', 'false'), ('0', 'false')]),
  ],
)
def test_each_worker_gets_a_gpu_of_its_own(
  tmp_path, monkeypatch, visible, count, expected
):
  seen = _seen_by_workers(tmp_path, monkeypatch, visible, count)
  cores = len(os.sched_getaffinity(0))  # not one each: the emulators need some
  assert seen == [[device, allocate, cores] for device, allocate in expected]


@pytest.mark.skipif(not hasattr(os, 'sched_getaffinity'), reason='Linux has it')
def test_without_a_gpu_each_worker_gets_a_core(tmp_path, monkeypatch):
  seen = _seen_by_workers(tmp_path, monkeypatch, '', 2)
  assert seen == [['', 'false', 1]] * 2


def test_gpus_that_jax_will_not_use_do_not_count(monkeypatch):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0,1')
  for platforms, has_cuda, expected in (
    ('', True, ['0', '1']),
    ('cuda,cpu', True, ['0', '1']),
    ('cpu', True, []),
    ('', False, []),
  ):
    monkeypatch.setenv('JAX_PLATFORMS', platforms)
    monkeypatch.setattr(workers, '_has_cuda', lambda found=has_cuda: found)
    assert workers._gpus() == expected


def test_every_worker_gets_the_signal_and_is_waited_for(tmp_path):
  """Two workers that end with 42 half a second after they are told to stop."""
  waits = (
    'import pathlib, signal, sys, time\n'
    'def stop(*_):\n'
    '  time.sleep(0.5)\n'
    '  sys.exit(42)\n'
    'signal.signal(signal.SIGTERM, stop)\n'
    'pathlib.Path(sys.argv[1]).touch()\n'
    'time.sleep(60)\n'
  )
  ready = [tmp_path / 'a', tmp_path / 'b']

  def stop_when_ready():
    while not all(path.exists() for path in ready):
      time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)  # to the process: the main thread waits

  thread = threading.Thread(target=stop_when_ready)
  thread.start()
  before = signal.getsignal(signal.SIGTERM)
  codes = workers.run_workers([[sys.executable, '-c', waits, str(p)] for p in ready])
  thread.join()
  assert codes == [42, 42]
  assert signal.getsignal(signal.SIGTERM) == before


def test_a_recorded_dataset_says_what_it_is(tmp_path):
  pool = record(Recording('maze/tunneled/9', episodes=6), tmp_path / 'maze', rlds=False)
  assert pool.spec.name == 'maze/tunneled/9'
  assert pool.num_episodes == 6
  assert (pool.discounts[pool.starts[1:] - 1] == 0).all()
  card = json.loads((tmp_path / 'maze' / 'card.json').read_text())
  assert card['num_episodes'] == 6
  assert 0.9 < card['best_possible_idm_accuracy'] <= 1
  assert (tmp_path / 'maze' / 'picture.png').stat().st_size > 0
  with pytest.raises(UserError, match='maze: exists'):
    record(Recording('maze/tunneled/9', episodes=6), tmp_path / 'maze', rlds=False)


def test_a_recording_that_breaks_leaves_nothing(tmp_path, monkeypatch):
  def broken(*arguments):
    raise RuntimeError('the card could not be made')

  monkeypatch.setattr('alpt_jax.experiment.recording.make_card', broken)
  with pytest.raises(RuntimeError):
    record(Recording('maze/tunneled/9', episodes=2), tmp_path / 'maze', rlds=False)
  assert not list(tmp_path.iterdir())


def test_what_another_machine_recorded_meanwhile_is_taken(tmp_path, monkeypatch):
  """Two machines, one disk: both find nothing and record; the first one's stays."""
  planned = sweep.plan(_experiment('method=dt1'), tmp_path)
  ((folder, recording),) = planned.recordings.items()
  faster, write_card = [], recording_lib.write_card

  def write_late(*args):
    if not faster:
      faster.append(folder)
      record(recording, folder, rlds=False)
    write_card(*args)

  monkeypatch.setattr(recording_lib, 'write_card', write_late)
  monkeypatch.setattr(recording_lib, 'writer_name', lambda: f'host-{len(faster)}')
  workers.record_shard(planned, 0, 1)
  assert faster
  assert [path.name for path in folder.parent.iterdir()] == [folder.name]
  assert not sweep.missing_recordings(planned)


def test_what_a_killed_process_left_is_removed_and_that_of_others_is_not(tmp_path):
  host, _, _ = writer_name().rpartition('-')
  gone = subprocess.Popen([sys.executable, '-c', ''])
  gone.wait()
  for name in (f'{host}-{gone.pid}', f'{host}-{os.getppid()}', 'elsewhere-1'):
    (tmp_path / f'a.partial-{name}').mkdir()
  record(Recording('maze/tunneled/9', episodes=2), tmp_path / 'a', rlds=False)
  assert {path.name for path in tmp_path.iterdir()} == {
    'a',
    f'a.partial-{host}-{os.getppid()}',
    'a.partial-elsewhere-1',
  }


def test_every_observation_form_can_be_recorded_with_the_same_ceiling(tmp_path):
  """The ceiling depends on the cells walked through, not on how they are shown."""
  ceilings = set()
  for form in ('position', 'position_walls', 'image'):
    recording = Recording('maze/blocked:20/3', form, episodes=4)
    record(recording, tmp_path / form, rlds=False)
    card = json.loads((tmp_path / form / 'card.json').read_text())
    ceilings.add(card['best_possible_idm_accuracy'])
  assert len(ceilings) == 1


def test_a_run_may_differ_in_further_fields_under_a_title_of_its_own(tmp_path):
  changes = {'title': 'DT1, wider!', 'model': {'width': 16}}
  planned = sweep.plan(_experiment('method=dt1', ('method=dt1', changes, '')), tmp_path)
  (first, plain), (second, changed) = planned.runs.items()
  assert (first.name, second.name) == (
    'maze-dt1-labels20-seed0',
    'maze-dt1-wider-labels20-seed0',
  )
  assert (plain.model.width, changed.model.width) == (8, 16)
  assert changed.title == 'DT1, wider!'
  assert changed.training == plain.training


def test_a_field_that_no_run_has_is_named(tmp_path):
  changes = {'model': {'widht': 16}}
  with pytest.raises(UserError, match="model.widht: unknown field; did you mean 'wid"):
    sweep.plan(_experiment(('method=dt1', changes, '')), tmp_path)


@pytest.mark.slow
def test_a_run_that_starts_from_another_waits_for_its_stage(tmp_path):
  tuned = {'title': 'tuned', 'initial': 'base'}
  planned = sweep.plan(
    _experiment(
      ('method=alpt,phase=sources', {'title': 'base'}, 'base'),
      'method=dt1-idm,phase=finetune',
      ('method=alpt,phase=finetune', tuned, ''),
    ),
    tmp_path,
  )
  first, second = planned.stages
  names = [folder.name for folder in first]
  assert names == ['maze-base-labels20-seed0', 'maze-dt1-idm-finetuned-labels20-seed0']
  ((folder, run),) = second.items()
  assert folder.name == 'maze-tuned-labels20-seed0'
  assert run.initial == str(tmp_path / 'runs' / 'maze-base-labels20-seed0')
  _record(planned)
  assert workers.run_shard(planned, 0, 1, stage=0) == 0
  assert workers.run_shard(planned, 0, 1, stage=1) == 0


def test_an_initial_run_that_does_not_exist_fails_its_own_run_alone(tmp_path, capsys):
  lost = {'title': 'lost', 'initial': 'nowhere'}
  planned = sweep.plan(_experiment(('method=alpt,phase=finetune', lost, '')), tmp_path)
  _record(planned)
  assert workers.run_shard(planned, 0, 1) == 1
  assert 'nowhere, which it starts from, is not finished' in capsys.readouterr().err


def test_a_finished_run_of_another_config_is_not_taken_for_this_one(tmp_path, capsys):
  planned = sweep.plan(_experiment('method=dt1'), tmp_path)
  _record(planned)
  assert workers.run_shard(planned, 0, 1) == 0
  config = _experiment('method=dt1')
  config.overrides.training.num_steps = 3
  assert workers.run_shard(sweep.plan(config, tmp_path), 0, 1) == 1
  expected = 'holds another run; it differs in training.num_steps (there 2, now 3)'
  assert expected in capsys.readouterr().err
  (folder,) = planned.runs
  assert is_done(folder)


def test_a_half_trained_run_of_another_config_keeps_its_status(tmp_path, capsys):
  planned = sweep.plan(_experiment('method=dt1'), tmp_path)
  _record(planned)
  assert workers.run_shard(planned, 0, 1) == 0
  (folder,) = planned.runs
  write_status(folder, 'stopped')
  config = _experiment('method=dt1')
  config.overrides.training.num_steps = 3
  assert workers.run_shard(sweep.plan(config, tmp_path), 0, 1) == 1
  assert 'holds another run' in capsys.readouterr().err
  assert json.loads((folder / 'status.json').read_text())['state'] == 'stopped'


def test_no_run_starts_from_one_that_is_half_trained(tmp_path, capsys):
  tuned = {'title': 'tuned', 'initial': 'base'}
  planned = sweep.plan(
    _experiment(
      ('method=alpt,phase=sources', {'title': 'base'}, 'base'),
      ('method=alpt,phase=finetune', tuned, ''),
    ),
    tmp_path,
  )
  _record(planned)
  assert workers.run_shard(planned, 0, 1, stage=0) == 0
  # As it is after a crash: checkpoints are there, the end was not reached.
  write_status(tmp_path / 'runs' / 'maze-base-labels20-seed0', 'running')
  assert workers.run_shard(planned, 0, 1, stage=1) == 1
  assert 'is not finished' in capsys.readouterr().err
