"""Orbax behind one door: save, restore, and say plainly what does not fit.

Beside the train state every step keeps a description: the shape, the dtype and the
fingerprint of each leaf, and whatever the caller wants to travel with the parameters.
It is read first, so a checkpoint of another architecture is refused by the name of its
first differing leaf instead of a page of TensorStore. What was restored is held
against the fingerprints, the description against its digest: bytes that flipped on the
disk are refused too. Version 0.1.0 wrote neither, and is believed.

When to save is the caller's alone (`training.loop`: at the interval, at the end, when
asked to stop); how many to keep is said once. Nothing is left to Orbax's defaults.

With several processes all of them save and restore; the first removes what is old or
half-written and writes the description. A checkpoint restores on any mesh and any
number of processes.
"""

import hashlib
import json
import logging
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from alpt_jax.errors import RunFailed, UserError
from alpt_jax.training.fingerprint import fingerprints

_STATE, _DESCRIPTION, _DIGEST = 'state', 'description', 'digest'


def describe_leaves(tree) -> dict[str, list]:
  """Leaf path -> [shape, dtype], in the order of the tree."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): [
      list(leaf.shape),
      str(leaf.dtype),
    ]
    for path, leaf in leaves
  }


class Checkpoints:
  """The checkpoints of one run, by step. Half-written ones are never seen."""

  def __init__(
    self, folder: str | os.PathLike, *, keep: int = 2, writable: bool = True
  ):
    """Opens a folder of checkpoints; creates it when `writable`.

    A reader (`writable=False`) touches nothing, and may stand beside a trainer. With
    several processes all of them must open a writable one.

    Args:
      folder: where they are; every process sees it.
      keep: the newest so many stay when another one is complete.
      writable: whether this is their trainer.
    """
    self.folder = pathlib.Path(folder).absolute()
    if not writable and not self.folder.is_dir():
      raise UserError(
        f'{self.folder}: no checkpoints there. Give the run folder that '
        'bin/pretrain or bin/finetune wrote.'
      )
    # 135 INFO lines for 3 saves, and pages of traceback for a full disk, which
    # `_failed` puts into one line.
    for name in ('absl', 'asyncio'):
      logging.getLogger(name).setLevel(logging.CRITICAL)
    if sys.unraisablehook is sys.__unraisablehook__:
      sys.unraisablehook = _without_stragglers
    self._failure: BaseException | None = None
    self._manager = _Manager(self.folder, keep, self._barrier) if writable else None

  @property
  def latest_step(self) -> int | None:
    """The last complete step, None when there is none.

    With several processes all must ask: the first one's answer counts, as a network
    disk may show them different folders for a while.
    """
    latest = max(self._steps(), default=-1)
    if jax.process_count() > 1:
      latest = int(multihost_utils.broadcast_one_to_all(np.int32(latest)))
    return None if latest < 0 else latest

  @property
  def last_good(self) -> str:
    """The last complete step on the disk, in words; a process may ask it alone."""
    return f'{max(self._steps(), default="none")}'

  def _steps(self) -> list[int]:
    """Complete steps, sorted: Orbax gives them their name last."""
    if not self.folder.is_dir():
      return []
    return sorted(int(name) for name in os.listdir(self.folder) if name.isdecimal())

  def save(self, step: int, state, description: Mapping[str, Any]) -> None:
    """Starts saving; the state may be overwritten once this returns.

    Raises:
      RunFailed: this save, or the one before that was still being written,
        failed (a full disk, most often).
    """
    self.check()
    numbers = fingerprints(state)
    leaves = {
      name: [*leaf, number]
      for (name, leaf), number in zip(
        describe_leaves(state).items(), numbers, strict=True
      )
    }
    described = {'leaves': leaves, **description}
    described[_DIGEST] = digest(described)
    try:
      self._manager.save(
        step,
        args=ocp.args.Composite(
          **{
            _STATE: ocp.args.StandardSave(state),
            _DESCRIPTION: ocp.args.JsonSave(described),
          }
        ),
        force=True,
      )
    except Exception as error:  # Orbax and TensorStore raise many kinds
      raise self._failed(step, error) from error

  def wait(self) -> None:
    """Blocks until the last save is on disk; raises `RunFailed` like `save`."""
    self.check()
    try:
      self._manager.wait_until_finished()
    except Exception as error:
      raise self._failed(None, error) from error

  def check(self) -> None:
    """Raises `RunFailed` if the save under way is known to have failed; never waits."""
    if self._failure is not None:
      failure, self._failure = self._failure, None
      raise self._failed(None, failure) from failure

  def _barrier(self, *, key: str, timeout_ms: int) -> None:
    """Orbax's meeting point of all processes.

    The thread that finishes a save goes there even when the save has failed, and
    would wait 20 minutes for processes that wait for it elsewhere. Its failure is
    kept for `check` instead.
    """
    is_aside = threading.current_thread() is not threading.main_thread()
    failure = sys.exc_info()[1] if is_aside else None
    if failure is None:
      ocp.multihost.get_barrier_sync_fn()(key=key, timeout_ms=timeout_ms)
    else:
      self._failure = failure

  def _failed(self, step, error) -> RunFailed:
    self._failure = None
    self._manager.reload()
    place = 'a checkpoint' if step is None else f'the checkpoint of step {step}'
    return RunFailed(
      f'{self.folder}: {place} could not be saved ({_reason(error)}). Last good step: '
      f'{self.last_good}. Free some disk space and run the same command again.'
    )

  def description(self, step: int | None = None) -> dict[str, Any]:
    """What was saved beside the state of a step (default: the latest).

    Read by each process for itself; the latest, all of them must ask for.

    Raises:
      UserError: no such step, or unreadable.
    """
    return self._read(self._describe, step)

  def restore(self, abstract_state, step: int | None = None):
    """Restores a state into the shapes and shardings of `abstract_state`.

    With several processes all must call it.

    Args:
      abstract_state: a tree of `jax.ShapeDtypeStruct`, with shardings.
      step: which one; default the latest.

    Raises:
      UserError: no such step, another architecture (the first differing leaf and
        both shapes are named), or unreadable or damaged files.
    """
    return self._read(lambda step: self._restore(abstract_state, step), step)

  def _read(self, read_fn: Callable[[int], Any], step: int | None):
    """`read_fn` of a step, or of a newer one where its trainer has removed that."""
    chosen = self._existing(step)
    while True:
      try:
        return read_fn(chosen)
      except _Unreadable as error:
        # Of several processes one alone must not choose anew.
        steps = self._steps() if jax.process_count() == 1 else [chosen]
        if chosen not in steps and (step is not None or not steps):
          raise UserError(
            f'{self.folder}: step {chosen} was removed while it was read, as its '
            f'trainer keeps the newest only; there are {steps}. Name one of them.'
          ) from error
        if step is not None or steps[-1] == chosen:
          raise
        chosen = steps[-1]

  def _describe(self, step: int) -> dict[str, Any]:
    place = self.folder / str(step) / _DESCRIPTION
    try:
      found = ocp.JsonCheckpointHandler().restore(place)
    except Exception as error:
      raise self._unreadable(step, _reason(error)) from error
    if not isinstance(found, dict) or 'leaves' not in found:
      raise self._unreadable(step, f'its {place.name} is not one of alpt-jax')
    if found.pop(_DIGEST, None) not in (None, digest(found)):
      raise self._unreadable(step, f'its {place.name} is damaged')
    return found

  def _restore(self, abstract_state, step: int):
    found = self._describe(step)['leaves']
    self._check_leaves(describe_leaves(abstract_state), found, step)
    try:
      with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        state = checkpointer.restore(
          self.folder / str(step) / _STATE,
          args=ocp.args.StandardRestore(abstract_state),
        )
    except Exception as error:
      raise self._unreadable(step, _reason(error)) from error
    self._check_fingerprints(state, found, step)
    return state

  def _existing(self, step: int | None) -> int:
    if step is None:
      step = self.latest_step
      if step is None:
        raise UserError(f'{self.folder}: no complete checkpoint there.')
    elif step not in (steps := self._steps()):
      raise UserError(f'{self.folder}: no step {step}; there are {steps}.')
    return step

  def _check_leaves(self, expected: Mapping[str, list], found, step: int) -> None:
    found = {name: leaf[:2] for name, leaf in found.items()}
    for name in [*expected, *found]:
      if expected.get(name) != found.get(name):
        raise UserError(
          f'{self.folder / str(step)}: a checkpoint of another architecture. First '
          f'differing leaf: {name}, expected {_leaf(expected.get(name))}, found '
          f'{_leaf(found.get(name))}. Use the config that it was trained with.'
        )

  def _check_fingerprints(self, state, found: Mapping[str, list], step: int) -> None:
    """Raises where a leaf is not what was saved."""
    names = list(describe_leaves(state))
    if not all(len(found[name]) > 2 for name in names):
      return
    for name, number in zip(names, fingerprints(state), strict=True):
      if number != found[name][2]:
        reason = f'leaf {name} is damaged: fingerprint {number:08x}'
        raise self._unreadable(step, f'{reason}, expected {found[name][2]:08x}')

  def _unreadable(self, step: int, reason: str) -> '_Unreadable':
    advice = 'Remove it to go on from an older step' if self._manager else ''
    return _Unreadable(
      f'{self.folder / str(step)}: this checkpoint cannot be read ({reason}). '
      f'{advice or "Name an older step"}.'
    )

  def close(self) -> None:
    """Waits for the last save and lets go of the folder."""
    if self._manager is not None:
      self.wait()
      self._manager.close()


class _Unreadable(UserError):
  """A checkpoint that is damaged, or just being removed."""


class _Manager(ocp.CheckpointManager):
  """Orbax's, told what it would otherwise decide by itself."""

  def __init__(self, folder: pathlib.Path, keep: int, barrier_fn: Callable):
    super().__init__(
      folder,
      options=ocp.CheckpointManagerOptions(
        save_decision_policy=ocp.checkpoint_managers.AnySavePolicy([]),
        preservation_policy=ocp.checkpoint_managers.LatestN(keep),
        create=True,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=True,
        async_options=ocp.AsyncOptions(barrier_sync_fn=barrier_fn),
      ),
      item_names=(_STATE, _DESCRIPTION),
    )

  def reached_preemption(self, step: int) -> bool:
    """Never: the loop decides.

    Orbax asks JAX again while it finishes a save, for a step long past: the processes,
    which agree by the steps that they ask for, could then miss where to stop.
    """
    return False


def _without_stragglers(unraisable) -> None:
  """Python's own `sys.unraisablehook`, silent of what a failed save leaves behind.

  TensorStore goes on to report each of its writes to an event loop that Orbax has
  closed: pages of traceback, between the letters of whatever else is printed.
  """
  if str(unraisable.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(unraisable)


def digest(fields: Mapping[str, Any]) -> str:
  """Identifies a description, the same before it is written and after it is read."""
  plain = json.loads(json.dumps(fields))
  text = json.dumps(plain, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _reason(error: BaseException) -> str:
  """The first line of what Orbax says, which may be a page, or nothing at all."""
  return (str(error).strip().splitlines() or [repr(error)])[0][:200]


def _leaf(description) -> str:
  return 'nothing' if description is None else f'{description[1]} {description[0]}'
