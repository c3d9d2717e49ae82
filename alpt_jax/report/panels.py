"""Panels of curves over training steps, drawn on a figure that `curves.py` made."""

from collections.abc import Sequence

from alpt_jax.report.looks import (
  FARTHEST,
  GREY,
  Styles,
  budget_name,
  plain_axes,
  short_number,
)
from alpt_jax.report.measures import METRICS, REFERENCES, compared_with, is_share
from alpt_jax.report.runs import (
  ALL_LABELS,
  Run,
  by_part,
  counted_runs,
  group_runs,
  has_curve,
  has_metric,
  labels_rank,
  part_names,
  points,
)
from alpt_jax.report.tables import Spread, reference, spread

_LABEL_GAP = 0.062  # height of a line of text as a share of a panel's height
_MOST_SINGLE_LINES = 3  # seeds; with more the shade says it better


def panels_of(runs: Sequence[Run], metric: str) -> list[tuple[str, list[Run]]]:
  """(name, runs) of each panel, in report order.

  An experiment's target without a curve of the metric gets no panel; if none has
  one, all do, and say so.
  """
  parts = by_part(runs)
  names = part_names(parts)
  drawn = [part for part in parts if has_curve(parts[part], metric)] or list(parts)
  shared = shared_budget(runs) is not None
  panels = []
  for part in drawn:
    own = parts[part]
    budgets = sorted({run.labels for run in own}, key=labels_rank)
    guests = _only_with_all_labels(own) if len(budgets) > 1 else set()
    for labels in budgets:
      shown = [run for run in own if run.labels == labels or run.method in guests]
      if all(run.method in guests for run in shown):
        continue
      budget = '' if shared else budget_name(labels)
      panels.append((': '.join(filter(None, (names[part], budget))), shown))
  return panels


def shared_budget(runs: Sequence[Run]) -> int | None:
  """The one limited budget of several targets or experiments; None otherwise.

  Where there is one, the picture's title names it, and its panels need not.
  """
  budgets = {run.labels for run in runs} - {ALL_LABELS}
  several = len({run.part for run in runs}) > 1
  return budgets.pop() if several and len(budgets) == 1 else None


def _only_with_all_labels(runs: Sequence[Run]) -> set[str]:
  """Methods that never ran with a limited budget."""
  limited = {run.method for run in runs if run.labels != ALL_LABELS}
  return {run.method for run in runs} - limited


def grid_of(num_panels: int) -> tuple[int, int]:
  """(rows, columns): two abreast, so that text stays legible on a page."""
  columns = min(2, num_panels)
  return -(-num_panels // columns), columns


def draw_panels(figure, panels, metric: str, title: str, styles: Styles) -> None:
  rows, columns = grid_of(len(panels))
  grid = figure.subplots(rows, columns, squeeze=False, sharey=is_share(metric))
  figure.suptitle(title, x=0.01, ha='left', weight='bold', fontsize=12)
  for axes, (name, shown) in zip(grid.flat, panels, strict=False):
    _draw_panel(axes, shown, metric, name, styles)
  for axes in grid.flat[len(panels) :]:
    axes.set_axis_off()


def _step_name(step: float, last_step: int) -> str:
  """'1,500', or in thousands where a panel has no room for all the zeros."""
  return f'{step:,.0f}' if last_step < 100_000 else f'{step / 1000:,.0f}k'


def _draw_panel(axes, runs: Sequence[Run], metric: str, name: str, styles) -> None:
  axes.set_title(name, loc='left', fontsize=10)
  plain_axes(axes)
  axes.grid(axis='y', color='#EEEEEE')
  axes.set_xlabel('training steps', fontsize=9)
  axes.set_ylabel(METRICS.get(metric, metric), fontsize=9)
  axes.yaxis.set_tick_params(labelleft=True)
  axes.locator_params(axis='x', nbins=5)
  if is_share(metric):
    axes.set_ylim(0, 1.04)
  else:
    axes.yaxis.set_major_formatter(lambda value, _: f'{value:,.6g}')
  if not has_metric(runs, metric):
    axes.text(0.5, 0.5, 'not measured', color=GREY, transform=axes.transAxes)
    return
  counted = [r for group in group_runs(runs).values() for r in counted_runs(group)]
  labels = []
  for (*_, method), group in group_runs(runs).items():
    end = _draw_line(axes, counted_runs(group), metric, styles[method])
    if end:
      text = f'{method}  {short_number(end[1], metric)}'
      labels.append((end, text, styles[method][0]))
  labels = draw_references(axes, counted, metric) + labels
  last_step = max(r.evaluations[-1]['step'] for r in counted)
  axes.set_xlim(0, max(last_step, 1))
  axes.xaxis.set_major_formatter(lambda step, _: _step_name(step, last_step))
  label_ends(axes, labels)


def draw_references(axes, runs: Sequence[Run], metric: str) -> list[tuple]:
  """Dashed lines; returns their labels as `label_ends` takes them.

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
    if not is_share(metric) and found.mean > FARTHEST * top:
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
  tables = [table for run in runs if (table := dict(points(run, metric)))]
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


def label_ends(axes, labels: list[tuple]) -> None:
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
