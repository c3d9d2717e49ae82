"""Moments of a label card: the frames around a guess, and what the model said."""

import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from alpt_jax.report.measures import percent
from alpt_jax.report.web_page import embedded, paragraph

LEAST = 'The guesses that it is least sure of, at most one of a stretch'
MOST = 'The surest guess of each action'


def show_moments(
  folder: pathlib.Path, moments: Sequence[Mapping[str, Any]], what: str
) -> list[str]:
  """Strips of frames, or changes, with what the model said; as HTML.

  Args:
    folder: of the card.
    moments: of `label_card.json`.
    what: they are.
  """
  if not moments:
    return [
      paragraph('Every action of this dataset was recorded: nothing was guessed.')
    ]
  said = f'{what}. '
  if moments[0]['strip']:
    said += (
      'Time runs to the right; the action is taken between the two outlined frames, '
      'from "before" to "after".'
    )
  else:
    said += 'Observations here are numbers: those that change are named.'
  figures = []
  for place, moment in enumerate(moments):
    picture = ''
    if moment['strip']:
      content = (folder / moment['strip']).read_bytes()
      picture = embedded(content, 'png', f'frames around {moment["place"]}')
    caption = html.escape(_caption(moment))
    figures.append(
      f'<figure><figcaption>{place + 1}. {caption}</figcaption>{picture}</figure>'
    )
  return [paragraph(said), f'<div class="strips">{"".join(figures)}</div>']


def _caption(moment: Mapping[str, Any]) -> str:
  said = f'{moment["place"]}: {moment["guess"]}, {percent(moment["confidence"])} sure'
  if moment['second']:
    said += f'; second guess {moment["second"]}'
  if not moment['is_kept']:
    said += '; left without an action'
  if moment['truth']:
    is_right = moment['truth'] == moment['guess']
    said += f'; the truth: {moment["truth"]} ({"right" if is_right else "WRONG"})'
  if moment['changes']:
    said += f'. {moment["changes"]}'
  return said
