"""Optimisers, shardings, metric files and the loop, on states of a few numbers."""

import gc
import json
import os
import signal
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_models as tiny
from jax.sharding import AbstractMesh, PartitionSpec

from alpt_jax.errors import Preempted, RunFailed
from alpt_jax.training import sharding
from alpt_jax.training.checkpoint import Checkpoints
from alpt_jax.training.loop import Schedule, fit
from alpt_jax.training.metrics import MetricWriter, Progress
from alpt_jax.training.optimizer import OptimizerConfig, decays, make_optimizer
from alpt_jax.training.timing import StepTimes

# The optimiser.


def updates(config: OptimizerConfig, gradients, params=None):
  """The update of each step for a list of gradient trees; parameters stay."""
  rule = make_optimizer(config)
  params = params or {'kernel': jnp.ones(1), 'bias': jnp.ones(1)}
  state, made = rule.init(params), []
  for gradient in gradients:
    update, state = rule.update(gradient, state, params)
    made.append(jax.device_get(update))
  return made


def no_gradient(count):
  return [{'kernel': jnp.zeros(1), 'bias': jnp.zeros(1)}] * count


def kernel_updates(**fields):
  config = tiny.tiny_optimizer(weight_decay=0.5, **fields)
  return [float(u['kernel'][0]) for u in updates(config, no_gradient(7))]


def test_only_dense_kernels_decay():
  policy = tiny.tiny_policy(tiny.IMAGE)
  window = tiny.random_window(tiny.IMAGE, num_windows=1, length=3)
  params = tiny.loud_params(
    policy,
    window.observations[:, :3],
    *[np.zeros((1, 3), np.int32)] * 4,
    window.valid,
  )
  decayed = {name for name, does in tiny.leaf_items(decays(params)).items() if does}
  layer = ['attn/key', 'attn/linear', 'attn/query', 'attn/value', 'mlp_in', 'mlp_out']
  heads = ['act_linear', 'ret_linear', 'rew_linear', 'observation/image_emb']
  expected = heads + [f'sequence/h0_{name}' for name in layer]
  assert decayed == {f'{name}/kernel' for name in expected}


def test_decay_leaves_a_bias_alone():
  config = tiny.tiny_optimizer(weight_decay=0.5)
  (update,) = updates(config, no_gradient(1))
  # Without a gradient: learning rate 1e-2 times decay 0.5 times the weight 1.
  assert update['kernel'] == pytest.approx(-0.005)
  assert update['bias'] == 0


def test_warm_up_is_linear_from_nothing():
  made = kernel_updates(warmup_steps=4)
  # Decay 0.5 times 1e-2 times 0/4, 1/4, 2/4, 3/4 and then 1.
  expected = [0, -0.00125, -0.0025, -0.00375, -0.005, -0.005, -0.005]
  np.testing.assert_allclose(made, expected, atol=1e-9)


@pytest.mark.parametrize('schedule', ['constant', 'cosine'])
def test_without_warm_up_the_first_step_has_the_full_rate(schedule):
  made = kernel_updates(warmup_steps=0, schedule=schedule, num_steps=100)
  assert made[0] == pytest.approx(-0.005)


def test_cosine_falls_to_nothing_at_the_last_step():
  made = kernel_updates(warmup_steps=2, schedule='cosine', num_steps=6)
  # After the warm-up (1 + cos(pi * 0/4, 1/4, 2/4, 3/4, 4/4)) / 2 of the rate.
  half = (1 + 2**-0.5) / 2
  rates = [0, 0.5, 1, half, 0.5, 1 - half, 0]
  np.testing.assert_allclose(made, -0.005 * np.array(rates), atol=1e-8)


