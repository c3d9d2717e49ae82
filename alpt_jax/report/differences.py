"""How far ALPT and its baseline lie apart, seed by seed.

Runs of one seed share the draw of the labels, so their difference leaves out what
a lucky or unlucky draw does to both; the spread of two separate means does not.
"""

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

from alpt_jax.report.measures import METRICS, number_text
from alpt_jax.report.runs import Run, group_runs, value_of
from alpt_jax.report.tables import format_labels, spread

TITLE = 'Paired differences'
BASELINE = 'DT1-IDM'
_COMPARED = ('success_sampled', 'score', 'idm_accuracy', 'idm_accuracy_merged')

# 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom: NIST/SEMATECH,
# e-Handbook of Statistical Methods, section 1.3.6.7.2. That the table stops at 30,
# and that the normal distribution's 1.96 stands for more, is ours.
_STUDENT = (
  *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
  *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
  *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_NORMAL = 1.96

_HEADINGS = ('labels', 'difference', 'metric', 'pairs', 'mean', '95 % interval', 'each')
_WORDS = ('difference', 'metric', 'each')


class Difference(NamedTuple):
  """A metric of one method minus the same metric of the baseline, over seeds.

  Attributes:
    experiment: its experiment.
    labels: number of labels.
    method: the method that the baseline is subtracted from.
    metric: key of the evaluation rows.
    seeds: of the pairs, ascending; at least two.
    values: one difference per pair, in the order of `seeds`.
    mean: over `values`.
    half_width: of the two-sided 95 % Student interval around `mean`.
  """

  experiment: str
  labels: int | str
  method: str
  metric: str
  seeds: tuple[int, ...]
  values: tuple[float, ...]
  mean: float
  half_width: float


def student_quantile(freedom: int) -> float:
  """The 97.5 % quantile of Student's t; 1.96 above 30 degrees of freedom."""
  return _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else _NORMAL


# Ours.
_FEWEST_PAIRS = 3


def paired_differences(runs: Sequence[Run]) -> list[Difference]:
  """Each ALPT method minus DT1-IDM at each label budget, in report order.

  A pair is two finished runs of one experiment, budget and seed, each with its
  last evaluation. Two runs whose label files differ are no pair: they would not
  share the draw that the pairing is for. With fewer than three pairs nothing is
  said: an interval from two is twelve standard errors wide.
  """
  groups = group_runs(run for run in runs if run.is_finished and run.evaluations)
  found = []
  for (experiment, labels, method), group in groups.items():
    baseline = groups.get((experiment, labels, BASELINE), [])
    if not method.startswith('ALPT'):
      continue
    pairs = _pairs(group, baseline)
    for metric in _COMPARED:
      by_seed = {ours.seed: _minus(ours, theirs, metric) for ours, theirs in pairs}
      by_seed = {seed: value for seed, value in by_seed.items() if value is not None}
      if len(by_seed) >= _FEWEST_PAIRS:
        found.append(_difference(experiment, labels, method, metric, by_seed))
  return found


def _pairs(ours: Sequence[Run], theirs: Sequence[Run]) -> list[tuple[Run, Run]]:
  baseline = {run.seed: run for run in theirs}
  pairs = [(run, baseline[run.seed]) for run in ours if run.seed in baseline]
  return [pair for pair in pairs if _label_draw(pair[0]) == _label_draw(pair[1])]


def _label_draw(run: Run) -> str | None:
  return run.identity.get('label_hash')


def _minus(ours: Run, theirs: Run, metric: str) -> float | None:
  values = value_of(ours.last, metric), value_of(theirs.last, metric)
  return None if None in values else values[0] - values[1]


def _difference(experiment, labels, method, metric, by_seed) -> Difference:
  seeds = tuple(sorted(by_seed))
  found = spread(by_seed[seed] for seed in seeds)
  num_pairs = len(found.values)
  half_width = student_quantile(num_pairs - 1) * found.deviation / math.sqrt(num_pairs)
  return Difference(
    experiment, labels, method, metric, seeds, found.values, found.mean, half_width
  )


def _cells(found: Difference, several: bool) -> list[str]:
  largest = max(map(abs, found.values))

  def text(value):
    return number_text(found.metric, value, beside=largest, sign='+')

  ends = found.mean - found.half_width, found.mean + found.half_width
  prefix = f'{found.experiment}: ' if several else ''
  return [
    format_labels(found.labels),
    f'{prefix}{found.method} - {BASELINE}',
    METRICS[found.metric],
    str(len(found.values)),
    text(found.mean),
    f'{text(ends[0])} to {text(ends[1])}',
    ' '.join(text(value) for value in found.values),
  ]


def _all_cells(differences: Sequence[Difference]) -> list[list[str]]:
  several = len({found.experiment for found in differences}) > 1
  return [_cells(found, several) for found in differences]


def differences_text(runs: Sequence[Run]) -> str:
  """The differences for a terminal, below the final table; '' without pairs."""
  cells = _all_cells(paired_differences(runs))
  if not cells:
    return ''
  widths = [max(map(len, column)) for column in zip(_HEADINGS, *cells, strict=True)]
  rule = '  '.join('-' * width for width in widths)
  lines = [_text_line(_HEADINGS, widths), rule]
  lines += [_text_line(texts, widths) for texts in cells]
  return '\n'.join([TITLE, *lines, _BASIS])


def _text_line(texts: Sequence[str], widths: Sequence[int]) -> str:
  aligned = (
    text.ljust(width) if heading in _WORDS else text.rjust(width)
    for heading, text, width in zip(_HEADINGS, texts, widths, strict=True)
  )
  return '  '.join(aligned).rstrip()


def differences_html(runs: Sequence[Run]) -> str:
  """The differences as an HTML table with its basis below; '' without pairs."""
  cells = _all_cells(paired_differences(runs))
  if not cells:
    return ''
  head = ''.join(f'<th{_align(name)}>{name}</th>' for name in _HEADINGS)
  body = '\n'.join(f'<tr>{_html_line(texts)}</tr>' for texts in cells)
  return (
    f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
    f'<tbody>\n{body}\n</tbody>\n</table></div>\n<p class="quiet">{_BASIS}</p>'
  )


def _html_line(texts: Sequence[str]) -> str:
  return ''.join(
    f'<td{_align(heading)}>{html.escape(text)}</td>'
    for heading, text in zip(_HEADINGS, texts, strict=True)
  )


def _align(heading: str) -> str:
  return ' class="word"' if heading in _WORDS else ''


_BASIS = (
  'last evaluations of runs that share seed and label draw; two-sided 95 % Student '
  'interval of the mean; each pair, seeds ascending'
)
