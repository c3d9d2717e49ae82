"""The bars of the final scores, drawn on a figure that `curves.py` made.

Each label budget is a band of bars, one per method, so that the gap between the
methods at few labels and at many is read downwards, without a legend.
"""

from collections.abc import Sequence

from alpt_jax.report.looks import GREY, Styles, budget_name, plain_axes, short_number
from alpt_jax.report.tables import REFERENCES, TableRow

_TITLES = {
  'idm_accuracy': 'hidden actions labelled correctly (IDM accuracy)',
  'success_sampled': 'episodes that reach the goal (success, sampled)',
}


def _bands(rows: Sequence[TableRow]) -> list[tuple[str, str, list[TableRow]]]:
  """(experiment, heading, rows) of each label budget, in report order."""
  methods = [row for row in rows if not row.is_reference]
  several = len({row.experiment for row in methods}) > 1
  bands = {}
  for row in methods:
    bands.setdefault((row.experiment, row.labels), []).append(row)
  return [
    (key[0], (f'{key[0]}: ' if several else '') + budget_name(key[1]), band)
    for key, band in bands.items()
  ]


def bars_height(rows: Sequence[TableRow]) -> float:
  """Inches that the bars of a final table need."""
  return 1.3 + sum(0.3 * (len(band) + 1.4) for _, _, band in _bands(rows))


def draw_bars(figure, rows: Sequence[TableRow], styles: Styles) -> None:
  """Draws final IDM accuracy and sampled success side by side, where measured.

  Bars are means over seeds, whiskers one sample standard deviation, dots seeds.
  """
  measured = [name for name in _TITLES if any(name in row.spreads for row in rows)]
  figure.suptitle(
    'What a few recorded actions are worth', x=0.01, ha='left', weight='bold'
  )
  measured = measured or ['success_sampled']
  grid = figure.subplots(1, len(measured), squeeze=False, sharey=True)
  for axes, metric in zip(grid.flat, measured, strict=True):
    _draw_column(axes, rows, metric, styles)


def _draw_column(axes, rows: Sequence[TableRow], metric: str, styles: Styles) -> None:
  axes.set_title(_TITLES[metric], loc='left', fontsize=10, pad=20)
  plain_axes(axes)
  axes.spines['left'].set_visible(False)
  axes.set_xlim(0, 1.14)
  axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
  axes.grid(axis='x', color='#EEEEEE')
  ticks, headings, top = [], [], 0.0
  for index, (experiment, heading, band) in enumerate(_bands(rows)):
    ticks.append((top, heading))
    headings.append(top)
    for place, row in enumerate(band, start=1):
      _draw_bar(axes, top + place, row, metric, styles[row.method][0])
      ticks.append((top + place, row.method))
    bottom = top + len(band) + 0.5
    _draw_bar_references(
      axes, rows, experiment, metric, (top - 0.5, bottom), index == 0
    )
    top = bottom + 0.9
  axes.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
  axes.tick_params(axis='y', length=0, labelsize=10)
  axes.set_ylim(top - 0.7, -0.7)
  for (place, _), tick in zip(ticks, axes.yaxis.get_major_ticks(), strict=True):
    if place in headings:
      tick.label1.set(style='italic', color=GREY, size=9)


def _draw_bar(axes, place: float, row: TableRow, metric: str, colour: str) -> None:
  found = row.spreads.get(metric)
  if found is None:
    text = 'has no IDM' if metric == 'idm_accuracy' and row.steps else 'not measured'
    axes.text(0.01, place, text, va='center', fontsize=9, color='#999999')
    return
  axes.barh(place, found.mean, height=0.72, color=colour)
  reach = max(found.mean, *found.values) if len(found.values) > 1 else found.mean
  if found.deviation is not None:
    ends = found.mean - found.deviation, found.mean + found.deviation
    axes.hlines(place, *ends, color='black', linewidth=1.2)
    heights = [place] * len(found.values)
    axes.scatter(
      found.values, heights, s=14, color='white', edgecolor='black', zorder=3
    )
    reach = max(reach, ends[1])
  axes.annotate(
    short_number(found.mean),
    xy=(reach, place),
    xytext=(5, 0),
    textcoords='offset points',
    va='center',
    fontsize=10,
    weight='bold',
    bbox={'color': 'white', 'pad': 0.8},
    zorder=4,
  )


def _draw_bar_references(axes, rows, experiment, metric, ends, is_first) -> None:
  """Dashed marks of what costs no labels; named above the first band."""
  names = {REFERENCES[key][0] for key in ('random_walk', 'behaviour', 'idm_majority')}
  for row in rows:
    wanted = row.is_reference and row.experiment == experiment and row.method in names
    if not wanted or metric not in row.spreads:
      continue
    mean = row.spreads[metric].mean
    axes.vlines(mean, *ends, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=2.5)
    if is_first:
      axes.annotate(
        f'{row.method} {short_number(mean)}',
        xy=(mean, -0.7),
        xytext=(0, 4),
        textcoords='offset points',
        ha='left' if mean < 0.2 else 'center',
        fontsize=8,
        color=GREY,
        annotation_clip=False,
      )
