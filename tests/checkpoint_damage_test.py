"""Damaged checkpoints, and those that a trainer removes while they are read."""

import json
import shutil
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models as tiny

from alpt_jax.errors import UserError
from alpt_jax.training.checkpoint import Checkpoints, describe_leaves
from alpt_jax.training.fingerprint import fingerprints


def state_of(number):
  return {
    'bias': jnp.full((3,), number, jnp.float32),
    'nested': {'kernel': jnp.full((2, 3), number + 0.5), 'step': jnp.int32(number)},
  }


def shapes():
  return jax.eval_shape(lambda: state_of(0))


@pytest.fixture
def folder(tmp_path):
  """Steps 3 and 7 of a run."""
  go_on(tmp_path / 'checkpoints', 3, 7)
  return tmp_path / 'checkpoints'


def go_on(folder, *steps):
  checkpoints = Checkpoints(folder, keep=2)
  for step in steps:
    checkpoints.save(step, state_of(step), {})
  checkpoints.close()


def reader(folder):
  return Checkpoints(folder, writable=False)


def error_of(call, *arguments):
  """The one line of a UserError."""
  with pytest.raises(UserError) as raised:
    call(*arguments)
  assert '\n' not in str(raised.value)
  return str(raised.value)


def leaves_on_disk(folder, step):
  """(path, content) of the description of a step, without its digest."""
  path = folder / str(step) / 'description' / 'metadata'
  content = json.loads(path.read_text())
  assert content.pop('digest')
  return path, content


def test_each_leaf_is_described_with_its_fingerprint(folder):
  expected = dict(
    zip(describe_leaves(state_of(7)), fingerprints(state_of(7)), strict=True)
  )
  found = reader(folder).description()['leaves']
  assert {name: number for name, (_, _, number) in found.items()} == expected


def test_a_leaf_that_is_not_what_was_saved_is_named(folder):
  path, content = leaves_on_disk(folder, 7)
  content['leaves']['nested/kernel'][2] ^= 1
  path.write_text(json.dumps(content))
  message = error_of(reader(folder).restore, shapes())
  assert message.startswith(f'{folder / "7"}: this checkpoint cannot be read (leaf ')
  assert 'leaf nested/kernel is damaged: fingerprint ' in message
  assert message.endswith('Name an older step.')
  tiny.assert_same_bits(reader(folder).restore(shapes(), 3), state_of(3))


def test_a_trainer_is_told_to_remove_what_it_cannot_go_on_from(folder):
  path, content = leaves_on_disk(folder, 7)
  content['leaves']['bias'][2] ^= 1
  path.write_text(json.dumps(content))
  checkpoints = Checkpoints(folder)
  message = error_of(checkpoints.restore, shapes())
  assert message.endswith('Remove it to go on from an older step.')
  checkpoints.close()
  shutil.rmtree(folder / '7')
  checkpoints = Checkpoints(folder)
  tiny.assert_same_bits(checkpoints.restore(shapes()), state_of(3))
  checkpoints.close()


def test_a_checkpoint_of_version_0_1_0_without_fingerprints_is_restored(folder):
  path, content = leaves_on_disk(folder, 7)
  content['leaves'] = {name: leaf[:2] for name, leaf in content['leaves'].items()}
  path.write_text(json.dumps(content))
  tiny.assert_same_bits(reader(folder).restore(shapes()), state_of(7))


def test_a_flipped_byte_anywhere_in_a_description_is_one_line(folder):
  path = folder / '7' / 'description' / 'metadata'
  whole = path.read_bytes()
  expected = reader(folder).description()
  noticed = 0
  for place in range(len(whole)):
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    try:
      found = reader(folder).description()
      found.pop(next((name for name in found if name not in expected), ''), None)
      assert found == expected  # the name of the digest alone was hit
    except UserError as error:
      assert '\n' not in str(error)
      noticed += 1
  assert noticed == len(whole) - len('digest')


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_flipped_bytes_in_the_files_never_come_back_as_numbers(tmp_path):
  # Noise, which is stored as it is, and zeros, which are compressed.
  rng = np.random.default_rng(0)
  state = {
    'noise': rng.normal(size=(64, 64)).astype(np.float32),
    'zeros': np.zeros((64, 64), np.float32),
  }
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, state, {})
  checkpoints.close()
  files = [path for path in (tmp_path / '1' / 'state').rglob('*') if path.is_file()]
  reasons = []
  for _ in range(40):
    # Every file alike, but for the largest, which holds the numbers, every other time.
    damaged = max(files, key=lambda path: path.stat().st_size)
    if rng.random() < 0.5:
      damaged = files[rng.integers(len(files))]
    whole = damaged.read_bytes()
    place = rng.integers(len(whole))
    flipped = bytes([whole[place] ^ (1 << rng.integers(8))])
    damaged.write_bytes(whole[:place] + flipped + whole[place + 1 :])
    try:
      restored = reader(tmp_path).restore(jax.eval_shape(lambda: state))
      tiny.assert_same_bits(restored, state)  # a byte that nobody reads
    except UserError as error:
      assert '\n' not in str(error)
      reasons.append(str(error))
    damaged.write_bytes(whole)
  assert any('leaf noise is damaged' in reason for reason in reasons)


# A reader beside a trainer.


def beside(folder, monkeypatch, trainer_fn):
  """A reader at whose first look into a step the trainer does something."""
  checkpoints = reader(folder)
  restore = checkpoints._restore

  def disturbed(abstract, step):
    monkeypatch.undo()
    trainer_fn()
    return restore(abstract, step)

  monkeypatch.setattr(checkpoints, '_restore', disturbed)
  return checkpoints


def test_where_the_newest_was_removed_the_newest_of_now_is_read(folder, monkeypatch):
  checkpoints = beside(folder, monkeypatch, lambda: go_on(folder, 9, 11))
  tiny.assert_same_bits(checkpoints.restore(shapes()), state_of(11))


def test_a_named_step_that_was_removed_is_one_line(folder, monkeypatch):
  checkpoints = beside(folder, monkeypatch, lambda: go_on(folder, 9, 11))
  message = error_of(checkpoints.restore, shapes(), 7)
  assert 'step 7 was removed while it was read' in message
  assert message.endswith('there are [9, 11]. Name one of them.')


def test_a_folder_that_goes_away_altogether_is_one_line(folder, monkeypatch):
  checkpoints = beside(folder, monkeypatch, lambda: shutil.rmtree(folder))
  assert 'step 7 was removed while it was read' in error_of(
    checkpoints.restore, shapes()
  )


def test_beside_a_trainer_that_keeps_one_every_reading_is_of_one_step(tmp_path):
  stop = threading.Event()

  def train():
    checkpoints = Checkpoints(tmp_path, keep=1)
    step = 0
    while not stop.is_set():
      step += 1
      checkpoints.save(step, state_of(step), {})
      time.sleep(0.05)
    checkpoints.close()

  trainer = threading.Thread(target=train)
  trainer.start()
  seen = []
  try:
    while reader(tmp_path).latest_step is None:
      pass
    while len(seen) < 12:
      restored = reader(tmp_path).restore(shapes())
      seen.append(int(restored['nested']['step']))
      tiny.assert_same_bits(restored, state_of(seen[-1]))
  finally:
    stop.set()
    trainer.join()
  assert sorted(seen) == seen
  assert len(set(seen)) > 1
