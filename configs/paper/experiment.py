"""What the experiments of this folder share: their arguments, sizes and costs.

Arguments behind the colon of every experiment, all optional, joined by commas:
  part      maze (default) or atari
  size      twin (a CPU, default), paper (Table 3; GPUs or TPUs) or smoke (seconds;
            learns nothing)
  seeds     a number of seeds, from 0, or a list joined by '+': 7+11+13
  targets   joined by '+'; figure5 has one and takes none
  data_seed     of recorded Atari games; the mazes, of which every seed has its own,
                do not read it
  rl_unplugged  folder of the RL Unplugged shards, in place of recorded games; the
                mazes do not read it
"""

import types

import ml_collections

from configs import atari, shared

# Of section 5.3.
GAMES = atari.FIVE_GAMES
SIZES = ('twin', 'paper', 'smoke')

# Optimiser steps of a pretraining on sources, and of everything that learns the
# target. Ours for the twins: by then the mazes' IDM has settled (docs/mazes.md), and
# the games' learns a quarter of what it could (docs/atari.md).
STEPS = {
  ('maze', 'twin'): (600, 400),
  ('maze', 'paper'): (1_000_000, 1_000_000),
  ('maze', 'smoke'): (4, 4),
  ('atari', 'twin'): (700, 250),
  # Section 5.1 and figure 2: 1M each, read as optimiser steps.
  ('atari', 'paper'): (1_000_000, 1_000_000),
  ('atari', 'smoke'): (2, 2),
}

# Seeds where none are given: the paper's 3, the twins' 5 and, as games take longer, 2.
_NUM_SEEDS = {'twin': {'maze': 5, 'atari': 2}, 'paper': {'maze': 3, 'atari': 3}}

# CPU-seconds, measured on one core of an AMD EPYC at the twins' sizes: a joint step,
# an evaluation, and what a run takes beside them. For `--dry_run`.
_COSTS = {'maze': (0.045, 1.5, 6.0), 'atari': (0.40, 30.0, 20.0)}
# The same of one update of the method that is no transformer.
_CQL_COSTS = {'maze': 0.0007, 'atari': 0.1}
# What tells whether a method plays well.
_METRICS = {'maze': 'success_sampled', 'atari': 'score'}
_SMOKE_LABELS = 20


def read(text: str, parts: tuple[str, ...], budgets: dict, targets: dict | None = None):
  """The arguments, checked, with all that follows from part and size.

  Args:
    text: what stands behind the colon.
    parts: those that the experiment has, the default first.
    budgets: part, or (part, size) where a size has its own, -> label budgets.
    targets: the same -> the targets where none are named; None for an experiment
      that has a single one.

  Returns:
    A namespace: `part`, `size`, `seeds`, `budgets`, `targets` (those that are asked
    for), `first_target` (of those where none are named), `metric` (of how well a
    method plays), and of games `data_seed` and `rl_unplugged`.

  Raises:
    ValueError: an argument is not known, not taken here, or not what it should be.
  """
  defaults = {'part': parts[0], 'size': 'twin', 'seeds': '', 'targets': ''}
  defaults |= {'data_seed': 0, 'rl_unplugged': ''}
  given = shared.parse(text, defaults, SIZES)
  part, size = given['part'], given['size']
  if part not in parts:
    raise ValueError(f"part '{part}' is not known. Known: {', '.join(parts)}")
  named = tuple(filter(None, given['targets'].split('+')))
  if named and targets is None:
    raise ValueError(
      f"targets: expected none, as there is one target here, found '{given['targets']}'"
    )
  is_smoke, is_game = size == 'smoke', part == 'atari'
  usual = _of(targets, part, size)[: 1 if is_smoke else None] if targets else ()
  return types.SimpleNamespace(
    part=part,
    size=size,
    seeds=_seeds(given['seeds'], 1 if is_smoke else _NUM_SEEDS[size][part]),
    budgets=(_SMOKE_LABELS,) if is_smoke else _of(budgets, part, size),
    targets=named or usual,
    first_target=usual[0] if usual else None,
    metric=_METRICS[part],
    data_seed=given['data_seed'] if is_game else 0,
    rl_unplugged=given['rl_unplugged'] if is_game else '',
  )


def _of(table: dict, part: str, size: str) -> tuple:
  return table.get((part, size), table[part])


def _seeds(text: str, default: int) -> tuple[int, ...]:
  """'3' -> (0, 1, 2); '7+11' -> (7, 11)."""
  text = text or str(default)
  if not all(number.isdecimal() for number in text.split('+')):
    raise ValueError(f"seeds: expected a number, or some joined by '+': '{text}'")
  seeds = tuple(int(number) for number in text.split('+'))
  if '+' not in text:
    seeds = tuple(range(seeds[0]))
  if not seeds or len(set(seeds)) < len(seeds):
    raise ValueError(f"seeds: expected one at least, and none twice, found '{text}'")
  return seeds