def test_lamb_moves_a_weight_in_proportion_to_its_norm():
  config = tiny.tiny_optimizer(name='lamb', weight_decay=0.5)
  params = {'kernel': jnp.array([3.0, 4.0]), 'bias': jnp.array([3.0, 4.0])}
  gradient = jax.tree.map(jnp.zeros_like, params)
  (update,) = updates(config, [gradient], params)
  # The decay's direction (1.5, 2) has norm 2.5, the weight 5: trust ratio 2, so
  # that the step is the rate 1e-2 times the weight whatever the decay is.
  np.testing.assert_allclose(update['kernel'], [-0.03, -0.04], rtol=1e-6)
  assert not update['bias'].any()


def test_a_gradient_longer_than_the_clip_is_scaled_down_as_a_whole():
  gradient = {'kernel': jnp.array([3.0]), 'bias': jnp.array([4.0])}  # of norm 5
  for clip, scale in ((1.0, 0.2), (2.5, 0.5), (10.0, 1.0)):
    config = tiny.tiny_optimizer(clip=clip)
    rule = make_optimizer(config)
    _, state = rule.update(gradient, rule.init(gradient), gradient)
    moments = {k: v for k, v in tiny.leaf_items(state).items() if '/mu/' in k}
    # The first moment after one step is a tenth of what is left of the gradient.
    values = sorted(float(v[0]) for v in moments.values())
    np.testing.assert_allclose(values, [0.3 * scale, 0.4 * scale], rtol=1e-6)


@pytest.mark.parametrize('name', ['lamb', 'adamw'])
def test_both_rules_descend(name):
  rule = make_optimizer(tiny.tiny_optimizer(name=name, learning_rate=0.1))
  params = {'kernel': jnp.array([1.0, -2.0])}
  state = rule.init(params)
  before = float(jnp.abs(params['kernel']).sum())
  for _ in range(5):
    gradient = jax.tree.map(lambda weight: 2 * weight, params)  # of its square
    update, state = rule.update(gradient, state, params)
    params = optax.apply_updates(params, update)
  assert float(jnp.abs(params['kernel']).sum()) < before - 0.5


# Where leaves live.


def partitions(fsdp, **shapes):
  mesh = AbstractMesh((1, fsdp), ('data', 'fsdp'))
  tree = {k: jax.ShapeDtypeStruct(shape, jnp.float32) for k, shape in shapes.items()}
  return {k: where.spec for k, where in sharding.state_shardings(tree, mesh).items()}


def test_a_large_leaf_is_split_along_its_largest_even_dimension():
  specs = partitions(
    2,
    scalar=(),
    small=(255, 256),  # 65,280 elements, below 65,536
    just_large=(256, 256),  # a tie goes to the first
    wide=(256, 1024),
    odd_longest=(512, 1025),  # 1,025 is odd
    all_odd=(257, 257),
    deep=(2, 4, 65_536),
    embedding=(256, 1024),  # looked up, not multiplied
  )
  assert specs == {
    'scalar': PartitionSpec(),
    'small': PartitionSpec(),
    'just_large': PartitionSpec('fsdp', None),
    'wide': PartitionSpec(None, 'fsdp'),
    'odd_longest': PartitionSpec('fsdp', None),
    'all_odd': PartitionSpec(),
    'deep': PartitionSpec(None, None, 'fsdp'),
    'embedding': PartitionSpec(),
  }


def test_nothing_is_split_when_one_device_holds_it_all():
  assert partitions(1, wide=(256, 1024)) == {'wide': PartitionSpec()}


def test_a_mesh_has_all_devices_and_a_batch_is_split_over_both_of_its_axes():
  mesh = sharding.make_mesh()
  assert mesh.axis_names == ('data', 'fsdp')
  assert mesh.size == jax.device_count()
  placed = sharding.place_batch({'rows': np.arange(2 * mesh.size)}, mesh)
  assert placed['rows'].sharding.spec == PartitionSpec(('data', 'fsdp'))
  assert placed['rows'].tolist() == list(range(2 * mesh.size))


# The loop, over a state that is one number.


