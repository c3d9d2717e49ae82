"""What more labels or more sources would bring: gains between runs of one target.

The runs are of several budgets of labels, with sources and without, each with several
draws of the labels. Two runs of one draw are compared with each other, so that a lucky
draw helps neither.
"""

import os
import statistics
from collections.abc import Mapping
from typing import Any

from alpt_jax.errors import UserError
from alpt_jax.report.pairs import FEWEST_SEEDS, student_interval
from alpt_jax.report.runs import Run, load_runs, value_of

_METRIC = 'idm_accuracy'

# Draw of the labels -> accuracy.
_Draws = Mapping[int, float]


def label_gains(root: str | os.PathLike, environment: str) -> dict[str, Any]:
  """How much the last step in labels, and the sources, added to the accuracy.

  Args:
    root: a folder of finished runs of one target; a run has sources if it, or one
      that it started from, was trained on any.
    environment: name of the target.

  Returns:
    Plain JSON types: `rows` {labels, with_sources, draws, value}, the mean over draws;
    `more_labels` {value, low, high, draws, fewer, more}: from the second largest
    budget to the largest, with sources where there are such runs; `sources` {value,
    low, high, draws, labels}: at the largest budget at which both are there. Intervals
    are Student's, 95 %, over the paired differences; None with fewer than 3 draws.

  Raises:
    UserError: no such runs; some of another target; or two runs of one draw that
      differ in nothing that this looks at.
  """
  runs = [run for run in load_runs(root) if _is_counted(run)]
  targets = sorted({f'{run.identity.get("environment")}' for run in runs})
  if targets != [environment]:
    raise UserError(
      f'{root}: expected finished runs of {environment} alone that score the IDM, '
      f'found {", ".join(targets) or "none"}. Name the folder of one experiment.'
    )
  groups: dict[tuple[int, bool], dict[int, float]] = {}
  for run in runs:
    draws = groups.setdefault((_num_labels(run), _has_sources(run)), {})
    if run.seed in draws:
      raise UserError(
        f'{run.folder}: expected one run of {_num_labels(run)} labels and seed '
        f'{run.seed} {"with" if _has_sources(run) else "without"} sources, found '
        'another. Move one of them elsewhere.'
      )
    draws[run.seed] = value_of(run.last, _METRIC)
  return {
    'rows': [
      {
        'labels': labels,
        'with_sources': with_sources,
        'draws': len(draws),
        'value': statistics.fmean(draws.values()),
      }
      for (labels, with_sources), draws in sorted(groups.items())
    ],
    'more_labels': _more_labels(groups),
    'sources': _sources(groups),
  }


def _is_counted(run: Run) -> bool:
  if not run.is_finished or run.is_pretraining or isinstance(_num_labels(run), str):
    return False
  return value_of(run.last, _METRIC) is not None


def _num_labels(run: Run) -> int | str:
  """How many it learnt from; where it took all that were recorded, it says so."""
  return run.identity.get('recorded_labels', {}).get('trained_on') or run.labels


def _has_sources(run: Run) -> bool:
  stages = (run.identity, *run.identity.get('ancestry', ()))
  return any(stage.get('sources') for stage in stages)


def _more_labels(groups: Mapping[tuple[int, bool], _Draws]) -> dict[str, Any] | None:
  with_sources = any(has_sources for _, has_sources in groups)
  budgets = sorted(
    labels for labels, has_sources in groups if has_sources == with_sources
  )
  if len(budgets) < 2:
    return None
  fewer, more = budgets[-2:]
  gain = _gain(groups[fewer, with_sources], groups[more, with_sources])
  return gain and {**gain, 'fewer': fewer, 'more': more}


def _sources(groups: Mapping[tuple[int, bool], _Draws]) -> dict[str, Any] | None:
  budgets = [
    labels for labels, _ in groups if {(labels, s) for s in (0, 1)} <= {*groups}
  ]
  if not budgets:
    return None
  labels = max(budgets)
  gain = _gain(groups[labels, False], groups[labels, True])
  return gain and {**gain, 'labels': labels}


def _gain(before: _Draws, after: _Draws) -> dict[str, Any] | None:
  """Of the draws that both have; None for fewer than 3."""
  gains = [after[draw] - before[draw] for draw in sorted({*before} & {*after})]
  if len(gains) < FEWEST_SEEDS:
    return None
  mean, low, high = student_interval(gains)
  return {'value': mean, 'low': low, 'high': high, 'draws': len(gains)}
