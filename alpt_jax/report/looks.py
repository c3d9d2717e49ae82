"""What all pictures share: each method's colour and marker, quiet axes, names.

Works on axes that it is given; `curves.py` alone imports matplotlib.
"""

from collections.abc import Mapping, Sequence

from alpt_jax.report.measures import number_text
from alpt_jax.report.runs import ALL_LABELS, ORACLE, Run, method_rank
from alpt_jax.report.tables import format_labels

# Okabe and Ito's colours, told apart by all common forms of colour blindness; the
# spare ones are Tol's.
_STYLES = {
  'DT1': ('#CC79A7', 'v'),
  'DT1-IDM': ('#E69F00', 's'),
  'DT5': ('#D55E00', '^'),
  'DT5-RET': ('#56B4E9', 'P'),
  'ALPT': ('#0072B2', 'h'),
  'ALPT-Blocked': ('#0072B2', 'o'),
  'ALPT-Blocked+Tunneled': ('#009E73', 'D'),
  ORACLE: ('#333333', '*'),
}
_PRETRAINING_STYLE = ('#999999', 'd')
_SPARE_STYLES = (
  ('#882255', 'X'),
  ('#999933', '<'),
  ('#6A3D9A', '>'),
  ('#44AA99', '^'),
  ('#DDCC77', 'P'),
  ('#117733', 'v'),
)
GREY = '#777777'
# Ours: a reference further out than this many times what a picture's bars or curves
# reach would press them flat (Space Invaders: a human has 1,669); it is only named.
FARTHEST = 1.5

# Method -> (colour, marker).
Styles = Mapping[str, tuple[str, str]]


def method_styles(runs: Sequence[Run]) -> Styles:
  """Method -> (colour, marker); known methods never change theirs."""
  ranked = sorted(runs, key=method_rank)
  methods = list(dict.fromkeys(run.method for run in ranked))
  pretrained = {run.method for run in ranked if run.is_pretraining}
  known = {method: _STYLES[method] for method in methods if method in _STYLES}
  known |= {method: _STYLES[ORACLE] for method in methods if method.lower() == ORACLE}
  known |= dict.fromkeys(pretrained, _PRETRAINING_STYLE)
  unknown = [method for method in methods if method not in known]
  spare = {
    method: _SPARE_STYLES[index % len(_SPARE_STYLES)]
    for index, method in enumerate(unknown)
  }
  return {method: known.get(method) or spare[method] for method in methods}


def short_number(value: float, metric: str) -> str:
  """Two decimals; three where two would turn nearly all into all; a score's own."""
  if metric == 'score':
    return number_text(metric, value)
  return f'{value:.3f}' if 0.995 <= value < 1 else f'{value:.2f}'


def budget_name(labels: int | str) -> str:
  """A label budget as the heading of a panel."""
  if labels == ALL_LABELS:
    return 'all recorded actions'
  return f'{format_labels(labels)} recorded actions'


def plain_axes(axes) -> None:
  """Takes away what carries no information."""
  axes.spines[['top', 'right']].set_visible(False)
  axes.spines[['left', 'bottom']].set_color('#AAAAAA')
  axes.tick_params(colors='#444444', labelsize=9, length=3)
  axes.set_axisbelow(True)
