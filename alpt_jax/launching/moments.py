"""What a run is doing just now, as its folder and its first process's log tell."""

import contextlib
import json
import os
import pathlib
import re

from alpt_jax.training.loop import Schedule

START, COMPILE, STEP = 'start', 'compile', 'step'
SAVE, EVALUATION, END = 'save', 'evaluation', 'end'


def moment(workdir: pathlib.Path, schedule: Schedule) -> str:
  """What a run under `launch/local.sh` that logs every step is doing.

  start: from the supervisor's beginning until the state is there: import, joining,
  data, restoring (which compiles small programs). compile: until the first step has
  ended. evaluation: there is a step's row whose evaluation is due and has none. save:
  a checkpoint is being written, whatever goes on besides. end: behind the last
  evaluation. step: all else.
  """
  said = ([''] + starts(workdir))[-1]
  if not re.search(r'^\S+: .* on \d+ x ', said, re.MULTILINE):
    return START
  if any('.orbax-checkpoint-tmp' in name for name in _names(workdir / 'checkpoints')):
    return SAVE
  kind, step = last_row(workdir)
  if kind == 'train' and schedule.is_due(step, schedule.evaluate_every):
    return EVALUATION
  if step == schedule.num_steps:
    return END
  return STEP if step > (resumed_step(said) or 0) else COMPILE


def starts(workdir: pathlib.Path) -> list[str]:
  """What the first process has said, one text for every start."""
  with contextlib.suppress(FileNotFoundError):
    text = (workdir / 'logs' / 'process-0.log').read_text(errors='replace')
    return re.split(r'^--- start ', text, flags=re.MULTILINE)[1:]
  return []


def resumed_step(said: str) -> int | None:
  """From where a start went on; None if from nothing, or that was not said yet."""
  found = re.search(r'goes on from step ([\d,]+)', said)
  return int(found[1].replace(',', '')) if found else None


def last_row(workdir: pathlib.Path) -> tuple[str, int]:
  """(kind, step) of the last whole row of metrics; ('', 0) where there is none."""
  with contextlib.suppress(FileNotFoundError):
    text = (workdir / 'metrics.jsonl').read_text()
    whole = text[: text.rfind('\n') + 1].splitlines()
    if whole:
      row = json.loads(whole[-1])
      return row['kind'], row['step']
  return '', 0


def _names(folder: pathlib.Path) -> list[str]:
  with contextlib.suppress(FileNotFoundError):
    return os.listdir(folder)
  return []
