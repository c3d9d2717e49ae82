"""The pictures of a report: curves over steps, and the gap at few labels.

The only file here that imports matplotlib, and only its `Figure` object with the
Agg backend: nothing global is changed, no window is opened. Every method keeps
its colour and marker in every picture.
"""

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from alpt_jax.report.bars import bars_height, draw_bars
from alpt_jax.report.looks import (
  GREY,
  Styles,
  budget_name,
  method_styles,
  plain_axes,
  short_number,
)
from alpt_jax.report.measures import (
  METRICS,
  REFERENCES,
  compared_with,
  is_share,
)
from alpt_jax.report.runs import (
  ALL_LABELS,
  Run,
  counted_runs,
  group_runs,
  has_curve,
  has_metric,
  labels_rank,
  value_of,
)
from alpt_jax.report.tables import Spread, final_table, reference, spread

_PIXELS_PER_INCH = 200  # twice the size at which the page shows a picture
_LABEL_GAP = 0.062  # height of a line of text as a share of a panel's height
_MOST_SINGLE_LINES = 3  # seeds; with more the shade says it better
_FARTHEST = 1.5  # ours: references beyond this many times the curves are only named
_OVERVIEW = {
  'success_sampled': 'Success in the target while training',
  'score': 'Score in the target while training',
  'idm_accuracy': 'IDM accuracy while training',
}


def draw_curves(runs: Sequence[Run], metric: str, title: str) -> bytes:
  """A metric over training steps, the twin of the paper's figure 5b.

  One panel per label budget (and experiment). Lines are means over seeds at the
  steps that all counted seeds share, the shade one sample standard deviation;
  with 2 or 3 seeds each seed is a thin line as well. A method that only ever
  ran with all labels (the oracle) stands in every panel. Dashed lines are
  references: for success the random walk, the behaviour and the optimal policy,
  for a score published random and human play, for IDM accuracy the most common
  action and the ceiling. Axes of scores are the panel's own.

  Args:
    runs: any; experiments without a run that measured the metric at two steps
      are left out, unless all are.
    metric: key of the evaluation rows.
    title: stands above the picture.

  Returns:
    A PNG file's bytes.
  """
  panels = _panels(runs, metric)
  rows, columns = _grid(len(panels))
  figure = _figure(5.4 * columns, 3.3 * rows + 0.4)
  _draw_panels(figure, panels, metric, title, method_styles(runs))
  return _png(figure)


def draw_labels_gap(runs: Sequence[Run]) -> bytes:
  """Final IDM accuracy and success or score at each label budget, as bars.

  The picture that makes a newcomer understand what each method makes of the same
  few recorded actions. Bars are means over seeds, whiskers one sample standard
  deviation, dots the seeds.

  Returns:
    A PNG file's bytes.
  """
  rows = final_table(runs)
  figure = _figure(10.8, bars_height(rows))
  draw_bars(figure, rows, method_styles(runs))
  return _png(figure)


def draw_overview(runs: Sequence[Run]) -> bytes:
  """The bars above, success or score over steps below: one picture for a README.

  The curve is the first of `_OVERVIEW` that was measured at two steps; where none
  was (a run that evaluates once, at its end), the bars stand alone.

  Returns:
    A PNG file's bytes.
  """
  rows = final_table(runs)
  metric = next((name for name in _OVERVIEW if has_curve(runs, name)), None)
  if metric is None:
    return draw_labels_gap(runs)
  panels = _panels(runs, metric)
  num_rows, _ = _grid(len(panels))
  heights = bars_height(rows), 3.3 * num_rows + 0.4
  figure = _figure(10.8, sum(heights))
  above, below = figure.subfigures(2, 1, height_ratios=heights)
  styles = method_styles(runs)
  draw_bars(above, rows, styles)
  _draw_panels(below, panels, metric, _OVERVIEW[metric], styles)
  return _png(figure)


def _figure(width: float, height: float) -> Figure:
  figure = Figure(figsize=(width, height), layout='constrained', facecolor='white')
  FigureCanvasAgg(figure)
  return figure


