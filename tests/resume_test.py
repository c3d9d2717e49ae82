"""Stopping and going on, bit for bit; and a labeller that learns what can be seen."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
from fractions import Fraction

import jax
import numpy as np
import pytest
import tiny
import tiny_models

from alpt_jax.data.mixture import Mixture
from alpt_jax.errors import Preempted
from alpt_jax.methods import IDM
from alpt_jax.specs import ObservationSpec
from alpt_jax.training import sharding
from alpt_jax.training.checkpoint import Checkpoints
from alpt_jax.training.loop import Schedule, fit
from alpt_jax.training.metrics import MetricWriter
from alpt_jax.training.step import abstract_state, init_state, make_joint_step
from alpt_jax.training.timing import StepTimes

NUM_STEPS = 6


class Run:
  """All that a process builds anew from a config before it trains or goes on.

  Dropout, sampled labels and LAMB: whatever has a state or a random key takes part.
  """

  def __init__(self, fsdp=1):
    pool = tiny.tiny_pool((7, 9))
    seen = pool.spec.observation
    self.config = tiny_models.tiny_step(
      idm=tiny_models.tiny_idm(seen, num_transitions=5, dropout=0.1),
      policy=tiny_models.tiny_policy(seen, return_range=(-1, 2), dropout=0.1),
      optimizer=tiny_models.tiny_optimizer(
        name='lamb', warmup_steps=3, weight_decay=0.1, clip=1.0
      ),
      relabelling='sample',
    )
    hidden = np.arange(pool.num_transitions) % 3 > 0
    visible = pool_without(pool, hidden)
    streams = [
      tiny.tiny_stream(visible, 'labelled', Fraction(1, 4)),
      tiny.tiny_stream(visible, 'target', Fraction(3, 4), idm_weight=0.0, relabel=True),
    ]
    self.mixture = Mixture(streams, batch_size=8, seed=0)
    self.mesh = sharding.make_mesh(fsdp)

  def batch(self, step):
    return sharding.place_batch(self.mixture.batch(step), self.mesh)

  @property
  def example(self):
    return jax.tree.map(lambda rows: rows[:1], self.mixture.batch(0).window)

  def fresh(self):
    shapes = abstract_state(self.config, self.example)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    state = zeros._replace(params=tiny_models.loud(shapes.params))
    return jax.device_put(state, sharding.state_shardings(state, self.mesh))

  def restore(self, checkpoints, step=None):
    shapes = abstract_state(self.config, self.example)
    placed = jax.tree.map(
      lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
      shapes,
      sharding.state_shardings(shapes, self.mesh),
    )
    return checkpoints.restore(placed, step)

  def train(self, folder, num_steps=NUM_STEPS, before_step=lambda step: None):
    """From the folder's last checkpoint, or afresh; returns the final state."""
    folder.mkdir(exist_ok=True)
    checkpoints = Checkpoints(folder / 'checkpoints', keep=100)
    resumed = checkpoints.latest_step
    state = self.fresh() if resumed is None else self.restore(checkpoints)
    step_fn = make_joint_step(self.config)

    def interruptible(state, batch, key):
      before_step(int(state.step) + 1)
      return step_fn(state, batch, key)

    writer = MetricWriter(folder, resumed or 0)
    try:
      state = fit(
        state,
        step_fn=interruptible,
        batch_fn=self.batch,
        key=jax.random.key(0),
        schedule=Schedule(num_steps, 1, 0, checkpoint_every=3),
        checkpoints=checkpoints,
        description={},
        writer=writer,
        evaluate_fn=lambda step, state: {},
        times=StepTimes(1),
      )
    finally:
      writer.close()
      checkpoints.close()
    return jax.device_get(state)

  def go_on(self, state):
    """(final state, losses of the steps up to it)."""
    step_fn, losses = make_joint_step(self.config), []
    for step in range(int(state.step), NUM_STEPS):
      state, metrics = step_fn(state, self.batch(step), jax.random.key(0))
      losses.append([float(metrics[name]) for name in ('idm_loss', 'policy_loss')])
    return state, np.array(losses)


