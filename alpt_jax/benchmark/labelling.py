"""Section `label`: how fast the IDM fills in missing actions."""

from collections.abc import Mapping

import jax

from alpt_jax import relabel
from alpt_jax.benchmark.measured import Section, measure
from alpt_jax.benchmark.programs import Program, account_of, compiled_for
from alpt_jax.benchmark.subjects import Subject
from alpt_jax.models import flops
from alpt_jax.models.inverse_dynamics import InverseDynamics
from alpt_jax.types import Window

LABEL = 'IDM forward and argmax'


def measure_labels(
  subject: Subject, limits: Mapping[str, Program], repeats: int
) -> Section:
  """Windows that lie on the device already: the rate that no input can exceed.

  Args:
    subject: whose IDM, and whose batch.
    limits: `ceilings.programs`.
    repeats: turns.
  """
  idm, window = subject.steps.idm, subject.batch().window
  inputs = window.observations[:1], window.valid[:1]
  params = jax.jit(idm.init)(jax.random.key(0), *inputs)['params']
  programs = {LABEL: forward_program(idm, params, window)}
  return measure(programs, limits, repeats)


def forward_program(idm: InverseDynamics, params, window: Window) -> Program:
  """Labels windows: the IDM's forward pass, then `relabel.pseudo_label`.

  Without dropout and gradient. All T transitions of a window get a label.
  """

  @jax.jit
  def label(params, window):
    logits = idm.apply({'params': params}, window.observations, window.valid)
    labels = relabel.pseudo_label(
      logits, window.actions, window.is_labelled, window.allowed
    )
    return labels.action, labels.confidence

  compiled = compiled_for(label, params, window)
  rows, length = window.valid.shape
  return Program(
    lambda: compiled(params, window),
    flops=rows * flops.forward_flops(idm),
    counts={'windows': rows, 'transitions': rows * length},
    **account_of(compiled),
  )
