"""Section `evaluate`: sixteen episodes in the real emulator, whole, in seconds.

A policy that knows nothing plays: a decision costs as much as one that knows the game
would take. How many were made is counted; an episode that ends early is not followed by
another one. Nobody can lose the default game within the 2,500 steps of section 5.1: its
time is up after 2,700.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from alpt_jax import specs
from alpt_jax.acting.policy import make_decide
from alpt_jax.acting.rollout import (
  EpisodeScore,
  Moment,
  Player,
  Stage,
  TimeSpent,
  play,
)
from alpt_jax.benchmark import acting, inputs
from alpt_jax.benchmark.stand_in import StandIn
from alpt_jax.benchmark.subjects import Subject
from alpt_jax.errors import UserError, did_you_mean
from alpt_jax.experiment import atari_arena
from alpt_jax.types import Array

# Side by side (section 5.1).
NUM_EPISODES = 16
DEFAULT_GAME = 'IceHockey'
# What is compared: all at once, and two groups that take turns.
GROUPS = (1, 2)
# Ours. Stand-ins play so many steps at most; their figures need no more.
_STAND_IN_STEPS = 300
_FIRST_SEED = 990_001
# How often the memory is looked at.
_LOOKS = 40
_HEAD = (
  f'{"":44}{"s":>8}{"CPU s":>8}{"ms":>9}{"device":>9}{"emulator":>9}{"asking":>8}'
  f'{"host":>7}'
)


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What one way to play all episodes took.

  Attributes:
    device: which one decides.
    groups: of episodes, that take turns.
    seconds: of play; programs are compiled and emulators loaded before.
    cpu_seconds: of all threads.
    own_cpu_seconds: of the thread that plays; none of it is the device's.
    emulator_cpu_seconds: of the emulators; None where the device works meanwhile.
    loading_seconds: until all emulators have started.
    spent: what the thread that plays waited for.
    growth_mb: of the process's own memory, mean over the last quarter of the looks
      above that over the second.
    scores: of the episodes.
    actions: `[episodes, steps]` int16, -1 where an episode was over.
  """

  device: str
  groups: int
  seconds: float
  cpu_seconds: float
  own_cpu_seconds: float
  emulator_cpu_seconds: float | None
  loading_seconds: float
  spent: TimeSpent
  growth_mb: float
  scores: list[EpisodeScore]
  actions: np.ndarray

  def record(self) -> dict[str, Any]:
    """Plain JSON types."""
    found = dataclasses.asdict(self)
    del found['actions'], found['scores'], found['spent']
    return {
      **found,
      'decisions': self.spent.decisions,
      'calls': self.spent.calls,
      'seconds_per_16_decisions': self.seconds / self._rounds,
      'cpu_seconds_per_16_decisions': self.cpu_seconds / self._rounds,
      'shares': self.shares(),
    }

  def shares(self) -> dict[str, float]:
    """Of the time of the thread that plays; all together 1."""
    spent = self.spent
    parts = {
      'device': spent.waiting,
      'emulator': spent.stepping,
      'asking': spent.asking,
      'host': self.seconds - spent.waiting - spent.stepping - spent.asking,
    }
    return {name: part / self.seconds for name, part in parts.items()}

  def line(self) -> str:
    """A row of the table."""
    shares = ''.join(f'{share:>8.1%}' for share in self.shares().values())
    groups = 'all at once' if self.groups == 1 else f'{self.groups} groups'
    return (
      f'{f"{self.device}, {groups}":44}{self.seconds:8.2f}{self.cpu_seconds:8.2f}'
      f'{1e3 * self.seconds / self._rounds:9.3f} {shares}'
    )

  @property
  def _rounds(self) -> float:
    """Decisions for sixteen."""
    return self.spent.decisions / NUM_EPISODES


@dataclasses.dataclass(frozen=True)
class Evaluations:
  """All that the section found, the device itself first, then its stand-ins."""

  game: str
  max_steps: int
  found: list[Evaluation]

  def record(self) -> dict[str, Any]:
    """Plain JSON types."""
    return {
      'game': self.game,
      'max_steps': self.max_steps,
      'ways': [each.record() for each in self.found],
      **self._facts(),
    }

  def table(self) -> str:
    """For people."""
    lines = [_HEAD, *(each.line() for each in self.found)]
    first = self.found[0]
    lines += [
      'ms: for a decision of each of 16 episodes. Then, of the time of the thread that '
      'plays: waiting for the device, waiting for emulators, handing over, the rest.',
      f'CPU s all at once: emulators {first.emulator_cpu_seconds:.2f}, the thread that '
      f'plays {first.own_cpu_seconds:.2f}, the device the rest',
      'A stand-in is no device: it draws actions, takes its time and no CPU.',
      *(f'{name}: {value}' for name, value in self._facts().items()),
    ]
    return '\n'.join(lines)

  def _facts(self) -> dict[str, Any]:
    first = self.found[0]
    own = [each for each in self.found if each.device == first.device]
    facts: dict[str, Any] = {
      'decisions': first.spent.decisions,
      'loading_seconds': round(first.loading_seconds, 2),
      'growth_mb': round(max(each.growth_mb for each in own), 1),
    }
    for each in own[1:]:
      same = (each.actions == first.actions) & (first.actions >= 0)
      facts[f'same actions, {each.groups} groups'] = f'{same.sum()}'
      facts[f'same scores, {each.groups} groups'] = each.scores == first.scores
    for one, other in zip(self.found, self.found[1:], strict=False):
      if one.device == other.device:
        name = f'{other.groups} groups / {one.groups}, {one.device}'
        ratio = other.seconds / one.seconds
        cpu = other.cpu_seconds / one.cpu_seconds
        facts[name] = f'{ratio:.3f}, of CPU time {cpu:.3f}'
    return facts


