"""What cannot be labelled is named, and nothing is written."""

import dataclasses
import subprocess
import sys

import pytest
import tiny_label_run
from tiny_label_run import choice, label, trained_labels

from alpt_jax.data.pool import open_pool
from alpt_jax.errors import UserError
from alpt_jax.experiment import label_run
from alpt_jax.labelling.labeller import LabellingConfig


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return tiny_label_run.write_root(tmp_path_factory.mktemp('label'))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
  tiny_label_run.small_parts(monkeypatch)


@pytest.fixture(scope='module')
def whole(root):
  return tiny_label_run.label_whole(root)


@pytest.mark.parametrize(
  'changes, said',
  [
    ({'step': 8}, r'checkpoints: no step 8; there are \[7\]'),
    ({'seed': 1}, 'labelling.json, field seed: was begun with 0, found 1. Choose anot'),
    ({'min_confidence': 0.5}, 'field min_confidence: was begun with 0.0, found 0.5'),
    ({'config': LabellingConfig('once', 16)}, 'label_by: was begun with mean, found o'),
    ({'forget': True}, 'field forget: was begun with False, found True'),
    ({'shard': (3, 3)}, 'shard 3/3: expected 0 to 2'),
    (
      {'config': LabellingConfig('middle')},
      'expected one of once, centre, mean, found',
    ),
  ],
)
def test_another_labelling_does_not_go_on(root, whole, changes, said):
  before = tiny_label_run.content(whole)
  with pytest.raises(UserError, match=said):
    label(root, whole, rlds=True, **changes)
  assert tiny_label_run.content(whole) == before


def test_somebodys_folder_is_left_alone(root, tmp_path):
  (tmp_path / 'thesis.txt').write_text('mine')
  with pytest.raises(UserError, match='exists and holds no labels, labelling.json is'):
    label(root, tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ['thesis.txt']


def test_a_model_that_does_not_fit_is_refused_before_anything_is_written(
  root, tmp_path
):
  pool, labels = open_pool(root / 'data'), trained_labels(root)

  def refused(said, text='', vocabulary=None, spec=pool.spec, name='run', **changes):
    workdir = tmp_path / name
    other = dataclasses.replace(pool, spec=spec)
    tiny_label_run.write_run(workdir, other, labels, text, vocabulary)
    there = dataclasses.replace(choice(root, tmp_path / 'out', **changes), run=workdir)
    with pytest.raises(UserError, match=said):
      label_run.label_dataset(there, lambda line: None)
    assert not (tmp_path / 'out').exists()

  refused(
    'method dt1 has no inverse dynamics model, which labels .in its phase joint.',
    'method=dt1',
    name='dt1',
  )
  refused(
    "the IDM does not know its action 'up'; did you mean 'upp'",
    vocabulary=('down', 'left', 'right', 'upp'),
    name='names',
  )
  form = dataclasses.replace(pool.spec.observation, shape=(2,), num_values=(9, 9))
  spec = dataclasses.replace(pool.spec, observation=form)
  refused('field observation: expected', spec=spec, name='form')
  protocol = dataclasses.replace(pool.spec.protocol, frame_skip=4, frame_rate=60)
  spec = dataclasses.replace(pool.spec, protocol=protocol)
  refused('field protocol: frame_skip 1, not 4', spec=spec, name='protocol')


def test_nothing_can_be_forgotten_of_what_the_run_was_not_trained_on(root, tmp_path):
  tiny_label_run.write_dataset(tmp_path / 'new', (40, 30), known=1, seed=1)
  there = choice(root, tmp_path / 'out', forget=True)
  there = dataclasses.replace(there, data=tmp_path / 'new')
  with pytest.raises(UserError, match='--forget: .*labels.json is of dataset'):
    label_run.label_dataset(there)


def test_files_of_rl_unplugged_are_packed_first(root, tmp_path):
  (tmp_path / 'Asterix').mkdir()
  (tmp_path / 'Asterix' / 'run_1-00000-of-00050').write_bytes(b'')
  there = choice(root, tmp_path / 'out')
  there = dataclasses.replace(there, data=tmp_path / 'Asterix')
  with pytest.raises(UserError, match='Pack them first: bin/convert'):
    label_run.label_dataset(there)


@pytest.mark.slow
@pytest.mark.parametrize(
  'option, said',
  [
    ('--shard=2/2', "--shard: expected i/n, i from 0 to n - 1, found '2/2'."),
    ('--shard=half', "--shard: expected i/n, i from 0 to n - 1, found 'half'."),
    ('--data=', '--data: expected a folder. See --help.'),
    ('--min_confidence=90', '90.0 is not a number in the range [0.0, 1.0]'),
  ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(option, said):
  words = [sys.executable, '-m', 'alpt_jax.bin.label', '--run=a', '--data=b']
  done = subprocess.run([*words, '--out=c', option], capture_output=True, text=True)
  assert done.returncode == 2
  assert said in done.stderr and done.stderr.count('\n') == 1