class Toy(NamedTuple):
  step: jax.Array
  total: jax.Array


def toy_state():
  return Toy(jnp.zeros((), jnp.int32), jnp.zeros(()))


@jax.jit
def toy_step(state, batch, key):
  """Adds the batch, which is the step's number."""
  return Toy(state.step + 1, state.total + batch), {'loss': batch, 'other': state.total}


class Journal:
  """Runs `fit` in a folder and writes down what it asked for."""

  def __init__(self, folder):
    self.folder = folder
    self.checkpoints = Checkpoints(folder / 'checkpoints', keep=100)
    self.batches = []
    self.evaluated = []

  def fit(self, schedule, state=None, step_fn=toy_step, evaluate_fn=None, **options):
    state = toy_state() if state is None else state
    writer = MetricWriter(self.folder, int(state.step))
    try:
      return fit(
        state,
        step_fn=step_fn,
        batch_fn=self._batch,
        key=jax.random.key(0),
        schedule=schedule,
        checkpoints=self.checkpoints,
        description={'note': 'toy'},
        writer=writer,
        evaluate_fn=evaluate_fn or self._evaluate,
        times=StepTimes(1),
        **options,
      )
    finally:
      writer.close()

  def _batch(self, step):
    self.batches.append(step)
    return jnp.float32(step)

  def _evaluate(self, step, state):
    self.evaluated.append((step, float(state.total)))
    return {'score': float(step)}

  @property
  def saved(self):
    """Steps on disk, as a fresh reader finds them."""
    folder = self.folder / 'checkpoints'
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())

  def rows(self, kind):
    lines = (self.folder / 'metrics.jsonl').read_text().splitlines()
    return [row for row in map(json.loads, lines) if row['kind'] == kind]

  def restored(self):
    return self.checkpoints.restore(jax.eval_shape(toy_state))


@pytest.fixture
def journal(tmp_path):
  made = Journal(tmp_path)
  yield made
  made.checkpoints.close()


def test_the_schedule_is_kept_and_the_last_step_always_counts(journal):
  schedule = Schedule(7, log_every=2, evaluate_every=3, checkpoint_every=4)
  state = journal.fit(schedule)
  assert journal.batches == list(range(7))
  # The sum of the batches 0 .. step - 1.
  assert journal.evaluated == [(3, 3), (6, 15), (7, 21)]
  assert journal.saved == [4, 7]
  assert [row['step'] for row in journal.rows('train')] == [2, 4, 6, 7]
  assert [row['step'] for row in journal.rows('evaluation')] == [3, 6, 7]
  assert float(state.total) == float(journal.restored().total) == 21


def test_a_schedule_of_never_still_has_its_last_step(journal):
  journal.fit(Schedule(3, log_every=0, evaluate_every=0, checkpoint_every=0))
  assert journal.saved == [3]
  assert journal.evaluated == [(3, 3)]
  assert [row['step'] for row in journal.rows('train')] == [3]


def test_a_finished_run_asks_for_nothing(journal):
  state = Toy(jnp.int32(3), jnp.float32(1))
  assert journal.fit(Schedule(3, 1, 1, 1), state) is state
  assert journal.batches == journal.evaluated == journal.saved == []


def test_a_row_has_the_metrics_the_rate_and_the_time(journal):
  journal.fit(Schedule(2, log_every=1, evaluate_every=2, checkpoint_every=0))
  first, second = journal.rows('train')
  # Step 2 added batch 1 to a total of batch 0.
  assert (first['loss'], second['loss'], second['other']) == (0, 1, 0)
  assert second['steps_per_second'] > 0
  (row,) = journal.rows('evaluation')
  assert row['score'] == 2
  assert row['elapsed_seconds'] > 0


