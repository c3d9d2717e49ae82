"""ALPT on Atari, at the size of a laptop: five recorded games, 300 labels.

  ./launch/atari_demo.sh                     about 20 minutes on 2 cores
  TARGET=SpaceInvaders ./launch/atari_demo.sh
  ./launch/atari_demo.sh --smoke             the same way in two minutes; learns nothing

The other games of section 5.3 are recorded with their actions and pretrained on
once. For each of five draws of 300 labels the target is then learnt from that base
(ALPT) and from nothing (DT1-IDM). Recordings, base and evaluation are shared, so that
the difference is one of pairs.
"""

import ml_collections

SIZES = ('small', 'smoke', 'paper')


def get_config(text: str = '') -> ml_collections.ConfigDict:
  """`text` is 'target,size', both optional; sizes: small, smoke, paper (a GPU)."""
  target, _, size = text.partition(',')
  target, size = target or 'Breakout', size or 'small'
  if size not in SIZES:
    raise ValueError(f"size '{size}' is not known. Known: {', '.join(SIZES)}")
  is_smoke, is_paper = size == 'smoke', size == 'paper'
  config = ml_collections.ConfigDict()
  config.experiment = f'atari-demo-{target}' + ('' if size == 'small' else f'-{size}')
  # The file that makes a run's config out of one of `runs`.
  config.run_config = 'configs/atari.py'
  labels = 10_000 if is_paper else 300
  common = f'target={target},labels={labels},size={"paper" if is_paper else "small"}'
  seeds = range(1 if is_smoke or is_paper else 5)
  base_steps, tuned_steps, warmup_steps = _steps(size)
  base = {'title': 'base', 'training': {'num_steps': base_steps}}
  tuned = {'training': {'num_steps': tuned_steps}}
  # (arguments of `run_config`, further fields, name for those that start from it)
  runs = [(f'{common},phase=sources', base, 'base')]
  for seed in seeds:
    draw = f'{common},phase=finetune,seed={seed}'
    start = {'title': 'ALPT', 'initial': 'base'}
    runs.append((f'{draw},method=alpt', {**tuned, **start}, ''))
    runs.append((f'{draw},method=dt1-idm', {**tuned, 'title': 'DT1-IDM'}, ''))
  config.runs = tuple(runs)
  # Fields of every run's config that differ from configs/atari.py.
  config.overrides = overrides = ml_collections.ConfigDict()
  overrides.data = ml_collections.ConfigDict()
  # Short segments: six of 50 would show few moments of the game.
  overrides.data.segment_length = 50 if is_paper else 10
  # So short a training would end inside the paper's warm-up.
  overrides.optimizer = {'warmup_steps': warmup_steps}
  overrides.evaluation = evaluation = ml_collections.ConfigDict()
  if not is_paper:
    # Agent steps; 16 whole episodes would take a minute of every run.
    evaluation.max_steps = 500
  if is_smoke:
    evaluation.num_transitions = 256
    evaluation.num_episodes = 2
    evaluation.max_steps = 40
  config.record = record = ml_collections.ConfigDict()
  # Of each game: 33 minutes of play.
  record.transitions = 1_500 if is_smoke else 200_000 if is_paper else 30_000
  return config


def _steps(size: str) -> tuple[int, int, int]:
  """Optimiser steps of the base, of each finetuning, and of warming up (ours)."""
  return {
    'smoke': (4, 4, 1),
    'small': (700, 250, 50),
    'paper': (10_000, 3_000, 500),
  }[size]
