"""A labeller of tiny environments, untrained, and recordings without labels."""

import dataclasses

import jax
import numpy as np
import tiny
import tiny_models

from alpt_jax.labelling import labeller as labelling
from alpt_jax.training import sharding

# Six actions, of which a tiny environment accepts four, in another order.
VOCABULARY = ('a', 'left', 'right', 'b', 'up', 'down')
TINY = tiny.tiny_spec().observation


def tiny_labeller(vocabulary=VOCABULARY, spec=TINY, mesh=None, **fields):
  """An untrained model of windows of 4 transitions."""
  idm = tiny_models.tiny_idm(spec, num_actions=len(vocabulary), **fields)
  observations = np.zeros((1, 5, *spec.shape), spec.dtype)
  params = tiny_models.loud_params(idm, observations, np.ones((1, 4), bool))
  mesh = mesh or sharding.make_mesh(devices=jax.devices()[:1])
  protocol = tiny.tiny_spec().protocol
  return labelling.make_labeller(idm, params, vocabulary, protocol, mesh)


def unlabelled(pool):
  """The same pool, all its actions forgotten."""
  nothing = np.zeros(pool.num_transitions, bool)
  return dataclasses.replace(pool, actions=0 * pool.actions, is_labelled=nothing)