def test_a_metric_that_is_no_number_ends_the_run_and_is_not_saved(journal):
  def step_fn(state, batch, key):
    state, metrics = toy_step(state, batch, key)
    return state, {'loss': jnp.where(state.step >= 4, jnp.nan, metrics['loss'])}

  with pytest.raises(
    RunFailed, match='step 4: loss is nan. Last good step: 3'
  ) as raised:
    journal.fit(Schedule(9, 1, 0, checkpoint_every=1), step_fn=step_fn)
  # What to do holds for every method, whichever section of its config has the rate.
  assert str(raised.value).endswith('3. Lower the learning rate.')
  assert journal.saved == [1, 2, 3]
  assert [row['step'] for row in journal.rows('train')] == [1, 2, 3]


def test_metrics_are_checked_before_a_save_even_when_no_row_is_due(journal):
  def step_fn(state, batch, key):
    state, _ = toy_step(state, batch, key)
    return state, {'loss': jnp.float32(jnp.inf)}

  with pytest.raises(RunFailed, match='loss is inf. Last good step: none'):
    journal.fit(Schedule(9, 0, 0, checkpoint_every=2), step_fn=step_fn)
  assert journal.saved == []


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step_that_it_fell_in_and_stops(journal, number):
  def step_fn(state, batch, key):
    if batch == 4:
      os.kill(os.getpid(), number)
    return toy_step(state, batch, key)

  before = signal.getsignal(number)
  with pytest.raises(Preempted, match=f'{number.name} at step 5: saved'):
    journal.fit(Schedule(9, 0, 0, 0), step_fn=step_fn)
  assert journal.saved == [5]
  assert signal.getsignal(number) is before
  state = journal.fit(Schedule(9, 0, 0, 0), journal.restored())
  assert float(state.total) == sum(range(9))


def test_a_signal_cuts_the_evaluation_off_which_is_done_again(journal):
  def evaluate_fn(step, state):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000):  # the signal is handled between two of these
      time.sleep(0.01)
    raise AssertionError('not cut off')

  schedule = Schedule(4, 0, evaluate_every=2, checkpoint_every=0)
  with pytest.raises(Preempted, match='SIGTERM at step 2: saved'):
    journal.fit(schedule, None, toy_step, evaluate_fn)
  assert journal.saved == [2]
  assert journal.rows('evaluation') == []
  journal.fit(schedule, journal.restored(), evaluate_first=True)
  assert journal.evaluated == [(2, 1), (4, 6)]
  assert [row['step'] for row in journal.rows('evaluation')] == [2, 4]


def test_a_signal_in_the_last_step_leaves_its_evaluation_for_later(journal):
  def step_fn(state, batch, key):
    if batch == 2:
      os.kill(os.getpid(), signal.SIGTERM)
    return toy_step(state, batch, key)

  with pytest.raises(Preempted, match='SIGTERM at step 3: saved'):
    journal.fit(Schedule(3, 0, 0, 0), step_fn=step_fn)
  assert journal.evaluated == []
  state = journal.fit(Schedule(3, 0, 0, 0), journal.restored(), evaluate_first=True)
  assert float(state.total) == 3
  assert journal.evaluated == [(3, 3)]
  assert journal.batches == [0, 1, 2]


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_does_not_cut_the_last_save_off(journal, monkeypatch, number):
  """Nothing is left to be stopped: the run is done."""
  wait = journal.checkpoints.wait
  monkeypatch.setattr(
    journal.checkpoints, 'wait', lambda: (os.kill(os.getpid(), number), wait())
  )
  before = signal.signal(number, lambda *_: pytest.fail('not listened to'))
  try:
    journal.fit(Schedule(3, 0, 0, 0))
  finally:
    signal.signal(number, before)
  assert journal.saved == [3]


def test_a_second_ctrl_c_stops_at_once(journal):
  def step_fn(state, batch, key):
    if batch == 4:
      os.kill(os.getpid(), signal.SIGINT)
      os.kill(os.getpid(), signal.SIGINT)
    return toy_step(state, batch, key)

  with pytest.raises(KeyboardInterrupt):
    journal.fit(Schedule(9, 0, 0, 0), step_fn=step_fn)
  assert journal.saved == []