def pool_without(pool, hidden):
  """The pool as training sees it: some actions are gone."""
  actions = np.where(hidden, 0, pool.actions)
  return dataclasses.replace(pool, actions=actions, is_labelled=~hidden)


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
  """(folder, final state) of a run that nothing stopped; steps 3 and 6 are saved."""
  folder = tmp_path_factory.mktemp('runs') / 'straight'
  return folder, Run().train(folder)


def metric_rows(folder):
  """The rows without what was measured of the machine."""
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  measured = ('_seconds', '_per_second', '_bytes')
  return [
    {name: v for name, v in json.loads(line).items() if not name.endswith(measured)}
    for line in lines
  ]


def test_training_changes_every_parameter(straight):
  # Or else the equalities below would say little.
  fresh = tiny_models.leaf_items(jax.device_get(Run().fresh().params))
  trained = tiny_models.leaf_items(straight[1].params)
  same = [name for name in fresh if np.array_equal(fresh[name], trained[name])]
  assert same == []


def test_six_steps_are_three_and_a_kill_and_three_more(straight, tmp_path):
  def killed(step):
    if step == 5:
      raise KeyboardInterrupt  # after the checkpoint of step 3

  with pytest.raises(KeyboardInterrupt):
    Run().train(tmp_path, before_step=killed)
  state = Run().train(tmp_path)
  tiny_models.assert_same_bits(state, straight[1])
  assert metric_rows(tmp_path) == metric_rows(straight[0])


def test_a_run_that_was_asked_to_stop_ends_with_the_same_bits(straight, tmp_path):
  def stopped(step):
    if step == 2:
      os.kill(os.getpid(), signal.SIGTERM)

  with pytest.raises(Preempted, match='SIGTERM at step 2: saved'):
    Run().train(tmp_path, before_step=stopped)
  state = Run().train(tmp_path)
  tiny_models.assert_same_bits(state, straight[1])
  assert metric_rows(tmp_path) == metric_rows(straight[0])


# The same in a process of its own, which compiles everything anew.
ELSEWHERE = """
  import pathlib, sys
  import jax
  import numpy as np
  import resume_test
  import tiny_models
  from alpt_jax.training import sharding
  from alpt_jax.training.checkpoint import Checkpoints

  sharding._SMALL = 1  # so that these small leaves are split at all
  folder, out = map(pathlib.Path, sys.argv[1:3])
  num_devices, fsdp = map(int, sys.argv[3:5])
  assert jax.device_count() == num_devices
  run = resume_test.Run(fsdp)
  state = run.restore(Checkpoints(folder / 'checkpoints', writable=False), step=3)
  split = [leaf for leaf in jax.tree.leaves(state) if not leaf.is_fully_replicated]
  assert bool(split) == (fsdp > 1)
  restored = tiny_models.leaf_items(jax.device_get(state))
  state, losses = run.go_on(state)
  final = tiny_models.leaf_items(jax.device_get(state))
  np.savez(
    out,
    losses=losses,
    **{f'restored/{name}': array for name, array in restored.items()},
    **{f'final/{name}': array for name, array in final.items()},
  )
"""


def go_on_elsewhere(folder, num_devices, fsdp, out):
  """(restored leaves of step 3, leaves of step 6, the losses between them)."""
  tests = pathlib.Path(__file__).parent
  command = [sys.executable, '-c', textwrap.dedent(ELSEWHERE), str(folder), str(out)]
  devices = f'--xla_force_host_platform_device_count={num_devices}'
  subprocess.run(
    [*command, str(num_devices), str(fsdp)],
    env={
      **os.environ,
      # Beside the flags of this process, without which bits would differ.
      'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {devices}',
      'JAX_PLATFORMS': 'cpu',
      'JAX_ENABLE_COMPILATION_CACHE': 'false',
      'PYTHONPATH': os.pathsep.join([str(tests), str(tests.parent)]),
    },
    check=True,
  )
  found = dict(np.load(out))
  losses, parts = found.pop('losses'), {'restored': {}, 'final': {}}
  for name, array in found.items():
    part, _, leaf = name.partition('/')
    parts[part][leaf] = array
  return parts['restored'], parts['final'], losses


