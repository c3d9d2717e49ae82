"""Label efficiency: final figures over the number of recorded actions.

Drawn on a figure that `curves.py` made.
"""

from collections.abc import Sequence

from alpt_jax.report.looks import Styles, plain_axes, short_number
from alpt_jax.report.measures import METRICS, is_share
from alpt_jax.report.panels import draw_references, label_ends
from alpt_jax.report.runs import (
  ALL_LABELS,
  Run,
  by_part,
  counted_runs,
  group_runs,
  part_names,
  value_of,
)
from alpt_jax.report.tables import Spread, format_labels, spread

_TITLE = 'What each recorded action is worth'
_FEWEST_BUDGETS = 3
# The labeller's figure, then the player's: the first of the two that was measured.
_COLUMNS = (('idm_accuracy',), ('success_sampled', 'score'))

# (name of the row, its metrics, its runs)
Panels = list[tuple[str, list[str], list[Run]]]


def label_panels(runs: Sequence[Run], fewest_budgets: int = _FEWEST_BUDGETS) -> Panels:
  """What `draw_label_panels` draws; [] where no method has so many budgets."""
  parts = by_part(runs)
  names = part_names(parts)
  panels = []
  for part, own in parts.items():
    metrics = [
      metric
      for choice in _COLUMNS
      for metric in [name for name in choice if _has_line(own, name, fewest_budgets)][
        :1
      ]
    ]
    if metrics:
      panels.append((names[part], metrics, own))
  return panels


def _has_line(runs: Sequence[Run], metric: str, fewest_budgets: int) -> bool:
  budgets = {}
  for (_, _, labels, method), found in _spreads(runs, metric).items():
    if labels != ALL_LABELS and found:
      budgets.setdefault(method, set()).add(labels)
  return any(len(each) >= fewest_budgets for each in budgets.values())


def _spreads(runs: Sequence[Run], metric: str) -> dict[tuple, Spread | None]:
  """(experiment, target, labels, method) -> final figures over the counted seeds."""
  return {
    key: spread(value_of(run.last, metric) for run in counted_runs(group))
    for key, group in group_runs(runs).items()
  }


def draw_label_panels(figure, panels: Panels, styles: Styles) -> None:
  """One row per target: IDM accuracy, then success or score.

  Lines are means over seeds, dots the seeds, shades one sample standard deviation;
  the number of labels stands on a logarithmic axis. What knows all labels has none
  to stand at, and is a horizontal line, as are the references.
  """
  grid = figure.subplots(len(panels), len(_COLUMNS), squeeze=False)
  figure.suptitle(_TITLE, x=0.01, ha='left', weight='bold', fontsize=12)
  for line, (name, metrics, runs) in zip(grid, panels, strict=True):
    for axes, metric in zip(line, metrics, strict=False):
      _draw_panel(axes, runs, metric, name, styles)
    for axes in line[len(metrics) :]:
      axes.set_axis_off()


def _draw_panel(axes, runs: Sequence[Run], metric: str, name: str, styles) -> None:
  axes.set_title(': '.join(filter(None, (name, METRICS[metric]))), loc='left', size=10)
  plain_axes(axes)
  axes.grid(axis='y', color='#EEEEEE')
  axes.set_xlabel('recorded actions of the target', fontsize=9)
  axes.set_xscale('log')
  if is_share(metric):
    axes.set_ylim(0, 1.04)
  else:
    axes.yaxis.set_major_formatter(lambda value, _: f'{value:,.6g}')
  lines = {}
  for (_, _, labels, method), found in _spreads(runs, metric).items():
    if found:
      lines.setdefault(method, {})[labels] = found
  ends = [
    _draw_method(axes, found, metric, method, styles[method])
    for method, found in lines.items()
  ]
  counted = [r for group in group_runs(runs).values() for r in counted_runs(group)]
  _mark_budgets(axes, {labels for found in lines.values() for labels in found})
  label_ends(axes, draw_references(axes, counted, metric) + ends)


def _draw_method(axes, found: dict, metric: str, method: str, style) -> tuple:
  """A line over budgets, or across; returns its label as `label_ends` takes it."""
  colour, marker = style
  budgets = sorted(labels for labels in found if labels != ALL_LABELS)
  if not budgets:
    mean, deviation, _ = whole = found[ALL_LABELS]
    axes.axhline(mean, color=colour, linewidth=1.6, zorder=2.5)
    axes.axhspan(
      mean - (deviation or 0), mean + (deviation or 0), color=colour, alpha=0.1
    )
    return (None, mean), f'{method}  {short_number(whole.mean, metric)}', colour
  means = [found[labels].mean for labels in budgets]
  axes.plot(
    budgets,
    means,
    color=colour,
    marker=marker,
    markersize=5,
    linewidth=2,
    zorder=3,
    clip_on=False,
  )
  low = [found[labels].mean - (found[labels].deviation or 0) for labels in budgets]
  high = [found[labels].mean + (found[labels].deviation or 0) for labels in budgets]
  axes.fill_between(budgets, low, high, color=colour, alpha=0.13, linewidth=0)
  for labels in budgets:
    values = found[labels].values
    if len(values) > 1:
      places = [labels] * len(values)
      axes.scatter(places, values, s=9, color=colour, alpha=0.5, lw=0, clip_on=False)
  return (
    (budgets[-1], means[-1]),
    f'{method}  {short_number(means[-1], metric)}',
    colour,
  )


def _mark_budgets(axes, budgets: set) -> None:
  """A tick at each budget that was run; the last one ends the axis."""
  ticks = sorted(budgets - {ALL_LABELS})
  axes.set_xticks(ticks, [format_labels(labels) for labels in ticks])
  axes.minorticks_off()
  axes.set_xlim(ticks[0] / 1.15, ticks[-1])
  axes.tick_params(axis='x', labelsize=8 if len(ticks) > 6 else 9)