def _png(figure: Figure) -> bytes:
  buffer = io.BytesIO()
  # Without the 'Software' entry the same numbers give the same bytes.
  figure.savefig(buffer, dpi=_PIXELS_PER_INCH, metadata={'Software': None})
  return buffer.getvalue()


def _panels(runs: Sequence[Run], metric: str) -> list[tuple[str, list[Run]]]:
  """(name, runs) of each panel, in report order.

  An experiment without a curve of the metric gets no panel; if none has one, all
  do, and say so.
  """
  names = sorted({run.experiment for run in runs})
  by_name = {name: [run for run in runs if run.experiment == name] for name in names}
  drawn = [name for name in names if has_curve(by_name[name], metric)] or names
  panels = []
  for name in drawn:
    own = by_name[name]
    budgets = sorted({run.labels for run in own}, key=labels_rank)
    guests = _only_with_all_labels(own) if len(budgets) > 1 else set()
    for labels in budgets:
      shown = [run for run in own if run.labels == labels or run.method in guests]
      if all(run.method in guests for run in shown):
        continue
      prefix = f'{name}: ' if len(names) > 1 else ''
      panels.append((prefix + budget_name(labels), shown))
  return panels


def _only_with_all_labels(runs: Sequence[Run]) -> set[str]:
  """Methods that never ran with a limited budget."""
  limited = {run.method for run in runs if run.labels != ALL_LABELS}
  return {run.method for run in runs} - limited