def measure_evaluation(
  subject: Subject,
  game: str,
  max_steps: int,
  stand_in: float,
  num_episodes: int = NUM_EPISODES,
) -> Evaluations:
  """Plays all episodes in every way.

  Args:
    subject: whose policy, with fresh parameters.
    game: as `specs.ATARI_GAMES` calls it.
    max_steps: agent steps of an episode at most.
    stand_in: seconds that a device takes which does not use the CPU: for sixteen
      decisions, fewer in proportion; and for any number of them. 0: none.
    num_episodes: side by side, an even number.

  Raises:
    UserError: the policy sees no screens, or no such game.
  """
  player = fresh_player(subject, game, max_steps)
  own = jax.default_backend()
  counts = num_episodes, max_steps
  found = [_evaluate(player, own, groups, *counts) for groups in GROUPS]
  for per_row in (True, False) if stand_in else ():
    kind = 'for 16' if per_row else 'for any number'
    name = f'stand-in, {1e3 * stand_in:g} ms {kind}'
    for groups in GROUPS:
      with StandIn(stand_in, NUM_EPISODES if per_row else None) as decide:
        standing = dataclasses.replace(player, decide_fn=decide)
        counts = num_episodes, min(max_steps, _STAND_IN_STEPS)
        found.append(_evaluate(standing, name, groups, *counts))
  return Evaluations(game, max_steps, found)


def fresh_player(subject: Subject, game: str, max_steps: int) -> Player:
  """A policy of a subject's size that has learnt nothing, ready for a game."""
  if game not in specs.ATARI_GAMES:
    raise UserError(
      f'--game: expected one of the {len(specs.ATARI_GAMES)} games, found {game}'
      f'{did_you_mean(game, specs.ATARI_GAMES)}.'
    )
  protocol = dataclasses.replace(
    specs.ATARI_EVALUATION_PROTOCOL, max_episode_steps=max_steps
  )
  spec = specs.atari_spec(game, protocol)
  policy, config = subject.steps.policy, subject.config.acting
  if policy.observation_spec != spec.observation:
    raise UserError(
      'section evaluate: expected a --size whose policy sees screens, such as small, '
      f'found observations of kind {policy.observation_spec.kind}.'
    )
  history = acting.history_of(subject.batch(NUM_EPISODES).window, policy.context)
  init = jax.jit(policy.init)
  return Player(
    decide_fn=make_decide(policy, config),
    context=policy.context,
    params=init(jax.random.key(0), *acting.model_inputs(history))['params'],
    config=config,
    vocabulary=subject.data.vocabulary,
    spec=spec,
  )


def _evaluate(
  player: Player, device: str, groups: int, num_episodes: int, max_steps: int
) -> Evaluation:
  """Plays once, all but the play itself done before."""
  still = [_Still(player.spec) for _ in range(groups)]
  _play(player, still, num_episodes, 2, None, TimeSpent())
  begin = time.perf_counter()
  seeds = range(_FIRST_SEED, _FIRST_SEED + num_episodes)
  stages = [_Timed(each) for each in atari_arena.stages(player.spec, seeds, groups)]
  loading = time.perf_counter() - begin
  actions = np.full((num_episodes, max_steps), -1, np.int16)
  every, looks = max(1, max_steps // _LOOKS), []

  def note(episode, step, action, wanted):
    del wanted
    actions[episode, step] = action
    if episode == 0 and step % every == 0:
      looks.append(inputs.own_mb())

  spent = TimeSpent()
  begin = time.perf_counter(), time.process_time(), time.thread_time()
  scores = _play(player, stages, num_episodes, max_steps, note, spent)
  end = time.perf_counter(), time.process_time(), time.thread_time()
  wall, cpu, own = (b - a for a, b in zip(begin, end, strict=True))
  emulators = sum(stage.cpu_seconds for stage in stages) if groups == 1 else None
  return Evaluation(
    device=device,
    groups=groups,
    seconds=wall,
    cpu_seconds=cpu,
    own_cpu_seconds=own,
    emulator_cpu_seconds=emulators,
    loading_seconds=loading,
    spent=spent,
    growth_mb=inputs.growths(looks)[1],
    scores=scores,
    actions=actions,
  )


def _play(
  player: Player,
  stages: Sequence[Stage],
  num_episodes: int,
  max_steps: int,
  decision_fn: Callable | None,
  spent: TimeSpent,
) -> list[EpisodeScore]:
  return play(
    player,
    stages,
    num_episodes,
    max_steps=max_steps,
    seed=0,
    greedy=[False] * num_episodes,
    decision_fn=decision_fn,
    spent=spent,
  )


class _Still:
  """A `Stage` on which nothing happens, to compile with."""

  def __init__(self, spec: specs.EnvironmentSpec):
    self._shown = np.zeros(spec.observation.shape, spec.observation.dtype)

  def start(self, slot: int, episode: int) -> Array:
    return self._shown

  def step(self, actions: np.ndarray, running: np.ndarray) -> Moment:
    nothing = np.zeros(len(actions), np.float32)
    shown = np.repeat(self._shown[None], len(actions), axis=0)
    return Moment(shown, nothing, nothing + 1, nothing > 0)


class _Timed:
  """A `Stage` whose steps' CPU time is added up."""

  def __init__(self, stage: Stage):
    self._stage = stage
    self.cpu_seconds = 0.0

  def start(self, slot: int, episode: int) -> Array:
    return self._stage.start(slot, episode)

  def step(self, actions: np.ndarray, running: np.ndarray) -> Moment:
    begin = time.process_time()
    moment = self._stage.step(actions, running)
    self.cpu_seconds += time.process_time() - begin
    return moment
