"""Section `label`: how fast the IDM fills in missing actions."""

import dataclasses
import itertools
import math
import pathlib
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from alpt_jax import relabel
from alpt_jax.benchmark.measured import Section, measure
from alpt_jax.benchmark.programs import Program, account_of, compiled_for
from alpt_jax.benchmark.subjects import Subject
from alpt_jax.data.pool import Pool, write_pool
from alpt_jax.experiment import datasets
from alpt_jax.labelling import labeller as labelling
from alpt_jax.labelling.labeller import Labeller, LabellingConfig, Progress
from alpt_jax.labelling.plan import plan
from alpt_jax.labelling.reading import batches
from alpt_jax.models import flops
from alpt_jax.models.inverse_dynamics import InverseDynamics
from alpt_jax.training import sharding
from alpt_jax.types import Episode, Window

LABEL = 'IDM forward and argmax'
# A recording has as many batches as are computed in so many seconds, but no fewer and
# no more than these: 64 of 256 windows of 5 Atari screens are half a gigabyte.
_SECONDS, _FEWEST, _MOST = 2.0, 3, 64
_NOTE = (
  "recording: from a pool's files to labels; reading: the windows alone. Mean takes "
  'the windows of centre, a model that reads pairs those of once.'
)


def measure_labels(
  subject: Subject,
  limits: Mapping[str, Program],
  repeats: int,
  folders: Sequence[str] = (),
) -> Section:
  """Windows that lie on the device already, then a recording from its file to labels.

  The first is the rate that no input can exceed. The recording is read anew in every
  turn; the system has its pages in memory by then. All of it on one device.

  Args:
    subject: whose IDM, and whose batch.
    limits: `ceilings.programs`.
    repeats: turns.
    folders: of datasets, the first of which is read; none: noise, written for this.
  """
  idm, window = subject.steps.idm, subject.batch().window
  inputs = window.observations[:1], window.valid[:1]
  params = jax.jit(idm.init)(jax.random.key(0), *inputs)['params']
  forward = forward_program(idm, params, window)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  protocol = subject.data.target.spec.protocol
  labeller = labelling.make_labeller(
    idm, params, subject.data.vocabulary, protocol, mesh
  )
  with tempfile.TemporaryDirectory() as temporary:
    num_batches = _num_batches(forward)
    if folders:
      pool = datasets.open_dataset(folders[0])
    else:
      pool = _write_noise(subject, num_batches, pathlib.Path(temporary) / 'pool')
    wholes = _wholes(labeller, pool, len(window.valid), num_batches)
    programs = {LABEL: forward}
    for each in wholes:
      programs |= each.programs()
    section = measure(programs, limits, repeats)
  facts = {}
  for each in wholes:
    facts |= each.facts(section)
  return dataclasses.replace(section, facts=facts, notes=(_NOTE,))


def _num_batches(forward: Program) -> int:
  jax.block_until_ready(forward.run())
  begin = time.perf_counter()
  jax.block_until_ready(forward.run())
  fits = math.ceil(_SECONDS / (time.perf_counter() - begin))
  return max(_FEWEST, min(_MOST, fits))


def _write_noise(subject: Subject, num_episodes: int, folder: pathlib.Path) -> Pool:
  """A pool whose every episode is a batch of windows side by side.

  The subject's own noise over and over.
  """
  pool, rows = subject.data.target.index, len(subject.batch().window.valid)
  length = rows * subject.steps.idm.num_transitions
  shown = np.resize(pool.observations, (length + 1, *pool.spec.observation.shape))
  actions = np.resize(pool.actions, length)
  rewards, discounts = np.zeros(length, np.float32), np.ones(length, np.float32)
  episode = Episode(shown, actions, rewards, discounts)
  return write_pool(folder, pool.spec, itertools.repeat(episode, num_episodes))


def _wholes(labeller: Labeller, pool: Pool, rows: int, num_batches: int):
  """One for each setting that takes other windows than those before it."""
  found = {}
  for setting in labelling.SETTINGS:
    config = LabellingConfig(setting, rows)
    cut = labelling.windows_of(labeller, config)
    counts = [
      len(plan(int(length), cut.length, cut.stride).starts) for length in pool.lengths
    ]
    # Whole episodes, until they fill so many batches.
    enough = int(np.searchsorted(np.cumsum(counts), num_batches * rows)) + 1
    episodes = range(min(enough, pool.num_episodes))
    found.setdefault(cut.stride, _Whole(labeller, pool, config, episodes))
  return list(found.values())


class _Whole:
  """A recording that is read, labelled, and its labels put together."""

  def __init__(
    self, labeller: Labeller, pool: Pool, config: LabellingConfig, episodes: range
  ):
    """Labels nothing yet."""
    self.name = f'recording, {config.label_by}'
    self._arguments = labeller, pool, config, episodes
    self._waited: list[float] = []

  def programs(self) -> dict[str, Program]:
    """What labels it, and what reads its windows and does nothing with them.

    What a call gets through is known from a first one.
    """
    progress = self._label()
    counts = {'windows': progress.windows, 'transitions': progress.transitions}
    computed = progress.windows * flops.forward_flops(self._arguments[0].idm)
    return {
      self.name: Program(self._label, flops=computed, counts=counts),
      self.name.replace('recording', 'reading'): Program(self._read, counts=counts),
    }

  def _read(self) -> None:
    labeller, pool, config, episodes = self._arguments
    recordings = (labelling.recording_of(pool, index) for index in episodes)
    cut = labelling.windows_of(labeller, config)
    for _ in batches(recordings, cut, len(pool.spec.action_names)):
      pass

  def _label(self) -> Progress:
    progress, begin = Progress(), time.perf_counter()
    labelling.label_pool(*self._arguments, progress)
    self._waited.append(progress.waited / (time.perf_counter() - begin))
    return progress

  def facts(self, section: Section) -> dict[str, float]:
    """What the section's times say of it."""
    whole, there = section.programs[self.name], section.programs[LABEL]
    counts, rows = whole.program.counts, self._arguments[2].batch_size
    num_batches = math.ceil(counts['windows'] / rows)
    million = 1e6 / counts['transitions']
    # The last turns, without those that compiled.
    waited = self._waited[-len(whole.timing.walls) :]
    found = {
      's for 1M transitions': whole.timing.seconds * million,
      'CPU-s for 1M transitions': whole.timing.cpu_seconds * million,
      'of the rate of windows on the device': (
        num_batches * there.timing.seconds / whole.timing.seconds
      ),
      'the same of CPU time': (
        num_batches * there.timing.cpu_seconds / max(whole.timing.cpu_seconds, 1e-9)
      ),
      'share of time without input': statistics.median(waited),
    }
    return {f'{self.name}: {key}': float(f'{found[key]:.3g}') for key in found}


def forward_program(idm: InverseDynamics, params, window: Window) -> Program:
  """Labels windows: the IDM's forward pass, then `relabel.pseudo_label`.

  Without dropout and gradient. All T transitions of a window get a label.
  """

  @jax.jit
  def label(params, window):
    logits = idm.apply({'params': params}, window.observations, window.valid)
    labels = relabel.pseudo_label(
      logits, window.actions, window.is_labelled, window.allowed
    )
    return labels.action, labels.confidence

  compiled = compiled_for(label, params, window)
  rows, length = window.valid.shape
  return Program(
    lambda: compiled(params, window),
    flops=rows * flops.forward_flops(idm),
    counts={'windows': rows, 'transitions': rows * length},
    **account_of(compiled),
  )
