"""A trained run from Python: label an array of frames, or play.

  from alpt_jax import trained

  model = trained.load('runs/mygame')            # its last checkpoint
  frames = model.frames('clip7.mp4')             # [L + 1, 84, 84, 1], as it was trained
  labels = model.label(frames)
  for name, sure in zip(labels.names[:5], labels.confidence):
    print(name, f'{sure:.2f}')

  player = model.player(seed=0)
  player.begin(model.observation(screen))        # [height, width, 3], as it is shown
  action = player.act()                          # an action's name
  player.see(model.observation(screen, before), reward)

Neither the run's datasets nor its environments are needed.
"""

import dataclasses
import functools
import os
from typing import NamedTuple

import numpy as np
from PIL import Image

from alpt_jax.acting.one_game import OneGame
from alpt_jax.area_resize import AreaResize
from alpt_jax.data import clip as clips
from alpt_jax.data import screens
from alpt_jax.data.video_steps import steps_of
from alpt_jax.errors import UserError
from alpt_jax.experiment import trained_models
from alpt_jax.experiment.trained_models import Trained
from alpt_jax.labelling.labeller import LabellingConfig, label_episodes
from alpt_jax.labelling.reading import Recording
from alpt_jax.specs import EnvironmentSpec


class NamedLabels(NamedTuple):
  """An action for each of L transitions.

  Attributes:
    names: L names, of the environment's actions.
    confidence: `[L]` float32, the guess's probability as the model says it; 1 where
      the action was given. `bin/label` corrects it by recorded actions.
    is_recorded: `[L]` bool, the action was given.
  """

  names: list[str]
  confidence: np.ndarray
  is_recorded: np.ndarray


class Model:
  """A run's models at one of its checkpoints.

  Attributes:
    spec: of the environment that the run was trained for: the names of its actions,
      the form of a frame, the protocol.
    step: of the checkpoint.
  """

  def __init__(self, trained: Trained, place: str | os.PathLike):
    """Use `load`; `place` is how messages name the run."""
    self.spec: EnvironmentSpec = trained.origin.environment
    self.step = trained.step
    self._trained, self._place = trained, place

  def frames(self, path: str | os.PathLike) -> np.ndarray:
    """The frames of a video or a folder of PNGs, as those that the run was trained on.

    Args:
      path: of a recording at the frame rate of those.

    Returns:
      `[L + 1, height, width, channels]` uint8: with the frame skip, the max-pool and
      the size of the run's protocol.

    Raises:
      UserError: the run sees no pictures, or the recording cannot be read, is of
        another frame rate, or has fewer pixels.
    """
    from alpt_jax.data import video  # may be missing its package

    height, width, channels = self._picture_shape()
    protocol = self.spec.protocol
    clip = video.probe(path)
    clips.check_fits(clip, height, width, protocol.frame_skip)
    found = dataclasses.replace(protocol, frame_rate=clip.frame_rate)
    if differing := found.seen_differences(protocol):
      raise UserError(
        f'{path}: {", ".join(differing)} as in what the run was trained on. Record it '
        'at that rate.'
      )
    whole = dataclasses.replace(protocol, max_episode_steps=clip.num_frames)
    (steps,) = steps_of(None, clip.num_frames, self.spec.action_names, whole).episodes
    resize_fn = _resize_fn((clip.height, clip.width), (height, width))
    shown = screens.observations(
      clip, steps.shown, steps.is_pooled, channels == 1, resize_fn
    )
    return np.stack(list(shown))

  def observation(
    self, screen: np.ndarray, before: np.ndarray | None = None
  ) -> np.ndarray:
    """A screen of a running game, as `frames` makes one of a recording.

    Args:
      screen: `[height, width, 3]` uint8, as the game shows it.
      before: the screen one frame earlier. Looked at where the run's protocol sees
        the maximum of both; an episode's first screen has none.

    Returns:
      uint8 in the form of `spec.observation`.

    Raises:
      UserError: the run sees no pictures, or a screen is none, or has fewer pixels.
    """
    height, width, channels = self._picture_shape()
    protocol = self.spec.protocol
    shown = [np.asarray(screen)]
    if before is not None and protocol.max_pool and protocol.frame_skip > 1:
      shown.append(np.asarray(before))
    for each in shown:
      is_picture = each.ndim == 3 and each.shape[2] == 3 and each.dtype == np.uint8
      is_large = is_picture and each.shape[0] >= height and each.shape[1] >= width
      if not is_large or each.shape != shown[0].shape:
        raise UserError(
          f'screen: expected uint8 [height, width, 3] of {height}x{width} or more, as '
          f'the one before, found {each.dtype} {list(each.shape)}.'
        )
    if channels == 1:
      shown = [clips.gray(Image.fromarray(each)) for each in shown]
    size = shown[0].shape[:2]
    return screens.resized(np.maximum.reduce(shown), _resize_fn(size, (height, width)))

  def _picture_shape(self) -> tuple[int, int, int]:
    form = self.spec.observation
    if form.kind != 'image':
      raise UserError(
        f'{self._place}: sees no pictures but {form.kind} {list(form.shape)}. Give it '
        'such arrays.'
      )
    return form.shape

  def label(
    self,
    frames: np.ndarray,
    actions: np.ndarray | None = None,
    is_labelled: np.ndarray | None = None,
    config: LabellingConfig | None = None,
  ) -> NamedLabels:
    """Says which action led from each frame to the next.

    Args:
      frames: `[L + 1, ...]` of one episode, in the form of `spec.observation`; may be
        memory-mapped.
      actions: `[L]` int, the known ones by their place in `spec.action_names`.
      is_labelled: `[L]` bool, where `actions` is known; with `actions` it is needed.
      config: how; by default as `bin/label`.

    Raises:
      UserError: the run has no inverse dynamics model, the frames are of another
        form, or one of `actions` and `is_labelled` is missing.
    """
    if (actions is None) != (is_labelled is None):
      raise UserError(
        'label: expected both actions and is_labelled, or neither, found one of them. '
        'is_labelled says which actions are known.'
      )
    labeller = trained_models.labeller_of(self._trained, self._place)
    recording = Recording(frames, actions, is_labelled)
    config = config or LabellingConfig()
    (found,) = label_episodes(labeller, self.spec, [recording], config)
    names = [self.spec.action_names[action] for action in found.action]
    return NamedLabels(names, found.confidence, found.is_recorded)

  def player(self, seed: int = 0, greedy: bool = False) -> OneGame:
    """The policy, for a game that you step.

    Args:
      seed: of what is sampled.
      greedy: take the likeliest action instead of a sample.

    Raises:
      UserError: the run has no policy.
    """
    return OneGame(trained_models.player_of(self._trained, self._place), seed, greedy)


@functools.cache
def _resize_fn(source: tuple[int, int], target: tuple[int, int]) -> AreaResize | None:
  return AreaResize(source, target) if source != target else None


def load(workdir: str | os.PathLike, step: int | None = None) -> Model:
  """Reads a run's checkpoint, onto all devices of this process.

  Args:
    workdir: the run's folder.
    step: which checkpoint; default the last.

  Raises:
    UserError: not a run folder, no such step, or unreadable.
  """
  return Model(trained_models.load(workdir, step), workdir)
