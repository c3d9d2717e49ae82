"""What the experiments of this folder share: their arguments, sizes and costs.

Arguments behind the colon of every experiment, all optional, joined by commas:
  part      maze (default) or atari
  size      twin (a CPU, default), paper (Table 3; GPUs or TPUs) or smoke (seconds;
            learns nothing)
  seeds     a number of seeds, from 0, or a list joined by '+': 7+11+13
  targets   joined by '+', where the experiment has several
  data_seed     of recorded Atari games (mazes: every seed has its own)
  rl_unplugged  folder of the RL Unplugged shards, in place of recorded games
"""

import types

import ml_collections

ARGUMENTS = ('part', 'size', 'seeds', 'targets', 'data_seed', 'rl_unplugged')
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


def read(text: str, parts: tuple[str, ...]):
  """The arguments, checked; `seeds` and `targets` as tuples, () where none is named.

  Args:
    text: what stands behind the colon.
    parts: those that the experiment has, the default first.
  """
  given = dict(pair.partition('=')[::2] for pair in filter(None, text.split(',')))
  for name in given:
    if name not in ARGUMENTS:
      raise ValueError(
        f"--config: argument '{name}' is not known. Known: {', '.join(ARGUMENTS)}"
      )
  part, size = given.get('part', parts[0]), given.get('size', 'twin')
  for name, value, known in (('part', part, parts), ('size', size, SIZES)):
    if value not in known:
      raise ValueError(f"{name} '{value}' is not known. Known: {', '.join(known)}")
  default = 1 if size == 'smoke' else _NUM_SEEDS[size][part]
  numbers = given.get('seeds') or str(default)
  if not all(number.isdecimal() for number in numbers.split('+')):
    raise ValueError(f"seeds: expected a number, or some joined by '+': '{numbers}'")
  seeds = tuple(int(number) for number in numbers.split('+'))
  if '+' not in numbers:
    seeds = tuple(range(seeds[0]))
  if not seeds or len(set(seeds)) < len(seeds):
    raise ValueError(f"seeds: expected one at least, and none twice, found '{numbers}'")
  targets = tuple(filter(None, given.get('targets', '').split('+')))
  return types.SimpleNamespace(
    part=part,
    size=size,
    seeds=seeds,
    targets=targets,
    data_seed=int(given.get('data_seed', 0)),
    rl_unplugged=given.get('rl_unplugged', ''),
  )


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
  if a.part == 'atari' and a.rl_unplugged:
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
  config.experiment = f'{name}-{a.part}' + ('' if a.size == 'twin' else f'-{a.size}')
  config.title = title
  config.size = a.size
  # The file that makes a run's config out of one of `runs`.
  config.run_config = f'configs/{a.part}.py'
  config.runs = tuple(runs)
  config.claims = tuple(claims)
  # CPU-seconds of a joint step, an evaluation and a run's remainder; () if unknown.
  config.costs = _COSTS[a.part] if a.size == 'twin' else ()
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
  targets: tuple[str, ...] = (),
) -> dict:
  """A sentence of the paper, as the report tests it.

  Args:
    paper: the sentence.
    where: it stands in the paper.
    metric: of an evaluation row.
    method: title of the runs that the sentence is about.
    over: title of those that they are compared with.
    labels: the budget; None for each.
    kind: 'higher', 'not_lower' or 'faster' (steps to the other's last score).
    targets: those that it is about; none for all.
  """
  return {
    'paper': paper,
    'where': where,
    'metric': metric,
    'method': method,
    'over': over,
    'labels': labels,
    'kind': kind,
    'targets': list(targets),
    'floor': FLOORS.get(metric),
    'ceiling': CEILINGS.get(metric),
  }


# What a figure must pass before it says anything, and where it cannot get higher.
FLOORS = {
  'success_sampled': 'random_walk',
  'idm_accuracy': 'idm_majority',
  'score': 'score_random',
}
CEILINGS = {'success_sampled': 'optimal', 'idm_accuracy': 'idm_ceiling'}
