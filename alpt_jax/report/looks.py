"""What all pictures share: each method's colour and marker, quiet axes, names.

Works on axes that it is given; `curves.py` alone imports matplotlib.
"""

from collections.abc import Mapping, Sequence

from alpt_jax.report.measures import number_text
from alpt_jax.report.runs import ALL_LABELS, Run, method_rank
from alpt_jax.report.tables import format_labels

# Okabe and Ito's colours, told apart by all common forms of colour blindness.
_STYLES = {
  'DT1': ('#CC79A7', 'v'),
  'DT1-IDM': ('#E69F00', 's'),
  'ALPT': ('#0072B2', 'h'),
  'ALPT-Blocked': ('#0072B2', 'o'),
  'ALPT-Blocked+Tunneled': ('#009E73', 'D'),
  'oracle': ('#333333', '*'),
  'base': ('#999999', 'd'),
}
_SPARE_STYLES = (
  ('#D55E00', '^'),
  ('#56B4E9', 'P'),
  ('#882255', 'X'),
  ('#999933', '<'),
  ('#6A3D9A', '>'),
)
GREY = '#777777'

# Method -> (colour, marker).
Styles = Mapping[str, tuple[str, str]]


def method_styles(runs: Sequence[Run]) -> Styles:
  """Method -> (colour, marker); known methods never change theirs."""
  methods = sorted({run.method for run in runs}, key=method_rank)
  unknown = [method for method in methods if method not in _STYLES]
  spare = {
    method: _SPARE_STYLES[index % len(_SPARE_STYLES)]
    for index, method in enumerate(unknown)
  }
  return {method: _STYLES.get(method) or spare[method] for method in methods}


def short_number(value: float, metric: str) -> str:
  """Two decimals; three where two would turn nearly all into all; a score's own."""
  if metric == 'score':
    return number_text(metric, value)
  return f'{value:.3f}' if 0.995 <= value < 1 else f'{value:.2f}'


def budget_name(labels: int | str) -> str:
  """A label budget as the heading of a panel."""
  if labels == ALL_LABELS:
    return 'all actions recorded'
  return f'{format_labels(labels)} recorded actions'


def plain_axes(axes) -> None:
  """Takes away what carries no information."""
  axes.spines[['top', 'right']].set_visible(False)
  axes.spines[['left', 'bottom']].set_color('#AAAAAA')
  axes.tick_params(colors='#444444', labelsize=9, length=3)
  axes.set_axisbelow(True)
