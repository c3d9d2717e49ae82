"""One environment's recorded episodes, wherever they lie, as training asks for them.

Two ways, one interface: a `PoolSet` is a pool, packed or not, a `ShardSet`
(shard_set.py) is streamed from RL Unplugged files. Nothing that uses one knows which.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from alpt_jax.data import labels as labelling
from alpt_jax.data.labels import Labels
from alpt_jax.data.mixture import PoolWindows, Windows
from alpt_jax.data.pool import Pool
from alpt_jax.data.windows import WindowReader
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import EvaluationWindows


class View(NamedTuple):
  """How a run looks at a set: what its windows need beside the episodes."""

  vocabulary: tuple[str, ...]  # the run's
  environment: int  # number written into the windows
  length: int  # T
  seed: int = 0
  host: int = 0
  num_hosts: int = 1
  num_streams: int = 1  # environments of the run, which share memory


class RecordedSet(Protocol):
  """Episodes of one environment with ALL their recorded actions.

  Whoever holds one hands on windows only: in those of `windows` and `labelled`
  hidden actions are overwritten.
  """

  spec: EnvironmentSpec
  manifest_hash: str
  # What labels are drawn from: num_episodes, num_transitions, lengths, starts,
  # is_labelled, spec, manifest_hash.
  index: Any

  def windows(self, view: View, labels: Labels | None, is_hidden: bool) -> Windows:
    """All windows; with `labels` none of held-out episodes, and hidden or not."""

  def labelled(self, view: View, labels: Labels, within: int) -> Windows:
    """The windows whose last `within` transitions hold a labelled one."""

  def evaluation(
    self, view: View, labels: Labels, num_transitions: int, heldout: bool
  ) -> EvaluationWindows:
    """Evaluation truth, see `data.labels.evaluation_windows`."""


@dataclasses.dataclass(frozen=True)
class PoolSet:
  """A `RecordedSet` in a pool."""

  index: Pool

  @property
  def spec(self) -> EnvironmentSpec:
    return self.index.spec

  @property
  def manifest_hash(self) -> str:
    return self.index.manifest_hash

  @functools.cached_property
  def _hide(self) -> Callable[[Labels], Pool]:
    # Once for all streams of a run: what is left visible is as long as the pool.
    return functools.lru_cache(1)(functools.partial(labelling.hide_actions, self.index))

  def windows(self, view: View, labels: Labels | None, is_hidden: bool) -> Windows:
    pool = self._hide(labels) if is_hidden else self.index
    if labels is None:
      ends = np.arange(pool.num_transitions)
    else:
      ends = labelling.trained_transitions(pool, labels)
    return PoolWindows(_reader(pool, view), ends)

  def labelled(self, view: View, labels: Labels, within: int) -> Windows:
    visible = self._hide(labels)
    ends = labelling.labelled_windows(self.index, labels, within)
    return PoolWindows(_reader(visible, view), ends)

  def evaluation(
    self, view: View, labels: Labels, num_transitions: int, heldout: bool
  ) -> EvaluationWindows:
    return labelling.evaluation_windows(
      self.index,
      labels,
      view.vocabulary,
      view.seed,
      num_transitions,
      heldout=heldout,
      window_length=view.length,
    )


def _reader(pool: Pool, view: View) -> WindowReader:
  return WindowReader(pool, view.vocabulary, view.environment, view.length)
