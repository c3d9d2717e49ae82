"""What the rows of a run's batches are used for, as its config says."""

from fractions import Fraction
from typing import NamedTuple

from alpt_jax import methods
from alpt_jax.data import mixture
from alpt_jax.experiment.config import RunConfig
from alpt_jax.types import RowUse

# Parts of the smallest weight; a number of many divisors.
_PARTS = 5_040


class Part(NamedTuple):
  """One stream of a mixture, without its windows; see `data.mixture.Stream`."""

  name: str
  share: Fraction
  idm_weight: float
  policy_weight: float
  relabel: bool
  source: int | None = None  # which of the sources, None for the target's


def row_use(config: RunConfig) -> RowUse:
  """Which rows of a batch each half of the joint step needs."""
  return mixture.row_use(parts(config), config.training.batch_size)


def parts(config: RunConfig) -> list[Part]:
  """The streams that train a method in its phase (Table 2), with their shares.

  Source environments and the target have equal shares, or those that `data.weights`
  gives them. Within the target the labelled segments have a share of their own, as a
  random window almost never meets one. Unless `data.pool_policy_weight` says otherwise
  they do not count again for the DT where it is relabelled: the target stream already
  runs over D+ and D- uniformly, recorded actions included, and weighs as much more as
  makes the target's share of the DT's loss equal to a source's. A DT that is never
  relabelled learns actions from the labelled rows, which always count in full.

  In this order what trains the IDM, labels and sources, lies together, and so does what
  trains the DT, sources and target.
  """
  uses = methods.parts(config.method, config.phase)
  num_sources = len(config.data.sources)
  weights = config.data.weights or [1.0] * (1 + num_sources)
  own, *others = (_exactly(weight / min(weights)) for weight in weights)
  share, policy_weight = _target_shares(config, uses)
  found = []
  if 'labelled' in uses:
    weight, part = policy_weight['labelled'], own * share['labelled']
    found.append(_part('labelled', part, uses['labelled'], weight))
  if 'source' in uses:
    found += [
      _part(f'source {index}', others[index], uses['source'], source=index)
      for index in range(num_sources)
    ]
  if 'target' in uses:
    weight, part = policy_weight['target'], own * share['target']
    found.append(_part('target', part, uses['target'], weight))
  return found


def _exactly(weight: float) -> Fraction:
  """With one small denominator for all, so that row numbers stay small, too."""
  return Fraction(round(weight * _PARTS), _PARTS)


def _target_shares(config: RunConfig, uses):
  """Of the target's rows the parts that are labelled ones and any, and their weight.

  `({'labelled': share, 'target': share}, {'labelled': weight, 'target': weight})`, the
  weight being a row's in the DT's losses.
  """
  labelled = Fraction(config.data.labelled_share).limit_denominator(1000)
  share = {'labelled': labelled, 'target': 1 - labelled}
  # An IDM that is trained alone sees sources and labels in the proportion that it
  # sees them in beside a DT; whatever else learns from one part has all the rows.
  is_idm_alone = not any(use.policy for use in uses.values())
  if len(uses.keys() & share.keys()) == 1 and not is_idm_alone:
    share = dict.fromkeys(share, Fraction(1))
  weight = dict.fromkeys(share, 1.0)
  if 'labelled' in uses and 'target' in uses and uses['target'].relabel:
    again = config.data.pool_policy_weight
    rest = 1 - float(share['labelled']) * again
    weight = {'labelled': again, 'target': rest / float(share['target'])}
  return share, weight


def _part(name, share, use: methods.Use, policy_weight=1.0, source=None) -> Part:
  policy_weight *= use.policy
  return Part(name, share, float(use.idm), policy_weight, use.relabel, source)
