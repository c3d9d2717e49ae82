"""Orbax behind one door: save, restore, and say plainly what does not fit.

Beside the train state every step keeps a description: the shape and dtype of
each leaf and whatever the caller wants to travel with the parameters. It is read
first, so a checkpoint of another architecture is refused by the name of its first
differing leaf instead of a page of TensorStore.
"""

import logging
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp

from alpt_jax.errors import RunFailed, UserError

_STATE, _DESCRIPTION = 'state', 'description'


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

    A reader (`writable=False`) touches nothing, and may stand beside a trainer.
    """
    self.folder = pathlib.Path(folder).absolute()
    if not writable and not self.folder.is_dir():
      raise UserError(
        f'{self.folder}: no checkpoints there. Give the run folder that '
        'bin/pretrain or bin/finetune wrote.'
      )
    # 135 INFO lines for 3 saves, warnings about options that a reader lacks, and
    # pages of traceback for a full disk, which `_failed` puts into one line.
    for name in ('absl', 'asyncio'):
      logging.getLogger(name).setLevel(logging.CRITICAL)
    if sys.unraisablehook is sys.__unraisablehook__:
      sys.unraisablehook = _without_stragglers
    self._manager = ocp.CheckpointManager(
      self.folder,
      options=ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        create=writable,
        read_only=not writable,
        cleanup_tmp_directories=writable,
        enable_async_checkpointing=writable,
      ),
      item_names=(_STATE, _DESCRIPTION),
    )

  @property
  def latest_step(self) -> int | None:
    """The last complete step, None when there is none."""
    return self._manager.latest_step()

  @property
  def last_good(self) -> str:
    """The last complete step, in words."""
    return 'none' if self.latest_step is None else f'{self.latest_step}'

  def save(self, step: int, state, description: Mapping[str, Any]) -> None:
    """Starts saving; the state may be overwritten once this returns.

    Raises:
      RunFailed: this save, or the one before that was still being written,
        failed (a full disk, most often).
    """
    leaves = describe_leaves(state)
    try:
      self._manager.save(
        step,
        args=ocp.args.Composite(
          **{
            _STATE: ocp.args.StandardSave(state),
            _DESCRIPTION: ocp.args.JsonSave({'leaves': leaves, **description}),
          }
        ),
        force=True,
      )
    except Exception as error:  # Orbax and TensorStore raise many kinds
      raise self._failed(step, error) from error

  def wait(self) -> None:
    """Blocks until the last save is on disk; raises `RunFailed` like `save`."""
    try:
      self._manager.wait_until_finished()
    except Exception as error:
      raise self._failed(None, error) from error

  def _failed(self, step, error) -> RunFailed:
    self._manager.reload()
    place = 'a checkpoint' if step is None else f'the checkpoint of step {step}'
    return RunFailed(
      f'{self.folder}: {place} could not be saved ({_reason(error)}). Last good step: '
      f'{self.last_good}. Free some disk space and run the same command again.'
    )

  def description(self, step: int | None = None) -> dict[str, Any]:
    """What was saved beside the state of a step (default: the latest)."""
    step = self._existing(step)
    try:
      return self._manager.restore(
        step, args=ocp.args.Composite(**{_DESCRIPTION: ocp.args.JsonRestore()})
      )[_DESCRIPTION]
    except Exception as error:
      raise UserError(
        f'{self.folder / str(step)}: this checkpoint cannot be read '
        f'({_reason(error)}). Name an older step.'
      ) from error

  def restore(self, abstract_state, step: int | None = None):
    """Restores a state into the shapes and shardings of `abstract_state`.

    Args:
      abstract_state: a tree of `jax.ShapeDtypeStruct`, with shardings.
      step: which one; default the latest.

    Raises:
      UserError: no such step, another architecture (the first differing leaf and
        both shapes are named), or unreadable files.
    """
    step = self._existing(step)
    self._check_leaves(describe_leaves(abstract_state), step)
    try:
      return self._manager.restore(
        step,
        args=ocp.args.Composite(**{_STATE: ocp.args.StandardRestore(abstract_state)}),
      )[_STATE]
    except Exception as error:
      raise UserError(
        f'{self.folder / str(step)}: this checkpoint cannot be read '
        f'({_reason(error)}). Name an older step.'
      ) from error

  def _existing(self, step: int | None) -> int:
    steps = sorted(self._manager.all_steps())
    if not steps:
      raise UserError(f'{self.folder}: no complete checkpoint there.')
    if step is not None and step not in steps:
      raise UserError(f'{self.folder}: no step {step}; there are {steps}.')
    return steps[-1] if step is None else step

  def _check_leaves(self, expected: Mapping[str, list], step: int) -> None:
    found = self.description(step)['leaves']
    for name in [*expected, *found]:
      if expected.get(name) != found.get(name):
        raise UserError(
          f'{self.folder / str(step)}: a checkpoint of another architecture. First '
          f'differing leaf: {name}, expected {_leaf(expected.get(name))}, found '
          f'{_leaf(found.get(name))}. Use the config that it was trained with.'
        )

  def close(self) -> None:
    """Waits for the last save and lets go of the folder."""
    self.wait()
    self._manager.close()


def _without_stragglers(unraisable) -> None:
  """Python's own `sys.unraisablehook`, silent of what a failed save leaves behind.

  TensorStore goes on to report each of its writes to an event loop that Orbax has
  closed: pages of traceback, between the letters of whatever else is printed.
  """
  if str(unraisable.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(unraisable)


def _reason(error: Exception) -> str:
  """The first line of what Orbax says, which may be a page, or nothing at all."""
  return (str(error).strip().splitlines() or [repr(error)])[0][:200]


def _leaf(description) -> str:
  return 'nothing' if description is None else f'{description[1]} {description[0]}'
