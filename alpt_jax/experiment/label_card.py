"""The label card: what the labels of `bin/label` are worth, made from its folder.

  label_card.json   every number, and what they mean in plain words
  label_card.html   the same as a page that opens from disk
  strips/*.png      the moments that the model was least and most sure of

It needs the tables and the frames, not the model, so it can be made anew at any time.
"""

import io
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from alpt_jax.data.pool import Pool
from alpt_jax.experiment.recordings import Recordings, read_recordings
from alpt_jax.experiment.records import write_record
from alpt_jax.experiment.strips import changes, draw_strip
from alpt_jax.labelling import card_figures
from alpt_jax.report import label_card as page
from alpt_jax.report.label_gain import label_gains
from alpt_jax.report.label_verdict import verdict
from alpt_jax.report.run_files import read_object
from alpt_jax.report.tables import replace_file

PAGE = page.PAGE

_LABELS = 'episode step action confidence recorded trained_on guess second'.split()
_AUDIT = 'guess true_action confidence unit recording probabilities'.split()


def write_label_card(
  folder: str | os.PathLike,
  pool: Pool,
  data: str | os.PathLike,
  curve: str | os.PathLike | None = None,
) -> dict[str, Any]:
  """Writes the card of labels that are all there, and gives what it says.

  Args:
    folder: that `bin/label` wrote.
    pool: the dataset that was labelled; only its frames are read.
    data: its folder; a `conversion.json` there or above says of which files it is.
    curve: a folder of runs with fewer labels, and without sources, that tell what more
      of them would bring (`report/label_gain.py`).

  Raises:
    UserError: a file of `folder` is missing or damaged, or `curve` holds no such runs.
  """
  from alpt_jax.data import label_table  # may be missing its package

  folder = pathlib.Path(folder)
  labelling = read_object(folder / 'labelling.json')
  identity = labelling['identity']
  truth = ['true_action'] if identity['forget'] else []
  parts = sorted((folder / 'labels').glob('part-*-of-*.parquet'))
  labels = label_table.read_table(parts, [*_LABELS, *truth])
  audit = label_table.read_table([folder / 'audit.parquet'], _AUDIT)
  recordings = read_recordings(data, pool)
  learnt_from = recordings.of_episode[labels['episode'][labels['trained_on']]]
  names = pool.spec.action_names
  figures = card_figures.figures(
    labels, audit, names, identity['min_confidence'], identity['seed']
  )
  card = {
    'format': 1,
    'environment': pool.spec.name,
    **{key: labelling[key] for key in ('run', 'step', 'data', 'identity', 'versions')},
    'temperature': labelling['temperature'],
    'units': {
      **labelling['audit'],
      'num': len(np.unique(audit['unit'])),
      'are_learnt_from': bool(np.isin(audit['recording'], learnt_from).any()),
    },
    **figures,
    'moments': {
      kind: [
        _moment(folder, f'{kind}-{place + 1}', labels, row, pool, recordings)
        for place, row in enumerate(rows.tolist())
      ]
      for kind, rows in (
        ('least', card_figures.least_sure(labels)),
        ('most', card_figures.most_sure(labels)),
      )
    },
    'recordings_least_sure': [
      {**each, 'recording': recordings.names[each['recording']]}
      for each in card_figures.least_sure_recordings(labels, recordings.of_episode)
    ],
    'curve': label_gains(curve, pool.spec.name) if curve else None,
  }
  card['verdict'] = verdict(card)
  write_record(folder / page.CARD, card)
  page.build(folder)
  return card


def _moment(
  folder: pathlib.Path,
  name: str,
  labels: Mapping[str, np.ndarray],
  row: int,
  pool: Pool,
  recordings: Recordings,
) -> dict[str, Any]:
  """One guess and where it was made; its picture is written beside."""

  def action(column: str) -> str | None:
    index = labels[column][row] if column in labels else -1
    return pool.spec.action_names[index] if index >= 0 else None

  episode, step = int(labels['episode'][row]), int(labels['step'][row])
  is_image = pool.spec.observation.kind == 'image'
  if is_image:
    strip = io.BytesIO()
    draw_strip(pool, episode, step).save(strip, 'PNG')
    replace_file(folder / 'strips' / f'{name}.png', strip.getvalue())
  return {
    'episode': episode,
    'step': step,
    'place': recordings.place(episode, step),
    'guess': action('guess'),
    'confidence': float(labels['confidence'][row]),
    'second': action('second'),
    'is_kept': bool(labels['action'][row] >= 0),
    'truth': action('true_action'),
    'strip': f'strips/{name}.png' if is_image else None,
    'changes': None if is_image else changes(pool, episode, step),
  }