def _grid(num_panels: int) -> tuple[int, int]:
  """(rows, columns): two abreast, so that text stays legible on a page."""
  columns = min(2, num_panels)
  return -(-num_panels // columns), columns


def _draw_panels(figure, panels, metric: str, title: str, styles: Styles) -> None:
  rows, columns = _grid(len(panels))
  grid = figure.subplots(rows, columns, squeeze=False, sharey=is_share(metric))
  figure.suptitle(title, x=0.01, ha='left', weight='bold', fontsize=12)
  for axes, (name, shown) in zip(grid.flat, panels, strict=False):
    _draw_panel(axes, shown, metric, name, styles)
  for axes in grid.flat[len(panels) :]:
    axes.set_axis_off()


def _draw_panel(axes, runs: Sequence[Run], metric: str, name: str, styles) -> None:
  axes.set_title(name, loc='left', fontsize=10)
  plain_axes(axes)
  axes.grid(axis='y', color='#EEEEEE')
  axes.set_xlabel('training steps', fontsize=9)
  axes.set_ylabel(METRICS.get(metric, metric), fontsize=9)
  axes.yaxis.set_tick_params(labelleft=True)
  axes.locator_params(axis='x', nbins=5)
  axes.xaxis.set_major_formatter(lambda step, _: f'{step:,.0f}')
  if is_share(metric):
    axes.set_ylim(0, 1.04)
  else:
    axes.yaxis.set_major_formatter(lambda value, _: f'{value:,.6g}')
  if not has_metric(runs, metric):
    axes.text(0.5, 0.5, 'not measured', color=GREY, transform=axes.transAxes)
    return
  counted = [r for group in group_runs(runs).values() for r in counted_runs(group)]
  labels = []
  for (_, _, method), group in group_runs(runs).items():
    end = _draw_line(axes, counted_runs(group), metric, styles[method])
    if end:
      text = f'{method}  {short_number(end[1], metric)}'
      labels.append((end, text, styles[method][0]))
  labels = _draw_references(axes, counted, metric) + labels
  last_step = max(r.evaluations[-1]['step'] for r in counted)
  axes.set_xlim(0, max(last_step, 1))
  _label_ends(axes, labels)


def _draw_references(axes, runs: Sequence[Run], metric: str) -> list[tuple]:
  """Dashed lines; returns their labels as `_label_ends` takes them.

  A score far above all curves is named at the top edge: a line there would press
  the curves flat.
  """
  labels = []
  top = axes.get_ylim()[1]
  for key, (name, column) in REFERENCES.items():
    found = reference(runs, key)
    if not found or column != compared_with(metric):
      continue
    text = f'{name}  {short_number(found.mean, metric)}'
    if not is_share(metric) and found.mean > _FARTHEST * top:
      labels.append(((None, top), f'{text} \N{UPWARDS ARROW}', GREY))
      continue
    axes.axhline(found.mean, color=GREY, lw=1, linestyle=(0, (4, 3)), zorder=1.9)
    labels.append(((None, found.mean), text, GREY))
  if not is_share(metric):
    heights = [height for (_, height), _, _ in labels]
    low, high = axes.get_ylim()
    low, high = min(low, *heights, 0), max(high, *heights, 0)
    margin = 0.04 * (high - low)
    axes.set_ylim(low - margin * (low < 0), high + margin)
  return labels


def shared_points(runs: Sequence[Run], metric: str) -> list[tuple[int, Spread]]:
  """(step, spread over runs) at the steps where every run has the metric.

  A mean over fewer seeds than its neighbours would jump for no reason. Runs
  that never measured the metric do not count as runs here.
  """
  tables = [
    {row['step']: value_of(row, metric) for row in run.evaluations}
    for run in runs
    if has_metric([run], metric)
  ]
  tables = [{s: v for s, v in table.items() if v is not None} for table in tables]
  if not tables:
    return []
  steps = sorted(set(tables[0]).intersection(*tables[1:]))
  return [(step, spread(table[step] for table in tables)) for step in steps]


def _draw_line(axes, runs: Sequence[Run], metric: str, style):
  """Mean, shade and single seeds; returns the last point (step, mean) or None."""
  points = shared_points(runs, metric)
  if not points:
    return None
  colour, marker = style
  steps = [step for step, _ in points]
  means = [found.mean for _, found in points]
  axes.plot(
    steps,
    means,
    color=colour,
    marker=marker,
    markersize=4,
    linewidth=2,
    zorder=3,
    clip_on=False,
  )
  num_seeds = len(points[0][1].values)
  if num_seeds > 1:
    low = [found.mean - found.deviation for _, found in points]
    high = [found.mean + found.deviation for _, found in points]
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
  if 1 < num_seeds <= _MOST_SINGLE_LINES:
    for seed_values in zip(*(found.values for _, found in points), strict=True):
      axes.plot(steps, seed_values, color=colour, linewidth=0.7, alpha=0.6)
  return steps[-1], means[-1]


def _label_ends(axes, labels: list[tuple]) -> None:
  """Writes each line's name beside its end, moved apart until none overlap.

  Args:
    axes: the panel, its limits final.
    labels: ((step or None for the right edge, height), text, colour).
  """
  low, high = axes.get_ylim()
  right = axes.get_xlim()[1]
  gap = _LABEL_GAP * (high - low)
  labels = sorted(labels, key=lambda label: label[0][1])
  places = spread_apart([height for (_, height), _, _ in labels], gap, low, high)
  for ((step, height), text, colour), place in zip(labels, places, strict=True):
    axes.annotate(
      text,
      xy=(right if step is None else step, height),
      xytext=(1.05, place),
      textcoords=axes.get_yaxis_transform(),
      color=colour,
      fontsize=9,
      va='center',
      weight='normal' if step is None else 'bold',
      arrowprops={
        'arrowstyle': '-',
        'color': colour,
        'alpha': 0.5,
        'linewidth': 0.7,
        'relpos': (0, 0.5),
      },
      annotation_clip=False,
    )


def spread_apart(
  heights: Sequence[float], gap: float, low: float, high: float
) -> list[float]:
  """Moves ascending heights so that neighbours are `gap` apart, within limits.

  Each goes up as far as the one below it asks for, then down as far as the top
  asks for. When there is no room for all, they leave through the bottom.
  """
  places = []
  for height in heights:
    places.append(max(height, places[-1] + gap if places else low))
  ceiling = high
  for index in reversed(range(len(places))):
    places[index] = min(places[index], ceiling)
    ceiling = places[index] - gap
  return places
