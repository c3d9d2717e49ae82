"""A folder of runs, read once, with the figures that every form of a report shows."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

from alpt_jax.report import aggregate, claims, differences, tables
from alpt_jax.report.experiment import Experiment, Planned, load_experiments
from alpt_jax.report.grid import Grid
from alpt_jax.report.runs import Run, load_runs


@dataclasses.dataclass(frozen=True)
class Report:
  """What `page` and `summary` are made of; what costs time is computed once.

  Attributes:
    root: the folder.
    runs: below it, one at least, in report order.
    experiments: that `experiment.json` files below it describe.
  """

  root: pathlib.Path
  runs: Sequence[Run]
  experiments: Sequence[Experiment]

  @functools.cached_property
  def findings(self) -> list[claims.Finding]:
    """What the runs say of the experiments' claims."""
    return claims.find(self.experiments, self.runs)

  @functools.cached_property
  def estimates(self) -> Grid | None:
    """Figures over seeds and targets with their intervals, see `aggregate.grid`."""
    return aggregate.grid(self.runs)

  @functools.cached_property
  def differences(self) -> Grid | None:
    """See `differences.grid`."""
    return differences.grid(self.runs)

  @functools.cached_property
  def final(self) -> list[tables.TableRow]:
    """The final table, each target by itself."""
    return tables.final_table(self.runs)

  @functools.cached_property
  def traceless(self) -> list[Planned]:
    """Runs that were planned and left no identity: not begun, or failed at once."""
    return [
      planned
      for experiment in self.experiments
      for planned in experiment.planned
      if (experiment.name, *planned[:4]) not in self._keys
    ]

  @functools.cached_property
  def _keys(self) -> set[tuple]:
    return {(*run.part, run.method, run.labels, run.seed) for run in self.runs}


def load(root: 'str | os.PathLike | Report') -> Report:
  """Reads a folder of runs; a `Report` is returned as it is.

  Raises:
    UserError: no runs there, or a damaged file.
  """
  if isinstance(root, Report):
    return root
  return Report(pathlib.Path(root), load_runs(root), load_experiments(root))