@pytest.mark.slow  # it collects garbage over and over, of all tests before it
def test_a_second_ctrl_c_that_python_drops_stops_the_run_all_the_same(
  journal, monkeypatch
):
  """It drops what is raised in a callback of its garbage collector; JAX has one."""
  dropped = []
  monkeypatch.setattr(sys, 'unraisablehook', lambda what: dropped.append(what.exc_type))

  def interrupt(phase, info):
    if phase == 'start':
      os.kill(os.getpid(), signal.SIGINT)
      os.kill(os.getpid(), signal.SIGINT)

  def step_fn(state, batch, key):
    if batch == 4:
      gc.callbacks.append(interrupt)
      gc.collect()
      gc.callbacks.remove(interrupt)
    return toy_step(state, batch, key)

  with pytest.raises(KeyboardInterrupt):
    journal.fit(Schedule(9, 0, 0, 0), step_fn=step_fn)
  assert dropped == [KeyboardInterrupt]
  assert len(journal.batches) <= 6
  assert journal.saved == []


# The metric file.


def test_a_resumed_run_has_every_row_once(journal):
  schedule = Schedule(6, log_every=1, evaluate_every=2, checkpoint_every=4)

  def step_fn(state, batch, key):
    if batch == 5:
      raise KeyboardInterrupt  # killed in step 6, last saved at 4
    return toy_step(state, batch, key)

  with pytest.raises(KeyboardInterrupt):
    journal.fit(schedule, step_fn=step_fn)
  assert [row['step'] for row in journal.rows('train')] == [1, 2, 3, 4, 5]
  journal.checkpoints.wait()
  journal.fit(schedule, journal.restored())
  assert [row['step'] for row in journal.rows('train')] == [1, 2, 3, 4, 5, 6]
  assert [row['step'] for row in journal.rows('evaluation')] == [2, 4, 6]


@pytest.mark.parametrize(
  'cut', ['{"kind": "train", "ste', '{"kind": "train", "step": 3}']
)
def test_a_line_that_a_crash_cut_off_is_dropped(tmp_path, cut):
  whole = '{"kind": "train", "step": 2, "loss": 1.0}\n'
  (tmp_path / 'metrics.jsonl').write_text(whole + cut)
  writer = MetricWriter(tmp_path, resumed_step=9)
  writer.write('train', 10, {'loss': 0.5})
  writer.close()
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(line)['step'] for line in lines] == [2, 10]


def test_a_row_is_on_disk_as_soon_as_it_is_written(tmp_path):
  writer = MetricWriter(tmp_path)
  writer.write('train', 1, {'loss': 0.5})
  assert (tmp_path / 'metrics.jsonl').read_text().endswith('"loss": 0.5}\n')
  writer.close()


def test_a_number_that_is_none_is_written_as_null(tmp_path):
  writer = MetricWriter(tmp_path)
  writer.write('evaluation', 1, {'a': float('nan'), 'b': np.float32(2), 'c': np.inf})
  writer.close()
  row = json.loads((tmp_path / 'metrics.jsonl').read_text())
  assert row == {'kind': 'evaluation', 'step': 1, 'a': None, 'b': 2.0, 'c': None}


def test_the_progress_line_counts_from_where_the_run_resumed(capsys, monkeypatch):
  clock = iter([100.0, 120.0, 120.0, 120.0])
  monkeypatch.setattr('time.monotonic', lambda: next(clock))
  progress = Progress('tiny', first_step=1000, num_steps=3000)
  progress.show(1200, {'loss': 1.5})
  # 200 steps in 20 seconds; 1,800 more take 180.
  line = capsys.readouterr().out
  assert line == 'tiny  step 1,200/3,000  10.0 steps/s  3:00 left  loss 1.500\n'
