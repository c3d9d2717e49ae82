"""Sections `step` and `memory`: each model's training step, and that of both."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from alpt_jax import methods
from alpt_jax.benchmark import peer
from alpt_jax.benchmark.labelling import forward_program
from alpt_jax.benchmark.measured import Section, measure
from alpt_jax.benchmark.programs import Program, account_of, compiled_for
from alpt_jax.benchmark.subjects import Subject
from alpt_jax.experiment import models
from alpt_jax.training.step import (
  StepConfig,
  TrainState,
  abstract_state,
  init_state,
  make_joint_step,
)
from alpt_jax.types import Batch

IDM, DT, JOINT = 'IDM step', 'DT step', 'joint step'
FORWARD, RELABELLED = 'IDM forward', 'IDM forward on rows to label'


def measure_steps(
  subject: Subject, limits: Mapping[str, Program], repeats: int
) -> Section:
  """The joint step beside its parts.

  The parts are the same step without the other model, over the rows that it learns
  from, and the IDM's forward pass without gradient: over the whole batch, and over the
  rows that want a label. Beside them a peer over the DT's rows, see `peer.py`.

  Args:
    subject: both models.
    limits: `ceilings.programs`.
    repeats: turns.
  """
  batch, steps = subject.batch(), subject.steps
  wanting = jax.tree.map(lambda leaf: leaf[batch.relabel], batch.window)
  state = init_state(steps, batch.window, 0)
  idm = dataclasses.replace(steps, policy=None)
  policy = dataclasses.replace(steps, idm=None, shift=0)
  params = state.params[methods.IDM]
  programs = {
    IDM: step_program(idm, _state_of(state, methods.IDM), batch),
    DT: step_program(policy, _state_of(state, methods.POLICY), batch),
    FORWARD: forward_program(steps.idm, params, batch.window),
    RELABELLED: forward_program(steps.idm, params, wanting),
    JOINT: step_program(steps, _state_of(state, *state.params), batch),
  }
  compared = {
    f'{JOINT} / ({IDM} + {DT} + {each})': ([JOINT], [IDM, DT, each])
    for each in (FORWARD, RELABELLED)
  }
  begin, end = steps.rows.policy
  rows = len(batch.relabel)
  learnt = rows // steps.rows.group * (end - begin)
  others, notes = peer.programs(steps.policy, learnt)
  compared |= {f'{DT} / {each}': ([DT], [each]) for each in others}
  section = measure({**programs, **others}, limits, repeats, compared)
  facts = {
    'rows to label': f'{len(wanting.valid)} of {rows}',
    'rows of the DT': f'{learnt} of {rows}',
  }
  return dataclasses.replace(section, facts=facts, notes=notes)


def _state_of(state: TrainState, *names: str) -> TrainState:
  """A copy of the state of some of the models."""
  trees = ({name: tree[name] for name in names} for tree in state[1:])
  return jax.tree.map(jnp.copy, TrainState(state.step, *trees))


def step_program(steps: StepConfig, state: TrainState, batch: Batch) -> Program:
  """Training steps from a state, which is used up, one after the other on one batch."""
  key = jax.random.key(0)
  compiled = compiled_for(make_joint_step(steps), state, batch, key)

  def run():
    # Its buffers are given away: the next call starts from what this one returns.
    nonlocal state
    state, metrics = compiled(state, batch, key)
    return metrics

  rows, counted = len(batch.relabel), models.flops_per_window(steps)
  return Program(
    run,
    flops=counted and rows * counted.model,
    counts={'windows': rows},
    **account_of(compiled),
  )


def step_memory(subject: Subject) -> dict[str, float]:
  """Bytes of the joint step as it is and with rematerialisation, and their ratio.

  It is only compiled: no device need have room for it.
  """
  batch, found = subject.batch(), {}
  for remat, name in ((False, 'bytes'), (True, 'bytes_with_remat')):
    steps = dataclasses.replace(
      subject.steps,
      idm=subject.steps.idm.clone(remat=remat),
      policy=subject.steps.policy.clone(remat=remat),
    )
    state = abstract_state(steps, batch.window)
    compiled = compiled_for(make_joint_step(steps), state, batch, jax.random.key(0))
    found[name] = account_of(compiled)['memory']
  return {**found, 'ratio': found['bytes_with_remat'] / found['bytes']}
