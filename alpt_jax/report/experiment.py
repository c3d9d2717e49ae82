"""`experiment.json`, which a sweep leaves above its runs: what it was to do, and why.

The claims of the paper that it tests, the runs that it planned (one that failed at once
left nothing else), and where its datasets lie.
"""

import os
import pathlib
from typing import Any, NamedTuple

from alpt_jax.errors import UserError
from alpt_jax.report.measures import METRICS
from alpt_jax.report.run_files import budget_of, check_fields, read_object

EXPERIMENT = 'experiment.json'
KINDS = ('higher', 'not_lower', 'faster')
SIZES = ('twin', 'paper', 'smoke')


class Claim(NamedTuple):
  """A sentence about the paper's methods that figures can bear out.

  Attributes:
    experiment: name of the experiment.
    size: 'twin', 'paper' or 'smoke'.
    paper: the sentence.
    quoted: whether it stands so in the paper; else the words are ours.
    where: it stands in the paper.
    metric: key of the evaluation rows.
    method: the runs that the sentence is about.
    over: those that they are compared with.
    labels: the budget; None for each.
    kind: 'higher', 'not_lower' (by more than `claims.MARGIN`) or 'faster' (steps to
      the other's last figure).
    factor: how many times as fast it is claimed to be, at least; read if 'faster'.
    floor: reference that one of the two must pass, or None.
    ceiling: reference that one of the two must stay below, or None.
  """

  experiment: str
  size: str
  paper: str
  quoted: bool
  where: str
  metric: str
  method: str
  over: str
  labels: int | None
  kind: str
  factor: float
  floor: str | None
  ceiling: str | None


class Planned(NamedTuple):
  """A run that an experiment was to do.

  Attributes:
    target: how tables call its target environment; '' where it has no name.
    method: how they call it.
    labels: number of labelled target transitions, or 'all'.
    seed: its seed.
    folder: where it lies once it was begun.
  """

  target: str
  method: str
  labels: int | str
  seed: int
  folder: pathlib.Path


class Experiment(NamedTuple):
  """What an `experiment.json` says.

  Attributes:
    path: of the file; the experiment's runs lie beside it, at any depth.
    name: of the experiment, as its runs have it.
    title: one line that says what it asks, or ''.
    claims: that it tests.
    planned: all its runs; () in a file that does not list them.
    data: folder of the recorded datasets.
  """

  path: pathlib.Path
  name: str
  title: str
  claims: tuple[Claim, ...]
  planned: tuple[Planned, ...]
  data: pathlib.Path


def load_experiments(root: str | os.PathLike) -> list[Experiment]:
  """Reads every `experiment.json` below a folder, in the order of their paths.

  Raises:
    UserError: a damaged file, the field named.
  """
  return [_load(path) for path in sorted(pathlib.Path(root).rglob(EXPERIMENT))]


def _load(path: pathlib.Path) -> Experiment:
  content = read_object(path)
  return Experiment(
    path=path,
    name=str(content.get('name', '')),
    title=str(content.get('title', '')),
    claims=tuple(
      _claim(f'{path}: claim {index}', each, content)
      for index, each in enumerate(content.get('claims') or ())
    ),
    planned=tuple(
      _planned(path, f'{path}: planned run {index}', each)
      for index, each in enumerate(content.get('planned') or ())
    ),
    data=path.parent / str(content.get('data') or 'data'),
  )


def _claim(place: str, each: Any, content: dict[str, Any]) -> Claim:
  try:
    fields = {name: each.get(name) for name in Claim._fields}
    fields |= {'experiment': content['name'], 'size': content['size']}
    fields |= {'quoted': bool(each.get('quoted')), 'factor': each.get('factor') or 1.0}
    claim = Claim(**fields)
  except (AttributeError, KeyError, TypeError) as error:
    raise UserError(
      f'{place}: expected name and size above it and a list of objects, found '
      f'{error!r}. Run bin/reproduce again.'
    ) from error
  for field, known in (('kind', KINDS), ('size', SIZES), ('metric', METRICS)):
    if getattr(claim, field) not in known:
      raise UserError(
        f'{place}, field {field}: expected one of {", ".join(known)}, found '
        f'{getattr(claim, field)!r}. Correct the claim.'
      )
  return claim


def _planned(path: pathlib.Path, place: str, each: Any) -> Planned:
  if not isinstance(each, dict):
    raise UserError(f'{place}: expected an object, found {each!r}. Correct the file.')
  check_fields(place, each, ('method', 'labels', 'seed', 'target', 'folder'))
  return Planned(
    target=each.get('target') or '',
    method=each['method'],
    labels=budget_of(each),
    seed=each['seed'],
    folder=path.parent / 'runs' / each['folder'],
  )
