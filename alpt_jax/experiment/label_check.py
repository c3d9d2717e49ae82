"""The label demo's end: what the card claims, beside what really was done.

data/<game>        the converted recordings, of which a few actions are known
recordings/truth   tables that tell every action (`demo_recordings.py`)
run, labels        the model, and what `bin/label` made with it
redraws.csv        is written: a row for each audit that was drawn anew
"""

import csv
import io
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from alpt_jax.data import video_table
from alpt_jax.data.pool import Pool
from alpt_jax.data.recorded_labels import longest_stretch
from alpt_jax.data.video_steps import steps_of
from alpt_jax.experiment import datasets, trained_models
from alpt_jax.experiment.config import read_config
from alpt_jax.experiment.demo_recordings import RECORDINGS, TRUTH
from alpt_jax.experiment.recordings import CONVERSION, Recordings, read_recordings
from alpt_jax.labelling import intervals
from alpt_jax.labelling.labeller import LabellingConfig, label_pool
from alpt_jax.labelling.redraws import Redraw, Unseen, redraws
from alpt_jax.report.run_files import read_object
from alpt_jax.report.tables import replace_file

REDRAWS = 'redraws.csv'


def check(
  folder: pathlib.Path,
  game: str,
  num_draws: int = 40,
  say: Callable[[str], Any] = print,
) -> list[Redraw]:
  """Compares the card with the truth, and with what other audits would have said.

  Args:
    folder: of the demo.
    game: that was labelled.
    num_draws: audits that are drawn anew.
    say: receives what is found, a line at a time.

  Raises:
    UserError: a part of the demo is missing.
  """
  from alpt_jax.data import label_table  # may be missing its package

  data, labelled = folder / 'data' / game, folder / 'labels'
  pool = datasets.open_dataset(data)
  recordings = read_recordings(data, pool)
  actions = true_actions(data, folder / RECORDINGS / TRUTH / game, pool)
  card = read_object(labelled / 'label_card.json')
  parts = sorted((labelled / 'labels').glob('part-*.parquet'))
  labels = label_table.read_table(parts, ['action', 'recorded', 'trained_on'])
  is_guess = ~labels['recorded'] & (labels['action'] >= 0)
  right = labels['action'] == actions
  estimate, truth = card['estimate'], float(right[is_guess].mean())
  for line in card['verdict']:
    say(f'  {line}')
  say(f'\ncard: {_interval(**estimate)} of the guesses are right; truly {truth:.3f}')
  say(f'page: {labelled / "label_card.html"}')

  unseen = _unseen(folder, pool, recordings, actions, ~labels['trained_on'], card)
  audit = label_table.read_table([labelled / 'audit.parquet'], ['episode', 'step'])
  config = read_config(folder / 'run')
  longest = longest_stretch(config.data.segment_length, config.model.num_transitions)
  stretch, num_stretches = stretches(**audit, longest=longest)
  say(
    f'\n{num_draws} other audits, of {num_stretches} stretches of {stretch} each, '
    'drawn from all that the model was not trained on:'
  )
  draws = redraws(unseen, num_stretches, stretch, num_draws, card['identity']['seed'])
  for number, draw in enumerate(draws, 1):
    said = 'covered' if draw.covers else 'MISSED'
    say(f'{number:4d}  {_interval(*draw.estimate[:3])}; truly {draw.truth:.3f}  {said}')
  num_covered = sum(draw.covers for draw in draws)
  say(f'{num_covered} of {num_draws} intervals cover the truth (38 of 40 expected)')
  _write(folder / REDRAWS, draws)
  return draws


def true_actions(data: pathlib.Path, tables: pathlib.Path, pool: Pool) -> np.ndarray:
  """`[N]` int64, what was done at each transition of a converted set, by full tables.

  Args:
    data: the set's folder, whose conversion.json says which files it was made of.
    tables: folder of a csv for each recording, that tells every action.
    pool: the set.

  Raises:
    UserError: a table is missing, or does not fit its recording.
  """
  spec, found = pool.spec, []
  for record in read_object(data / CONVERSION)['recordings']:
    path = tables / pathlib.PurePath(record['file']).with_suffix('.csv')
    table = video_table.read_table(path, record['frames'])
    steps = steps_of(table, record['frames'], spec.action_names, spec.protocol)
    found += [episode.actions for episode in steps.episodes]
  return np.concatenate(found)


def _unseen(folder, pool, recordings: Recordings, actions, is_unseen, card) -> Unseen:
  labeller = trained_models.load_labeller(folder / 'run', card['step'])
  config = LabellingConfig(card['identity']['label_by'], card['identity']['batch_size'])
  found = label_pool(labeller, pool, config)
  episodes = np.repeat(np.arange(pool.num_episodes), pool.lengths)
  steps = np.arange(pool.num_transitions) - pool.starts[episodes]
  return Unseen(
    found.probabilities[is_unseen],
    actions[is_unseen],
    recordings.of_episode[episodes[is_unseen]],
    episodes[is_unseen],
    steps[is_unseen],
    len(recordings.names),
    pool.num_episodes,
  )


def stretches(episode: np.ndarray, step: np.ndarray, longest: int) -> tuple[int, int]:
  """(transitions of the longest stretch, stretches) of an audit.

  Args:
    episode: `[n]` int.
    step: `[n]` int.
    longest: that a stretch may be: two that adjoin are not one.
  """
  lengths = np.bincount(intervals.stretches_of(episode, step, longest))
  return int(lengths.max()), len(lengths)


def _interval(value: float, low: float, high: float, **_) -> str:
  return f'{value:.3f} ({low:.3f} to {high:.3f})'


def _write(path: pathlib.Path, draws: list[Redraw]) -> None:
  text = io.StringIO()
  writer = csv.writer(text)
  writer.writerow(['draw', 'estimate', 'low', 'high', 'truth', 'covers'])
  for number, draw in enumerate(draws, 1):
    value, low, high, *_ = draw.estimate
    writer.writerow([number, value, low, high, draw.truth, draw.covers])
  replace_file(path, text.getvalue().encode())