@pytest.mark.slow
def test_another_process_ends_with_the_same_bits(straight, tmp_path):
  _, final, _ = go_on_elsewhere(straight[0], 1, 1, tmp_path / 'elsewhere.npz')
  tiny_models.assert_same_bits(final, tiny_models.leaf_items(straight[1]))


@pytest.mark.slow
@pytest.mark.parametrize('fsdp', [1, 4])
def test_four_devices_go_on_from_what_one_has_saved(straight, tmp_path, fsdp):
  run = Run()
  state = run.restore(Checkpoints(straight[0] / 'checkpoints', writable=False), step=3)
  expected = tiny_models.leaf_items(jax.device_get(state))
  _, expected_losses = run.go_on(state)
  restored, _, losses = go_on_elsewhere(
    straight[0], 4, fsdp, tmp_path / 'elsewhere.npz'
  )
  tiny_models.assert_same_bits(restored, expected)
  np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)


# What can be seen can be learnt: a bright block on a ring of four cells moves left,
# stays, or moves right.

RING = ObservationSpec('image', (2, 8, 1), 'uint8')
MOVES = 3


def moving_blocks(num_windows, seed, shuffled):
  """Batches of 2 transitions; `shuffled` labels belong to other windows."""
  rng = np.random.default_rng(seed)
  actions = rng.integers(0, MOVES, (num_windows, 2)).astype(np.int32)
  places = rng.integers(0, 4, (num_windows, 1)) + np.cumsum(
    np.concatenate([np.zeros((num_windows, 1), int), actions - 1], axis=1), axis=1
  )
  observations = np.zeros((num_windows, 3, 2, 8, 1), np.uint8)
  row, frame = np.ogrid[:num_windows, :3]
  for column in (0, 1):
    observations[row, frame, :, 2 * (places % 4) + column] = 255
  window = tiny_models.random_window(RING, num_windows, length=2)._replace(
    observations=observations,
    actions=rng.permutation(actions) if shuffled else actions,
    allowed=np.ones((num_windows, MOVES), bool),
  )
  return tiny_models.batch_of(window, policy_weight=0.0)


def learnt_accuracy(shuffled, num_steps=300):
  """Share of actions that a trained labeller finds in windows it never saw."""
  config = tiny_models.tiny_step(
    idm=tiny_models.tiny_idm(
      RING, num_actions=MOVES, num_transitions=2, width=16, num_layers=2
    ),
    policy=tiny_models.tiny_policy(RING, num_actions=MOVES, context=1),
    optimizer=tiny_models.tiny_optimizer(learning_rate=3e-3, warmup_steps=20, clip=1.0),
  )
  batches = moving_blocks(64 * num_steps, 0, shuffled)
  state = init_state(
    config, jax.tree.map(lambda rows: rows[:1], batches.window), seed=0
  )
  step_fn = make_joint_step(config)
  for step in range(num_steps):
    rows = slice(64 * step, 64 * (step + 1))
    batch = jax.tree.map(lambda array, rows=rows: array[rows], batches)
    state, _ = step_fn(state, batch, jax.random.key(0))
  window = moving_blocks(1000, 1, shuffled=False).window
  logits = config.idm.apply(
    {'params': state.params[IDM]}, window.observations, window.valid
  )
  return float((logits.argmax(-1) == window.actions).mean())


@pytest.mark.slow
def test_the_labeller_learns_what_can_be_seen():
  assert learnt_accuracy(shuffled=False) >= 0.99


@pytest.mark.slow
def test_the_labeller_learns_nothing_from_shuffled_labels():
  # Guessing finds 1/3.
  assert learnt_accuracy(shuffled=True) < 0.5
