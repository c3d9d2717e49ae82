"""The folder that `bin/label` writes, file by file (`label_run.py` says what is in it).

Each file is whole or not there. Several processes may write to one folder.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from alpt_jax.errors import UserError
from alpt_jax.experiment.known_actions import KnownActions
from alpt_jax.labelling.calibration import tempered
from alpt_jax.labelling.gathering import EpisodeLabels
from alpt_jax.labelling.parts import Part
from alpt_jax.partial import remove_abandoned, whole_file
from alpt_jax.report.run_files import read_object
from alpt_jax.types import Episode

FORMAT = 1
RECORD, AUDIT = 'labelling.json', 'audit.parquet'


class LabelFiles:
  """The files of one labelling.

  Attributes:
    folder: where.
    parts: all of the dataset's.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    identity: Mapping[str, Any],
    known: KnownActions,
    parts: Sequence[Part],
    with_rlds: bool,
  ):
    """Looks at the folder, writes nothing.

    Args:
      folder: absent, empty, or begun by a labelling of the same identity.
      identity: what must be the same for files to belong together.
      known: the dataset's actions.
      parts: all of the dataset's.
      with_rlds: whether parts are written as RLDS, too.

    Raises:
      UserError: the folder holds something else, or RLDS files cannot be written here.
    """
    from alpt_jax.data import label_table  # which imports pyarrow

    self.folder, self.parts = folder, parts
    self._tables = label_table
    self._identity = {'format': FORMAT, **identity}
    self._known = known
    self._names = known.pool.spec.action_names
    self._rlds = None
    if with_rlds:
      from alpt_jax.data import rlds_parts  # which imports TensorFlow

      self._rlds = rlds_parts.LabelledFiles(folder, known.pool.spec, len(parts))
    # A process that was killed in the beginning left no more than these.
    ours = (RECORD, AUDIT)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    if self.record() is None and any(not path.name.startswith(ours) for path in found):
      raise UserError(
        f'{folder}: exists and holds no labels, {RECORD} is missing. Choose another '
        '--out, or remove it.'
      )

  def record(self) -> dict[str, Any] | None:
    """What `labelling.json` says; None where there is none yet.

    Raises:
      UserError: it is of another labelling.
    """
    path = self.folder / RECORD
    if not path.is_file():
      return None
    record = read_object(path)
    begun = record.get('identity')
    for field, value in self._identity.items():
      before = begun.get(field) if isinstance(begun, dict) else None
      if before != value:
        raise UserError(
          f'{path}, field {field}: was begun with {before}, found {value}. Choose '
          'another --out, or remove it.'
        )
    return record

  def begun(self) -> dict[str, Any] | None:
    """As `record`, once the audit is there, too."""
    return self.record() if (self.folder / AUDIT).is_file() else None

  def claim(self, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Writes `labelling.json`, unless it is there; what it says then.

    Only who has claimed the folder may write more: labellings that differ may begin
    it at once.

    Raises:
      UserError: it is of another labelling.
    """
    if record := self.record():
      return record
    self.folder.mkdir(parents=True, exist_ok=True)
    path = self.folder / RECORD
    text = json.dumps({'identity': self._identity, **fields}, indent=2) + '\n'
    with whole_file(path) as partial:
      partial.write_text(text)
      try:
        os.link(partial, path)
      except FileExistsError:
        partial.write_bytes(path.read_bytes())
      except OSError:  # a file system without links: the last one counts
        pass
    return self.record()

  def write_audit(
    self,
    probabilities: np.ndarray,
    temperatures: np.ndarray,
    columns: Mapping[str, np.ndarray],
  ) -> None:
    """Writes what the model says where its guesses can be judged.

    Args:
      probabilities: `[n, own actions]`.
      temperatures: `[n]`.
      columns: the others, `[n]` each.
    """
    guess, second = best_two(probabilities)
    self._write_table(
      self.folder / AUDIT,
      {
        **columns,
        'guess': guess,
        'second': second,
        'confidence': tempered(probabilities, temperatures).max(1),
        'raw_confidence': probabilities.max(1),
        'probabilities': probabilities,
      },
    )

  def _write_table(self, path: pathlib.Path, columns: Mapping[str, np.ndarray]) -> None:
    text = json.dumps(self._identity, sort_keys=True)
    identity = hashlib.sha256(text.encode()).hexdigest()[:16]
    self._tables.write_table(path, columns, self._names, identity)

  def table(self, part: Part) -> pathlib.Path:
    """The table of a part."""
    name = f'part-{part.index:05d}-of-{len(self.parts):05d}.parquet'
    return self.folder / 'labels' / name

  def missing(self) -> list[Part]:
    """The parts of which a file is not there."""
    return [part for part in self.parts if not self._is_there(part)]

  def _is_there(self, part: Part) -> bool:
    is_written = self._rlds is None or self._rlds.path(part.index).is_file()
    return is_written and self.table(part).is_file()

  def write_part(self, part: Part, labels: EpisodeLabels, temperature: float) -> None:
    """Writes what was found for the transitions of a part's episodes.

    Raises:
      OSError: it cannot be written.
    """
    pool, known = self._known.pool, self._known
    first = int(pool.starts[part.first])
    rows = slice(first, first + len(labels.action))
    guess, second = best_two(labels.probabilities)
    confidence = tempered(labels.probabilities, temperature).max(1).astype(np.float32)
    confidence[labels.is_recorded] = 1
    is_kept = labels.is_recorded | (confidence >= self._identity['min_confidence'])
    action = np.where(is_kept, labels.action, -1)
    lengths = pool.lengths[part.first : part.first + part.count]
    columns = {
      'episode': np.repeat(part.episodes, lengths),
      'step': np.concatenate([np.arange(length) for length in lengths]),
      'action': action,
      'confidence': confidence,
      'raw_confidence': labels.probabilities.max(1),
      'recorded': labels.is_recorded,
      'trained_on': known.trained_on[rows],
      'guess': guess,
      'second': second,
    }
    if known.truth is not None:
      columns['true_action'] = known.truth[rows]
    path = self.table(part)
    path.parent.mkdir(parents=True, exist_ok=True)
    if self._rlds is not None:
      self._rlds.write(part.index, self._episodes(part, columns))
    self._write_table(path, columns)

  def _episodes(self, part: Part, columns: Mapping[str, np.ndarray]) -> Iterator:
    """What `LabelledFiles.write` takes."""
    pool, before = self._known.pool, int(self._known.pool.starts[part.first])
    for number in part.episodes:
      begin = int(pool.starts[number])
      rows = slice(begin, begin + int(pool.lengths[number]))
      own = slice(rows.start - before, rows.stop - before)
      is_labelled = columns['action'][own] >= 0
      knowledge = {
        'is_labelled': is_labelled,
        'is_recorded': columns['recorded'][own],
        'confidence': columns['confidence'][own],
      }
      actions = np.where(is_labelled, columns['action'][own], 0)
      # So that an hour's screens are not all decoded at once.
      shown = pool.pieces(number)
      episode = Episode(shown, actions, pool.rewards[rows], pool.discounts[rows])
      yield number, episode, knowledge

  def finish(self) -> None:
    """Makes a dataset of the RLDS files, once all parts are there."""
    # Of a process that was killed when the record was just there.
    remove_abandoned(self.folder / RECORD)
    if self._rlds is not None:
      self._rlds.finish([part.count for part in self.parts])

  def summary(self) -> Iterator[str]:
    """Lines that say what became of the transitions, once all parts are there."""
    num = len(self._names)
    recorded, guessed, left = (np.zeros(num, int) for _ in range(3))
    sure = np.zeros(num)
    for part in self.parts:
      found = self._tables.read_table(
        [self.table(part)], ['action', 'guess', 'recorded', 'confidence']
      )
      guess, is_guessed = found['guess'], ~found['recorded']
      is_left = found['action'] < 0
      recorded += np.bincount(found['action'][~is_guessed], minlength=num)
      guessed += np.bincount(guess[is_guessed & ~is_left], minlength=num)
      left += np.bincount(guess[is_left], minlength=num)
      sure += np.bincount(guess[is_guessed], found['confidence'][is_guessed], num)
    total = recorded.sum() + guessed.sum() + left.sum()
    line = (
      f'{self.folder}: {total:,} transitions of {self._known.pool.spec.name}: '
      f'{recorded.sum():,} recorded, {guessed.sum():,} guessed'
    )
    if least := self._identity['min_confidence']:
      line += f', {left.sum():,} left unlabelled, as less sure than {least:g}'
    yield line
    yield f'{"action":>20} {"recorded":>10} {"guessed":>10} {"left":>10}  confidence'
    for index, name in enumerate(self._names):
      num_guessed = guessed[index] + left[index]
      mean = f'{sure[index] / num_guessed:.3f}' if num_guessed else '-'
      yield (
        f'{name:>20} {recorded[index]:>10,} {guessed[index]:>10,} {left[index]:>10,}  '
        f'{mean}'
      )


def best_two(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """`[n]` each: the likeliest own action, and the next one; -1 where there is none."""
  guess = probabilities.argmax(1)
  if probabilities.shape[1] < 2:
    return guess, np.full(len(guess), -1)
  others = probabilities.copy()
  np.put_along_axis(others, guess[:, None], -1, axis=1)
  return guess, others.argmax(1)
