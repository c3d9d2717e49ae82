"""One run on several devices and processes: real ones, on localhost, on a CPU."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tiny_configs
from tiny_processes import (
  ROOT,
  finish,
  launch,
  launching,
  metrics,
  rows,
  wait_for_step,
)

# Wide enough that leaves are split over fsdp; dropout and LAMB take part.
_WIDE = (
  '--config.model.width=128',
  '--config.model.dropout=0.1',
  '--config.optimizer.name=lamb',
  '--config.training.num_steps=20',
)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  root = tmp_path_factory.mktemp('data')
  tiny_configs.record_mazes(root)
  return root


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('compiled')


@pytest.fixture
def start(data, cache):
  yield from launching(data, cache)


def losses(workdir):
  """(20, 2): every step has one row."""
  found = metrics(workdir)
  assert [row['step'] for row in found] == list(range(1, 21))
  return np.array([[row['idm_loss'], row['policy_loss']] for row in found])


@pytest.fixture(scope='module')
def undisturbed(data, cache, tmp_path_factory):
  """The losses of a run on one device."""
  workdir = tmp_path_factory.mktemp('undisturbed') / 'one'
  finish(launch(data, cache, workdir, *_WIDE))
  return losses(workdir)


@pytest.mark.slow
def test_the_losses_do_not_depend_on_devices_and_processes(
  start, tmp_path, undisturbed
):
  for name, count, devices, fsdp in (
    ('data', 1, 4, 1),
    ('both', 1, 4, 2),
    ('fsdp', 1, 4, 4),
    ('processes', 2, 2, 1),
    ('state across processes', 2, 2, 4),
  ):
    workdir = tmp_path / name
    options = (*_WIDE, f'--config.execution.fsdp={fsdp}')
    finish(start(workdir, *options, count=count, devices=devices))
    np.testing.assert_allclose(losses(workdir), undisturbed, rtol=1e-5, err_msg=name)
    (evaluation,) = metrics(workdir, 'evaluation')
    assert evaluation['step'] == 20
    assert json.loads((workdir / 'status.json').read_text())['state'] == 'done'
  # What was trained on four devices that share a state is scored on one.
  command = [sys.executable, '-m', 'alpt_jax.bin.evaluate']
  command += [f'--run={tmp_path / "fsdp"}']
  subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
  scores = json.loads((tmp_path / 'fsdp' / 'scores.json').read_text())
  (evaluation,) = metrics(tmp_path / 'fsdp', 'evaluation')
  assert scores['idm_accuracy'] == pytest.approx(evaluation['idm_accuracy'])


@pytest.mark.slow
def test_asked_to_stop_one_of_two_processes_both_save_and_any_number_goes_on(
  start, tmp_path, undisturbed
):
  two = tmp_path / 'two'
  processes = start(two, *_WIDE, count=2)
  wait_for_step(two, 3, processes)
  processes[1].send_signal(signal.SIGTERM)
  said = finish(processes, expect=42)
  assert all('stopped: SIGTERM at step' in text for text in said)
  step = rows(two)[-1]
  assert 3 <= step < 20
  assert [path.name for path in (two / 'checkpoints').iterdir()] == [str(step)]
  for name, count, devices in (
    ('one', 1, 1),
    ('four devices', 1, 4),
    ('two again', 2, 1),
    ('four', 4, 1),
  ):
    workdir = tmp_path / 'continued' / name
    shutil.copytree(two, workdir)
    finish(start(workdir, *_WIDE, count=count, devices=devices))
    np.testing.assert_allclose(losses(workdir), undisturbed, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_two_processes_finetune_as_one_does(start, tmp_path):
  base = tmp_path / 'base'
  finish(start(base, '--config.training.num_steps=4', phase='pretrain'))
  found = []
  for count in (1, 2):
    workdir = tmp_path / f'tuned by {count}'
    options = ('--config.training.num_steps=4', f'--from={base}')
    finish(start(workdir, *options, count=count, phase='finetune'))
    found.append([row['policy_loss'] for row in metrics(workdir)])
  assert len(found[0]) == 4
  np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


@pytest.mark.slow
def test_processes_that_do_not_share_the_folder_are_told_so(start, tmp_path):
  elsewhere = {1: [f'--workdir={tmp_path / "b"}']}
  said = finish(start(tmp_path / 'a', count=2, own=elsewhere), expect=2)
  for text in said:
    assert 'processes [1] do not see what process 0 wrote there' in text
  assert not (tmp_path / 'b').exists()


@pytest.mark.slow
def test_processes_with_different_configs_are_told_what_differs(start, tmp_path):
  other = {1: ['--config.training.num_steps=21']}
  said = finish(start(tmp_path / 'a', count=2, own=other), expect=2)
  for index, text in enumerate(said):
    assert 'config: processes [1] have another than process 0' in text
    assert f'this is process {index}' in text


@pytest.mark.slow
def test_what_ends_the_lead_before_the_first_step_ends_all(start, tmp_path):
  (tmp_path / 'a' / 'metrics.jsonl').mkdir(parents=True)  # nothing can be written there
  lead, other = finish(start(tmp_path / 'a', count=2), expect=1)
  assert 'metrics.jsonl' in lead.splitlines()[-1]
  assert 'process 0 could not go on; its output says why' in other


@pytest.mark.slow
@pytest.mark.parametrize(
  'options, said',
  [
    (['--expect_processes=2'], 'expected 2 processes, found 1'),
    (['--distributed=on'], 'no cluster was found'),
    (['--process_id=0'], '--coordinator, --num_processes: missing'),
    (
      ['--coordinator=here', '--num_processes=1', '--process_id=0'],
      '--coordinator: expected HOST:PORT, found here',
    ),
    (['--config.execution.fsdp=3'], 'expected a divisor of the 2 devices, found 3'),
    (['--config.execution.microbatches=16'], 'expected a multiple of 32, the devices'),
  ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(start, tmp_path, options, said):
  (text,) = finish(start(tmp_path / 'a', *options, devices=2), expect=2)
  assert said in text
  assert len(text.strip().splitlines()) == 1
