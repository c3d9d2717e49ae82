"""The pictures of a report: curves over steps and over labels, and final scores.

The only file here that imports matplotlib, and only its `Figure` object with the
Agg backend: nothing global is changed, no window is opened. Every method keeps
its colour and marker in every picture.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from alpt_jax.report.aggregate import over_targets
from alpt_jax.report.bars import bars_height, draw_bars
from alpt_jax.report.calibration_panel import draw_calibration_panel
from alpt_jax.report.label_curve import draw_label_panels, label_panels
from alpt_jax.report.looks import budget_name, method_styles
from alpt_jax.report.panels import draw_panels, grid_of, panels_of, shared_budget
from alpt_jax.report.runs import Run, has_curve

_PIXELS_PER_INCH = 200  # twice the size at which the page shows a picture
_MANY_BUDGETS = 5  # more bars than a README's picture has room for
_CURVES = {
  'success_sampled': 'Success in the target, actions sampled',
  'success_greedy': 'Success in the target, likeliest action',
  'score': 'Score in the target, mean over episodes',
  'idm_accuracy': 'IDM accuracy on hidden target actions',
}
_OVERVIEW = {
  'success_sampled': 'Success in the target while training',
  'score': 'Score in the target while training',
  'idm_accuracy': 'IDM accuracy while training',
}


def draw_all(runs: Sequence[Run]) -> dict[str, bytes]:
  """File name -> PNG: final scores, curves of what has two points, an overview.

  The overview is one picture for a README: the bars above, success or score over steps
  below. Where a method has `_MANY_BUDGETS` it is the label curve; where nothing was
  measured at two steps (a run that evaluates once, at its end), the bars alone.
  """
  pictures = {'labels-gap.png': draw_labels_gap(runs)}
  if label_curve := draw_label_curve(runs):
    pictures['label-curve.png'] = label_curve
  for metric, title in _CURVES.items():
    if has_curve(runs, metric):
      name = f'curves-{metric.replace("_", "-")}.png'
      pictures[name] = draw_curves(runs, metric, title)
  metric = next((name for name in _OVERVIEW if has_curve(runs, name)), None)
  if label_panels(runs, _MANY_BUDGETS):
    overview = label_curve
  elif metric:
    overview = _draw_overview(runs, metric)
  else:
    overview = pictures['labels-gap.png']
  return {**pictures, 'overview.png': overview}


def draw_curves(runs: Sequence[Run], metric: str, title: str) -> bytes:
  """A metric over training steps, the twin of the paper's figure 5b.

  One panel per target and label budget (and experiment). Lines are means over seeds
  at the steps that all counted seeds share, the shade one sample standard deviation;
  with 2 or 3 seeds each seed is a thin line as well. A method that only ever
  ran with all labels (the oracle) stands in every panel. Dashed lines are
  references: for success the random walk, the behaviour and the optimal policy,
  for a score published random and human play, for IDM accuracy the most common
  action and the ceiling. Axes of scores are the panel's own.

  Args:
    runs: any; targets without a run that measured the metric at two steps are
      left out, unless all are.
    metric: key of the evaluation rows.
    title: stands above the picture.

  Returns:
    A PNG file's bytes.
  """
  panels = panels_of(runs, metric)
  rows, columns = grid_of(len(panels))
  figure = _figure(5.4 * columns, 3.3 * rows + 0.4)
  draw_panels(figure, panels, metric, _title(title, runs), method_styles(runs))
  return _png(figure)


def draw_labels_gap(runs: Sequence[Run]) -> bytes:
  """Final IDM accuracy and success or score at each label budget, as bars.

  The picture that makes a newcomer understand what each method makes of the same
  few recorded actions. Bars are means over seeds (and over the targets of an
  experiment), whiskers one sample standard deviation, dots the seeds.

  Returns:
    A PNG file's bytes.
  """
  rows = over_targets(runs)
  figure = _figure(10.8, bars_height(rows))
  draw_bars(figure, rows, method_styles(runs))
  return _png(figure)


def draw_label_curve(runs: Sequence[Run]) -> bytes | None:
  """Final figures over the number of labels, one line per method.

  A row of panels for each experiment and target in which a method has three budgets
  or more; None where there is none.

  Returns:
    A PNG file's bytes.
  """
  panels = label_panels(runs)
  if not panels:
    return None
  figure = _figure(10.8, 3.6 * len(panels) + 0.4)
  draw_label_panels(figure, panels, method_styles(runs))
  return _png(figure)


def draw_calibration(calibration: Mapping[str, Any]) -> bytes:
  """The reliability diagram of a label card.

  Returns:
    A PNG file's bytes.
  """
  figure = _figure(6.4, 5.6)
  draw_calibration_panel(figure, calibration)
  return _png(figure)


def _draw_overview(runs: Sequence[Run], metric: str) -> bytes:
  """The bars above, a metric's curves below."""
  rows = over_targets(runs)
  panels = panels_of(runs, metric)
  num_rows, _ = grid_of(len(panels))
  heights = bars_height(rows), 3.3 * num_rows + 0.4
  figure = _figure(10.8, sum(heights))
  above, below = figure.subfigures(2, 1, height_ratios=heights)
  styles = method_styles(runs)
  draw_bars(above, rows, styles)
  draw_panels(below, panels, metric, _title(_OVERVIEW[metric], runs), styles)
  return _png(figure)


def _title(title: str, runs: Sequence[Run]) -> str:
  """With the budget that all panels share."""
  labels = shared_budget(runs)
  return title if labels is None else f'{title}, {budget_name(labels)}'


def _figure(width: float, height: float) -> Figure:
  figure = Figure(figsize=(width, height), layout='constrained', facecolor='white')
  FigureCanvasAgg(figure)
  return figure


def _png(figure: Figure) -> bytes:
  buffer = io.BytesIO()
  # Without the 'Software' entry the same numbers give the same bytes.
  figure.savefig(buffer, dpi=_PIXELS_PER_INCH, metadata={'Software': None})
  return buffer.getvalue()
