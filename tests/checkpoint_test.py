"""Checkpoints on disk: what comes back, and what is said when nothing can."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny_models as tiny

from alpt_jax.errors import RunFailed, UserError
from alpt_jax.training.checkpoint import Checkpoints, describe_leaves
from alpt_jax.training.step import abstract_state


def state_of(number):
  return {
    'bias': jnp.full((3,), number, jnp.float32),
    'nested': {'kernel': jnp.full((2, 3), number + 0.5), 'step': jnp.int32(number)},
  }


def shapes(**changes):
  return jax.eval_shape(lambda: {**state_of(0), **changes})


@pytest.fixture
def folder(tmp_path):
  """Steps 3 and 7 of a run."""
  checkpoints = Checkpoints(tmp_path / 'checkpoints')
  for step in (3, 7):
    checkpoints.save(step, state_of(step), {'vocabulary': ['up', 'down'], 'at': step})
  checkpoints.close()
  return tmp_path / 'checkpoints'


def reader(folder):
  return Checkpoints(folder, writable=False)


def test_a_state_comes_back_bit_for_bit_with_what_was_saved_beside_it(folder):
  checkpoints = reader(folder)
  assert checkpoints.latest_step == 7
  tiny.assert_same_bits(checkpoints.restore(shapes()), state_of(7))
  tiny.assert_same_bits(checkpoints.restore(shapes(), step=3), state_of(3))
  assert checkpoints.description()['vocabulary'] == ['up', 'down']
  assert checkpoints.description(3)['at'] == 3


def test_what_is_saved_is_the_state_of_that_moment_even_if_it_is_overwritten(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  state = {'weights': jnp.arange(100_000.0)}
  expected = np.asarray(state['weights']).copy()
  consume = jax.jit(lambda tree: jax.tree.map(lambda a: a * 0, tree), donate_argnums=0)
  checkpoints.save(1, state, {})
  state = consume(state)  # while the files are still being written
  jax.block_until_ready(state)
  checkpoints.close()
  restored = reader(tmp_path).restore(jax.eval_shape(lambda: state))
  np.testing.assert_array_equal(restored['weights'], expected)


def test_only_the_last_ones_are_kept(tmp_path):
  checkpoints = Checkpoints(tmp_path, keep=2)
  for step in (1, 2, 3):
    checkpoints.save(step, state_of(step), {})
  checkpoints.close()
  assert sorted(p.name for p in tmp_path.iterdir()) == ['2', '3']


def test_a_half_written_checkpoint_is_not_seen_and_a_trainer_removes_it(folder):
  partial = folder / '9.orbax-checkpoint-tmp'
  partial.mkdir()
  assert reader(folder).latest_step == 7
  assert partial.is_dir()  # a reader touches nothing
  checkpoints = Checkpoints(folder)
  assert checkpoints.latest_step == 7
  checkpoints.save(9, state_of(9), {})  # waits for the removal, which runs beside
  checkpoints.close()
  assert not partial.exists()
  assert reader(folder).latest_step == 9


def test_leaves_are_described_by_path_shape_and_dtype():
  assert describe_leaves(state_of(0)) == {
    'bias': [[3], 'float32'],
    'nested/kernel': [[2, 3], 'float32'],
    'nested/step': [[], 'int32'],
  }


def error_of(call, *arguments, **keywords):
  """The one line of a UserError."""
  with pytest.raises(UserError) as raised:
    call(*arguments, **keywords)
  assert '\n' not in str(raised.value)
  return str(raised.value)


def test_a_missing_folder_is_named(tmp_path):
  message = error_of(reader, tmp_path / 'nowhere')
  assert message.startswith(f'{tmp_path / "nowhere"}: no checkpoints there')
  assert not (tmp_path / 'nowhere').exists()


def test_an_empty_folder_has_no_complete_checkpoint(tmp_path):
  assert 'no complete checkpoint' in error_of(reader(tmp_path).restore, shapes())


def test_an_unknown_step_lists_those_that_there_are(folder):
  for call in (
    reader(folder).description,
    lambda step: reader(folder).restore(shapes(), step),
  ):
    assert error_of(call, 5).endswith('no step 5; there are [3, 7].')


def test_another_shape_is_named_with_both(folder):
  other = shapes(nested={'kernel': jnp.zeros((2, 4)), 'step': jnp.int32(0)})
  message = error_of(reader(folder).restore, other)
  assert 'nested/kernel, expected float32 [2, 4], found float32 [2, 3].' in message


def test_another_dtype_is_named_with_both(folder):
  message = error_of(reader(folder).restore, shapes(bias=jnp.zeros(3, jnp.bfloat16)))
  assert 'bias, expected bfloat16 [3], found float32 [3].' in message


def test_a_leaf_too_many_or_too_few_is_named(folder):
  message = error_of(reader(folder).restore, shapes(extra=jnp.zeros(1)))
  assert 'extra, expected float32 [1], found nothing.' in message
  message = error_of(reader(folder).restore, {'bias': shapes()['bias']})
  assert 'nested/kernel, expected nothing, found float32 [2, 3].' in message


def test_the_first_difference_of_two_architectures_is_a_parameter(tmp_path):
  def state_shapes(**fields):
    config = tiny.tiny_step(idm=None, policy=tiny.tiny_policy(**fields))
    return abstract_state(config, tiny.random_window())

  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), state_shapes())
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, zeros, {})
  checkpoints.wait()
  tiny.assert_same_bits(checkpoints.restore(state_shapes()), zeros)
  message = error_of(checkpoints.restore, state_shapes(num_actions=6))
  assert 'params/decision_transformer/act_linear/bias, expected float32 [6]' in message
  message = error_of(checkpoints.restore, state_shapes(num_layers=2))
  assert 'sequence/h1_attn/' in message
  checkpoints.close()


@pytest.mark.parametrize('cut', ['state', 'description'])
def test_a_truncated_checkpoint_is_one_line_and_an_older_one_still_works(folder, cut):
  # Numbers this small lie inside TensorStore's own index.
  name = {'state': 'manifest.ocdbt', 'description': 'metadata'}[cut]
  damaged = folder / '7' / cut / name
  damaged.write_bytes(damaged.read_bytes()[:30])
  message = error_of(reader(folder).restore, shapes())
  assert message.startswith(f'{folder / "7"}: this checkpoint cannot be read')
  assert message.endswith('Name an older step.')
  tiny.assert_same_bits(reader(folder).restore(shapes(), 3), state_of(3))


@pytest.fixture
def foreign(tmp_path):
  """A folder with a step that some other program wrote, beside one of ours."""
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, state_of(1), {})
  checkpoints.close()
  (tmp_path / '2' / 'params').mkdir(parents=True)
  return tmp_path


def test_a_foreign_checkpoint_is_one_line(foreign):
  message = error_of(reader(foreign).restore, shapes())
  assert message.startswith(f'{foreign / "2"}: this checkpoint cannot be read')
  (foreign / '2' / 'description').mkdir()
  (foreign / '2' / 'description' / 'metadata').write_text('{"theirs": 1}')
  message = error_of(reader(foreign).description)
  assert 'its description is not one of alpt-jax' in message
  tiny.assert_same_bits(reader(foreign).restore(shapes(), 1), state_of(1))


def test_a_reason_without_words_still_gives_a_line(folder, monkeypatch):
  def broken(*arguments, **keywords):
    raise AssertionError

  monkeypatch.setattr(ocp.JsonCheckpointHandler, 'restore', broken)
  assert 'AssertionError()' in error_of(reader(folder).description)


# Saves that fail.


def test_a_save_that_fails_names_the_last_good_step(folder, monkeypatch):
  checkpoints = Checkpoints(folder)

  def full(*arguments, **keywords):
    raise OSError('No space left on device\nand a page of details')

  monkeypatch.setattr(checkpoints._manager, 'save', full)
  with pytest.raises(RunFailed) as raised:
    checkpoints.save(8, state_of(8), {})
  message = str(raised.value)
  assert (
    'step 8 could not be saved (No space left on device). Last good step: 7' in message
  )
  assert '\n' not in message
  checkpoints.close()


def test_a_save_that_fails_later_is_known_without_waiting(folder, monkeypatch):
  checkpoints = Checkpoints(folder)

  def full(*arguments, **keywords):
    raise OSError('No space left on device\nand a page of details')

  # What Orbax does last, in a thread of its own.
  monkeypatch.setattr(checkpoints._manager._checkpointer._handler, 'finalize', full)
  checkpoints.save(8, state_of(8), {})
  for _ in range(1000):
    try:
      checkpoints.check()
      time.sleep(0.01)
    except RunFailed as error:
      message = str(error)
      break
  assert 'could not be saved (No space left on device). Last good step: 7' in message
  checkpoints.check()  # said once


def test_it_is_the_caller_who_decides_when_to_save_and_nobody_else(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  # Orbax would by itself save the first step, every step, and when preempted.
  assert not checkpoints._manager.should_save(0)
  assert not checkpoints._manager.should_save(1)
  checkpoints.close()