def run(
  a,
  title: str,
  method: str,
  labels: int,
  seed: int,
  phase: str = 'finetune',
  initial: str = '',
  name: str = '',
  changes: dict | None = None,
  **arguments,
) -> tuple[str, dict]:
  """One of the experiment's runs, as `alpt_jax/launching/sweep.py` reads it.

  Args:
    a: what `read` returned.
    title: how tables call the method.
    method: of `alpt_jax/methods.py`.
    labels: transitions of the target that keep their action.
    seed: of everything that is drawn.
    phase: 'sources', 'pretrain', 'finetune' or 'joint'.
    initial: `name` of the run that it starts from.
    name: for those that start from this one.
    changes: further fields in which it differs.
    **arguments: further ones of the part's config file, such as target and sources.
  """
  text = f'method={method},labels={labels},seed={seed},phase={phase}'
  if a.rl_unplugged:
    text += f',rl_unplugged={a.rl_unplugged}'
  text += ''.join(f',{key}={value}' for key, value in arguments.items() if value)
  text += ',size=paper' if a.size == 'paper' else ',size=small'
  pretraining, tuning = STEPS[a.part, a.size]
  steps = pretraining if phase in ('sources', 'pretrain') else tuning
  fields = {'title': title, 'training': {'num_steps': steps}}
  if phase in ('sources', 'pretrain') and a.size != 'paper':
    # Only its last state is of use; nobody looks at how it came there.
    fields['training']['evaluate_every'] = 0
  if initial:
    fields['initial'] = initial
  for key, value in (changes or {}).items():
    fields[key] = {**fields.get(key, {}), **value} if isinstance(value, dict) else value
  return text, fields, name


def experiment(a, name: str, title: str, runs, claims=()) -> ml_collections.ConfigDict:
  """The whole experiment; the fields are explained below.

  Args:
    a: what `read` returned.
    name: of the experiment.
    title: one line that says what it asks.
    runs: what `run` returned, one for each.
    claims: what `claim` returned, one for each sentence of the paper.
  """
  config = ml_collections.ConfigDict()
  # Results of other data are another experiment's.
  words = [name, a.part, *([] if a.size == 'twin' else [a.size])]
  words += [f'seed{a.data_seed}'] if a.data_seed else []
  words += ['rl_unplugged'] if a.rl_unplugged else []
  config.experiment = '-'.join(words)
  config.title = title
  config.size = a.size
  # The file that makes a run's config out of one of `runs`.
  config.run_config = f'configs/{a.part}.py'
  config.runs = tuple(runs)
  config.claims = tuple(claims)
  # CPU-seconds of a joint step, an evaluation and a run's remainder; () if unknown.
  config.costs = _COSTS[a.part] if a.size == 'twin' else ()
  # Method -> CPU-seconds of its step, where it is another.
  config.step_costs = {'cql': _CQL_COSTS[a.part]} if a.size == 'twin' else {}
  # Fields of every run's config that differ from `run_config`.
  config.overrides = _overrides(a)
  config.record = _record(a)
  return config


def _overrides(a) -> dict:
  if a.size == 'paper':
    return {}
  if a.part == 'maze':
    overrides = {
      'training': {'evaluate_every': STEPS['maze', 'twin'][1] // 4},
      'evaluation': {'num_transitions': 2_048, 'num_episodes': 128},
    }
  else:
    overrides = {
      # Short segments: six of 50 would show few moments of the game.
      'data': {'segment_length': 10},
      # Agent steps; 16 whole episodes would take a minute of every run.
      'evaluation': {'max_steps': 500},
    }
  if a.size == 'smoke':
    overrides['training'] = {'evaluate_every': 0, 'batch_size': 12}
    overrides['model'] = {'width': 16, 'num_layers': 1, 'num_heads': 2}
    overrides['optimizer'] = {'warmup_steps': 1}
    overrides['evaluation'] = {
      'num_transitions': 32,
      'num_episodes': 2,
      'max_steps': 8,
    }
  return overrides


def _record(a) -> dict:
  if a.part == 'maze':
    # Section 5.1: 500 trajectories, epsilon 0.5.
    return {'episodes': 20 if a.size == 'smoke' else 500, 'epsilon': 0.5}
  transitions = {'twin': 30_000, 'paper': 1_000_000, 'smoke': 1_200}[a.size]
  return {'transitions': transitions, 'seed': a.data_seed}


def claim(
  paper: str,
  where: str,
  metric: str,
  method: str,
  over: str,
  labels: int | None = None,
  kind: str = 'higher',
  factor: float = 1.0,
  quoted: bool = True,
) -> dict:
  """A sentence of the paper, as the report tests it.

  Args:
    paper: the sentence, or a part of one.
    where: it stands in the paper.
    metric: of an evaluation row.
    method: title of the runs that the sentence is about.
    over: title of those that they are compared with.
    labels: the budget; None for each.
    kind: 'higher', 'not_lower' or 'faster' (steps to the other's last score).
    factor: how many times as fast it is claimed to be; of 'faster' alone.
    quoted: whether these words stand so in the paper; reports show ours as ours.
  """
  return {
    'paper': paper,
    'quoted': quoted,
    'where': where,
    'metric': metric,
    'method': method,
    'over': over,
    'labels': labels,
    'kind': kind,
    'factor': factor,
    'floor': FLOORS.get(metric),
    'ceiling': CEILINGS.get(metric),
  }


# A sentence of the abstract that several experiments test.
LABELLING = (
  'utilizing even one additional environment dataset of labelled data during IDM '
  'pretraining gives rise to substantial improvements in generating action labels'
)
# What a figure must pass before it says anything, and where it cannot get higher.
FLOORS = {
  'success_sampled': 'random_walk',
  'idm_accuracy': 'idm_majority',
  'score': 'score_random',
}
CEILINGS = {'success_sampled': 'optimal', 'idm_accuracy': 'idm_ceiling'}
