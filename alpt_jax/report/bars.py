"""The bars of the final scores, drawn on a figure that `curves.py` made.

Each label budget is a band of bars, one per method, so that the gap between the
methods at few labels and at many is read downwards, without a legend.
"""

from collections.abc import Sequence

from alpt_jax.report.aggregate import is_mean
from alpt_jax.report.looks import (
  FARTHEST,
  GREY,
  Styles,
  budget_name,
  plain_axes,
  short_number,
)
from alpt_jax.report.measures import METRICS, REFERENCES, is_share
from alpt_jax.report.tables import TableRow

_TITLES = {
  'idm_accuracy': 'hidden actions labelled correctly (IDM accuracy)',
  'success_sampled': 'episodes that reach the goal (success, sampled)',
  'score': 'mean raw return of an episode (score)',
  'score_human_normalised': 'score; 0 random play, 1 human',
}

# References that get a mark, where they are measured.
_MARKED = (
  *('random_walk', 'behaviour', 'score_random', 'score_human'),
  *('idm_majority', 'idm_visible'),
)
_CLOSE = 0.3  # share of the axis below which two names would overlap
_CLOSE_TO_EDGE = 0.6  # the same, where the second one ends at the axis


def _bands(rows: Sequence[TableRow]) -> list[tuple[tuple, str, list[TableRow]]]:
  """((experiment, target), heading, rows) of each label budget, in report order."""
  methods = [row for row in rows if not row.is_reference]
  several = len({row.experiment for row in methods}) > 1
  bands = {}
  for row in methods:
    bands.setdefault((row.part, row.labels), []).append(row)
  found = []
  for (part, labels), band in bands.items():
    experiment, target = part
    names = [experiment] * several + [target] * is_mean(target)
    heading = (
      [': '.join(names), budget_name(labels)] if names else [budget_name(labels)]
    )
    # One line would take a third of the picture's width.
    found.append((part, (',\n' if is_mean(target) else ': ').join(heading), band))
  return found


def bars_height(rows: Sequence[TableRow]) -> float:
  """Inches that the bars of a final table need."""
  return 1.3 + sum(0.3 * (len(band) + 1.4) for _, _, band in _bands(rows))


def draw_bars(figure, rows: Sequence[TableRow], styles: Styles) -> None:
  """Draws final IDM accuracy and sampled success or score side by side.

  Only what was measured gets a column. Scores of several experiments, that is of
  games that count differently, are compared normalised where they can be. Bars are
  means over seeds, whiskers one sample standard deviation, dots seeds.
  """
  measured = _columns(rows)
  figure.suptitle(
    'What a few recorded actions are worth', x=0.01, ha='left', weight='bold'
  )
  measured = measured or ['success_sampled']
  grid = figure.subplots(1, len(measured), squeeze=False, sharey=True)
  for axes, metric in zip(grid.flat, measured, strict=True):
    # Three columns leave no room for the long titles.
    title = _TITLES[metric] if len(measured) < 3 else METRICS[metric]
    _draw_column(axes, rows, metric, title, styles)


def _columns(rows: Sequence[TableRow]) -> list[str]:
  """The metrics that get a column, one kind of score at most."""
  measured = [name for name in _TITLES if any(name in row.spreads for row in rows)]
  scored = [row for row in rows if 'score' in row.spreads and not row.is_reference]
  several = len({row.experiment for row in scored}) > 1
  comparable = all('score_human_normalised' in row.spreads for row in scored)
  left_out = 'score' if several and comparable else 'score_human_normalised'
  if not scored:
    left_out = 'score'  # means over games are normalised
  return [name for name in measured if name != left_out]


def _limits(rows: Sequence[TableRow], metric: str) -> tuple[float, float]:
  """Ends of an axis: 0 to 1 for shares; what bars and whiskers reach for others."""
  if is_share(metric):
    return 0, 1.14
  ends = [0.0]
  marks = [0.0]
  for row in rows:
    found = row.spreads.get(metric)
    if found and row.is_reference:
      marks.append(found.mean)
    elif found:
      deviation = found.deviation or 0
      ends += [found.mean - deviation, found.mean + deviation, *found.values]
  low, high = min(ends + marks), max(ends)
  size = max(high, -low) or max(marks) or 1.0
  low, high = low - 0.05 * size * (low < 0), high or 0.5 * size
  near = [mark for mark in marks if mark <= FARTHEST * high]
  # Room at the right for the last number.
  return low, low + 1.14 * (max(high, *near) - low)


