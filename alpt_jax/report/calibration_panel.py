"""The reliability diagram: how often guesses are right, by how sure they are.

Drawn on a figure that `curves.py` made.
"""

from collections.abc import Mapping
from typing import Any

from alpt_jax.report.looks import GREY, plain_axes

# Label -> colour, marker and line of a series: shape alone tells them apart.
_SERIES = {
  'before': ('as the model says it', '#D55E00', 's', ':'),
  'after': ('with the temperature', '#0072B2', 'o', '-'),
}
_TITLE = 'How sure it is, and how often it is right'


def draw_calibration_panel(figure, calibration: Mapping[str, Any]) -> None:
  """Accuracy over confidence, and below it how many guesses stand at each.

  Args:
    figure: empty.
    calibration: of a label card: bins `before` and `after` the temperature, their
      calibration errors, and the floor.
  """
  figure.suptitle(_TITLE, x=0.01, ha='left', weight='bold', fontsize=12)
  above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
  above.plot([0, 1], [0, 1], color=GREY, linestyle='--', linewidth=1)
  above.text(
    0.02,
    0.04,  # where hardly a guess is so unsure
    'as sure as right',
    rotation=45,
    rotation_mode='anchor',
    transform_rotates_text=True,
    color=GREY,
    fontsize=9,
  )
  for key, (label, color, marker, line) in _SERIES.items():
    bins = calibration[key]
    above.plot(
      [each['confidence'] for each in bins],
      [each['accuracy'] for each in bins],
      color=color,
      marker=marker,
      markerfacecolor='white' if key == 'before' else color,
      linestyle=line,
      label=f'{label}: error {calibration[f"error_{key}"]:.3f}',
    )
  above.set(ylabel='share that is right', xlim=(0, 1.02), ylim=(-0.02, 1.02))
  above.legend(frameon=False, fontsize=9, loc='upper left')
  plain_axes(above)
  _draw_counts(below, calibration['after'])


def _draw_counts(axes, bins) -> None:
  """A bar for each bin, its number written on it."""
  width = 1 / 15
  places = [each['low'] + width / 2 for each in bins]
  counts = [each['count'] for each in bins]
  axes.bar(places, counts, 0.9 * width, color='#CCCCCC')
  for place, count in zip(places, counts, strict=True):
    axes.annotate(
      f'{count:,}',
      (place, count),
      (0, 2),
      textcoords='offset points',
      ha='center',
      fontsize=8,
    )
  axes.set(xlabel='confidence', ylabel='guesses', ylim=(0, 1.25 * max(counts)))
  plain_axes(axes)
