"""A checkpoint labels and plays without the data of its run."""

import jax
import pytest
import tiny
import tiny_label_run
import tiny_models

from alpt_jax.data.labels import draw_labels
from alpt_jax.errors import UserError
from alpt_jax.experiment import trained_models
from alpt_jax.experiment.trained_models import load_labeller, player_of
from alpt_jax.methods import IDM, POLICY
from alpt_jax.training import sharding

POOL = tiny.tiny_pool((5, 3, 9))


def write_run(folder, text='', **fields):
  labels = draw_labels(POOL, 4, 0, 2)
  return tiny_label_run.write_run(folder, POOL, labels, text, **fields)


def load_player(run):
  return player_of(trained_models.load(run), run)


def test_labeller_and_player_have_the_bits_that_were_saved(tmp_path):
  run = write_run(tmp_path, vocabulary=('x', *tiny.ACTIONS))
  trained = trained_models.load(run)
  params = jax.device_get(trained.state.params)
  labeller, player = load_labeller(run), player_of(trained, run)
  tiny_models.assert_same_bits(jax.device_get(labeller.params), params[IDM])
  tiny_models.assert_same_bits(jax.device_get(player.params), params[POLICY])
  for each in (labeller, player):
    assert each.vocabulary == ('x', *tiny.ACTIONS)
  assert labeller.protocol == POOL.spec.protocol
  assert player.spec == POOL.spec


@pytest.mark.slow
def test_a_checkpoint_is_named_by_its_step_and_its_content(tmp_path):
  one = write_run(tmp_path / 'one', step=7)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  seven = trained_models.load(one, 7, mesh)
  assert seven.step == 7 and seven.mesh == mesh
  assert trained_models.load(one).digest == seven.digest
  eight = trained_models.load(write_run(tmp_path / 'two', step=8))
  assert eight.step == 8 and eight.digest != seven.digest


@pytest.mark.parametrize(
  'load, text, said',
  [
    (
      load_labeller,
      'method=dt5',
      'method dt5 has no inverse dynamics model, which lab',
    ),
    (
      load_player,
      'method=alpt-idm,phase=sources',
      'method alpt-idm has no policy, whi',
    ),
  ],
)
def test_what_a_run_does_not_train_is_named(tmp_path, load, text, said):
  with pytest.raises(UserError, match=said):
    load(write_run(tmp_path, text))