def _draw_column(axes, rows, metric: str, title: str, styles: Styles) -> None:
  axes.set_title(title, loc='left', fontsize=10, pad=20)
  plain_axes(axes)
  axes.spines['left'].set_visible(False)
  axes.set_xlim(*_limits(rows, metric))
  if is_share(metric):
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
  else:
    axes.locator_params(axis='x', nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: f'{value:,.6g}')
    axes.axvline(0, color='#AAAAAA', linewidth=0.8)
  axes.grid(axis='x', color='#EEEEEE')
  ticks, headings, top = [], [], 0.0
  for index, (part, heading, band) in enumerate(_bands(rows)):
    ticks.append((top, heading))
    headings.append(top)
    for place, row in enumerate(band, start=1):
      _draw_bar(axes, top + place, row, metric, styles[row.method][0])
      ticks.append((top + place, row.method))
    bottom = top + len(band) + 0.5
    _draw_bar_references(axes, rows, part, metric, (top - 0.5, bottom), index == 0)
    top = bottom + 0.9
  axes.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
  axes.tick_params(axis='y', length=0, labelsize=10)
  axes.set_ylim(max(top - 0.7, 0.0), -0.7)  # without a bar, too
  for (place, _), tick in zip(ticks, axes.yaxis.get_major_ticks(), strict=True):
    if place in headings:
      tick.label1.set(style='italic', color=GREY, size=9)


def _draw_bar(axes, place: float, row: TableRow, metric: str, colour: str) -> None:
  found = row.spreads.get(metric)
  if found is None:
    text = 'has no IDM' if metric == 'idm_accuracy' and row.steps else 'not measured'
    axes.text(
      0.01 * axes.get_xlim()[1] / 1.14,
      place,
      text,
      va='center',
      fontsize=9,
      color='#999999',
    )
    return
  axes.barh(place, found.mean, height=0.72, color=colour)
  reach = max(0, found.mean, *found.values)
  if found.deviation is not None:
    ends = found.mean - found.deviation, found.mean + found.deviation
    axes.hlines(place, *ends, color='black', linewidth=1.2)
    heights = [place] * len(found.values)
    axes.scatter(
      found.values, heights, s=14, color='white', edgecolor='black', zorder=3
    )
    reach = max(reach, ends[1])
  axes.annotate(
    short_number(found.mean, metric),
    xy=(reach, place),
    xytext=(5, 0),
    textcoords='offset points',
    va='center',
    fontsize=10,
    weight='bold',
    bbox={'color': 'white', 'pad': 0.8},
    zorder=4,
  )


def _draw_bar_references(axes, rows, part, metric, ends, is_first) -> None:
  """Dashed marks of what costs no labels; named above the first band."""
  names = {REFERENCES[key][0] for key in _MARKED}
  high = axes.get_xlim()[1]
  marks = []
  for row in rows:
    wanted = row.is_reference and row.part == part and row.method in names
    if not wanted or metric not in row.spreads:
      continue
    mean = row.spreads[metric].mean
    name = f'{row.method} {short_number(mean, metric)}'
    if mean > high:
      marks.append((high, f'{name} \N{RIGHTWARDS ARROW}'))
      continue
    marks.append((mean, name))
    axes.vlines(mean, *ends, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=2.5)
  if is_first:
    _name_marks(axes, sorted(marks))


def _name_marks(axes, marks: Sequence[tuple[float, str]]) -> None:
  """Names above their marks; names that would overlap become one text."""
  low, high = axes.get_xlim()
  groups = []
  for place, name in marks:
    close = _CLOSE if place < high else _CLOSE_TO_EDGE
    if groups and place - groups[-1][-1][0] < close * (high - low):
      groups[-1].append((place, name))
    else:
      groups.append([(place, name)])
  for group in groups:
    first, last = group[0][0], group[-1][0]
    align = 'left' if (first - low) * 1.14 < 0.2 * (high - low) else 'center'
    if align == 'center' and last >= high:
      align = 'right'
    place = {'left': first, 'center': (first + last) / 2, 'right': last}[align]
    axes.annotate(
      ', '.join(name for _, name in group),
      xy=(place, -0.7),
      xytext=(0, 4),
      textcoords='offset points',
      ha=align,
      fontsize=8,
      color=GREY,
      annotation_clip=False,
    )
