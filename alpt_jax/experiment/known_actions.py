"""Which actions of a dataset count as recorded when a run's model labels it.

Three kinds of datasets:

  the run's target    a part of what was recorded trained it, a part is the audit. Where
                      none was set aside, what was recorded in the held-out episodes is.
  one of its sources  trained it, all of it: nothing judges the guesses. Also any
                      dataset of a run that it was finetuned from
  any other           is new to it: all that was recorded is the audit, but for
                      recordings whose file one of its datasets was made of, too

Of the target all that its label file does not name can be forgotten, as if it had never
been recorded. So a dataset that knows all its actions shows how a labelling would have
gone, beside the truth.
"""

import dataclasses
import pathlib
from typing import NamedTuple

import numpy as np

from alpt_jax import methods
from alpt_jax.data.labels import Labels, Segments, hide_actions, load_labels
from alpt_jax.data.pool import Pool
from alpt_jax.data.recorded_labels import is_in, recorded_runs
from alpt_jax.errors import UserError
from alpt_jax.experiment.config import RunConfig
from alpt_jax.experiment.recordings import Recordings
from alpt_jax.experiment.records import read_record


class KnownActions(NamedTuple):
  """What is known of N transitions.

  Attributes:
    pool: the dataset; `is_labelled` says what counts as recorded.
    trained_on: `[N]` bool, the model has learnt from the recorded action.
    audit: segments whose recorded actions it has not seen, in order.
    audit_of: what they are: 'audit', 'heldout' or 'new'; '' where there are none.
    may_be_trained_on: the model was trained on an environment of this name, though not
      on this dataset, and nothing says whether it holds the same recordings.
    truth: `[N]` int32 what was recorded, -1 where nothing; None unless some is
      forgotten on purpose.
    label_hash: of the run's label file.
  """

  pool: Pool
  trained_on: np.ndarray
  audit: Segments
  audit_of: str
  may_be_trained_on: bool
  truth: np.ndarray | None
  label_hash: str


def known_actions(
  pool: Pool,
  recordings: Recordings,
  workdir: pathlib.Path,
  config: RunConfig,
  forget: bool,
) -> KnownActions:
  """What is known of a dataset that a run's model shall label.

  Args:
    pool: the dataset, with all that is on disk.
    recordings: that it was made of.
    workdir: the run's folder.
    config: the run's.
    forget: whether all is forgotten that its label file does not name.

  Raises:
    UserError: its label file is of another dataset, so that nothing can be forgotten;
      or no action is missing.
  """
  labels = load_labels(workdir / 'labels.json')
  identity = read_record(workdir / 'identity.json')
  is_target = labels.dataset == pool.manifest_hash
  everything = np.ones(pool.num_transitions, bool)
  audit, audit_of, named = (), '', False
  if is_target:
    trained_on = _trained_on(pool, labels, config)
    audit, audit_of = _audit_of_target(pool, labels, config)
  elif pool.manifest_hash in _datasets(identity):
    trained_on = everything
  else:
    is_seen = _seen_before(recordings, identity)
    named = is_seen is None and pool.spec.name in _environments(identity)
    if is_seen is None:
      is_seen = np.zeros(pool.num_episodes, bool)
    trained_on = np.repeat(is_seen, pool.lengths)
    runs = recorded_runs(pool)
    audit, audit_of = _to_segments(runs[~is_seen[runs[:, 0]]]), 'new'
  truth = None
  if forget:
    if not is_target:
      raise UserError(
        f'--forget: {workdir}/labels.json is of dataset {labels.dataset}, found '
        f'{pool.manifest_hash}. Give the target that the run was trained on, or leave '
        '--forget out.'
      )
    truth = np.where(pool.is_labelled, pool.actions, -1).astype(np.int32)
    known = dataclasses.replace(labels, segments=labels.segments + audit)
    pool = hide_actions(pool, known)
  if pool.is_labelled.all():
    advice = 'Give recordings without actions'
    if is_target and not forget:
      advice += ', or --forget all but those of its labels.json to see how it guesses'
    raise UserError(
      f'{pool.spec.name}: all its {pool.num_transitions:,} actions are recorded, so '
      f'there is nothing to label. {advice}.'
    )
  return KnownActions(
    pool,
    trained_on & pool.is_labelled,
    audit,
    audit_of if audit else '',
    named,
    truth,
    labels.hash,
  )


def _trained_on(pool: Pool, labels: Labels, config: RunConfig) -> np.ndarray:
  """`[N]` bool: transitions of its target whose action a run learnt from."""
  if config.phase == 'sources':
    return np.zeros(pool.num_transitions, bool)
  if methods.get(config.method).all_labelled:
    episodes = np.arange(pool.num_episodes)
    return np.repeat(~np.isin(episodes, labels.heldout_episodes), pool.lengths)
  return is_in(pool, labels.segments)


def _audit_of_target(
  pool: Pool, labels: Labels, config: RunConfig
) -> tuple[Segments, str]:
  if labels.audited and not methods.get(config.method).all_labelled:
    return labels.audited, 'audit'
  runs = recorded_runs(pool)
  return _to_segments(runs[np.isin(runs[:, 0], labels.heldout_episodes)]), 'heldout'


def _to_segments(runs: np.ndarray) -> Segments:
  return tuple(map(tuple, runs.tolist()))


def _stages(identity: dict) -> tuple[dict, ...]:
  """What is known of a run, and of those that it goes back to."""
  return (identity, *identity.get('ancestry', ()))


def _datasets(identity: dict) -> set[str]:
  """All whose actions they have learnt from, by manifest hash."""
  found = set()
  for stage in _stages(identity):
    hashes = (stage.get('data_hash') or '').split('+')
    # The first is the target's.
    found |= {*hashes[stage.get('phase') == 'sources' :]}
  return found


def _seen_before(recordings: Recordings, identity: dict) -> np.ndarray | None:
  """`[E]` bool: episodes of files that they were trained on; None: not known."""
  # Of each dataset that taught; the target, which is first, does not teach a base.
  known = [
    each
    for stage in _stages(identity)
    for each in (stage.get('recordings') or [[]])[stage.get('phase') == 'sources' :]
  ]
  if not recordings.digests or not all(known):
    return None
  is_seen = np.isin(recordings.digests, sorted(set().union(*known)))
  return is_seen[recordings.of_episode]


def _environments(identity: dict) -> set[str]:
  """All environments that they were trained on, by name."""
  return {
    name
    for stage in _stages(identity)
    for name in (stage.get('environment'), *(stage.get('sources') or ()))
  }
