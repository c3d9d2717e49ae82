"""Maze navigation (section 5.6): one training run, IDM and DT at once.

  python -m alpt_jax.bin.pretrain --workdir=runs/maze \
      --config=configs/maze.py:method=alpt,sources=blocked+tunneled,labels=250

Arguments behind the colon, all optional:
  method    dt1, dt1-idm, dt5, dt5-ret, alpt, alpt-idm, bc, cql or oracle
            (default alpt)
  target    the action-limited maze: a blocked one of its own (own, default), or
            one of those that sources can name, which are FORM or FORM and a number:
            blocked, tunneled, diagonal, blocked2, ...
  sources   mazes to pretrain on, joined by '+' (default blocked)
  labels    labelled transitions of the target (default 250)
  seed      of everything that is drawn: layouts, labels, initialisation (default 0)
  root      folder of the recorded datasets (default runs/data)
  observation  position, position_walls or image (default position)
  blocks    wall blocks of the blocked mazes (default 20)
  size      small (a CPU, default) or paper (Table 3; a GPU or TPU)
  phase     joint (default, as in the paper), pretrain, sources or finetune
"""

import difflib

import ml_collections

from configs import shared

# Layout seeds. A run's seed is added, so seeds share no maze (below 1,000 seeds), and
# 10,000 for each number above 1.
LAYOUTS = {'own': 1000, 'blocked': 2000, 'tunneled': 3000, 'diagonal': 4000}


def environment(maze: str, seed: int, blocks: int) -> str:
  """The name of a maze: its form and its layout seed."""
  form = maze.rstrip('0123456789')
  number = int(maze[len(form) :] or 1)
  if form not in LAYOUTS or number < 1:
    close = difflib.get_close_matches(form, LAYOUTS, 1)
    hint = f"; did you mean '{close[0]}'?" if close else '.'
    raise ValueError(f"maze '{maze}' is not known{hint} Known: {', '.join(LAYOUTS)}")
  layout = LAYOUTS[form] + 10_000 * (number - 1) + seed
  form = 'blocked' if form == 'own' else form
  return (
    f'maze/{form}:{blocks}/{layout}' if form != 'tunneled' else f'maze/{form}/{layout}'
  )


def folder(root: str, name: str, observation: str) -> str:
  """Where a maze's dataset is recorded."""
  name = name.replace('/', '-').replace(':', '-')
  return f'{root}/{name}-{observation}'


def get_config(text: str = '') -> ml_collections.ConfigDict:
  """The configuration of one run; see the top of this file for `text`."""
  a = shared.parse(
    text,
    {
      'method': 'alpt',
      'target': 'own',
      'sources': 'blocked',
      'labels': 250,
      'seed': 0,
      'root': 'runs/data',
      'observation': 'position',
      'blocks': 20,
      'size': 'small',
      'phase': 'joint',
    },
  )
  is_paper = a['size'] == 'paper'
  is_finetuned = a['phase'] == 'finetune'
  takes_sources = a['method'] in shared.WITH_SOURCES and not is_finetuned
  forms = a['sources'].split('+') if takes_sources else []

  mazes = [a['target'], *forms]
  names = [environment(maze, a['seed'], a['blocks']) for maze in mazes]
  folders = [folder(a['root'], name, a['observation']) for name in names]

  config = ml_collections.ConfigDict()
  # The name that results are grouped under.
  config.experiment = 'maze'
  # Which data trains which model: alpt_jax/methods.py, the paper's Table 2.
  config.method = a['method']
  # How tables and curves call it, as the paper's figure 5 does.
  alpt = 'ALPT-' + '+'.join(form.capitalize() for form in a['sources'].split('+'))
  config.title = shared.title(a['method'], a['phase'], alpt)
  # How they call the target.
  config.target = 'maze' if a['target'] == 'own' else f'{a["target"]} maze'
  # 'joint': the mazes have no separate finetuning stage (section 5.6). 'sources' is
  # pretraining without the target, one base for several targets or label draws.
  config.phase = a['phase']
  # Of label draw, initialisation, batches and evaluation.
  config.seed = a['seed']
  # Run folder to start from (phase finetune); bin/finetune sets it.
  config.initial = ''

  config.data = data = ml_collections.ConfigDict()
  # Dataset folder of the action-limited target.
  data.target = folders[0]
  # Dataset folders of the fully labelled sources.
  data.sources = tuple(folders[1:])
  # What was, or will be, recorded there; the datasets are checked against it.
  data.environments = tuple(names)
  data.observation = a['observation']
  # Target transitions that keep their action (section 5.6: 250).
  data.labels = a['labels']
  # Labelled transitions in a row; 0 for whole episodes. Ours: one IDM window.
  data.segment_length = 5
  # Share of the target's episodes that is never trained on (ours).
  data.heldout_share = 0.05
  # Share of the labels that judges the guesses, if only some were recorded (ours).
  data.audit_share = 0.2
  # Shares of target and sources in a batch, relative to each other; () for equal ones.
  data.weights = ()
  # Share of the target's rows drawn from the labelled segments (ours).
  data.labelled_share = 0.25
  # Weight of those rows in the DT's loss: 0 counts D+ and D- uniformly.
  data.pool_policy_weight = 0.0
  # Of RL Unplugged shards only; see configs/atari.py.
  data.runs = (1, 2)
  data.checkpoints = ()
  data.reward_lead = 0
  data.skip_bad_shards = False
  data.cache = f'{a["root"]}/cache'

  config.model = model = ml_collections.ConfigDict()
  # Table 3: 512 wide, 6 layers, 8 heads; small is ours, for a CPU.
  model.width = 512 if is_paper else 64
  model.num_layers = 6 if is_paper else 2
  model.num_heads = 8 if is_paper else 4
  # Lee et al. (2022): 0.1 on attention and MLP outputs; none for so small a model.
  model.dropout = 0.1 if is_paper else 0.0
  # Side of an image patch; only read for observation=image (ours: 16 patches).
  model.patch_size = 5
  # Transitions the IDM sees: k = 5 (section 4.1).
  model.num_transitions = 5
  # How the IDM reads a window: 'frames' (the paper's); images also know 'difference'
  # and 'pair', which learn faster (ours).
  model.idm_form = 'frames'
  # Transitions the DT sees (Lee et al.: 4).
  model.context = 4
  # Of the computation; parameters are float32.
  model.dtype = 'bfloat16' if is_paper else 'float32'
  # All layers but the last as one that is compiled once: large models compile faster.
  model.scan_layers = False

  config.training = training = ml_collections.ConfigDict()
  # Optimiser steps. The paper's "1M frames" are read as steps.
  training.num_steps = 1_000_000 if is_paper else 1_500
  # Windows per step (section 5.1: 256).
  training.batch_size = 256 if is_paper else 64
  # How a missing action is filled in: argmax, sample or soft.
  training.relabelling = 'argmax'
  # Weigh relabelled actions by the IDM's confidence (ours; the paper does not).
  training.confidence_weighting = False
  # Guesses that the IDM is less sure of stay unknown (ours; the paper learns from all).
  training.confidence_threshold = 0.0
  # 'token', or 'notebook' for Lee et al.'s division by the number of classes.
  training.loss_normalisation = 'token'
  # Shift each window the IDM learns from by up to so many pixels at random (ours;
  # images only); 0 for never.
  training.shift = 0
  # In steps.
  training.log_every = 50
  training.evaluate_every = 50_000 if is_paper else 250
  training.checkpoint_every = 10_000 if is_paper else 500
  # Checkpoints kept, the newest ones.
  training.keep_checkpoints = 2

  # How a step is spread over memory and devices; a run may go on with other values.
  config.execution = execution = ml_collections.ConfigDict()
  # Devices that share one copy of the train state; the others have copies of their own.
  execution.fsdp = 1
  # Parts of a batch that are computed one after the other, to need less memory.
  execution.microbatches = 1
  # Compute activations again in the backward pass instead of keeping them.
  execution.remat = False

  config.optimizer = optimizer = ml_collections.ConfigDict()
  # Table 3: LAMB; AdamW learns faster at this size (ours).
  optimizer.name = 'lamb' if is_paper else 'adamw'
  optimizer.learning_rate = 3e-4 if is_paper else 1e-3
  # Linear from 0 (Table 3: 4,000).
  optimizer.warmup_steps = 4_000 if is_paper else 100
  # After the warm-up: constant, or cosine to 0.
  optimizer.schedule = 'constant' if is_paper else 'cosine'
  # On matrices only (section 5.1: 5e-5 for mazes).
  optimizer.weight_decay = 5e-5
  # Global norm of each model's gradients (Table 3).
  optimizer.clip = 1.0
  # Table 3.
  optimizer.b1 = 0.9
  optimizer.b2 = 0.999

  # Read by method cql alone, which reads nothing of `optimizer`, and of `acting` what
  # the environment needs. Kumar et al. (2020) did no mazes: where no other source
  # stands, the values are ours: those by which it solved a recorded maze of walls seen
  # (position_walls) with all labels.
  config.cql = cql = ml_collections.ConfigDict()
  # Observations in a stack: one shows all of a maze (Atari: 4).
  cql.num_frames = 1
  # Quantiles of each action's return (Dabney et al., 2018: 200).
  cql.num_quantiles = 32
  # Of the dense layers, and how many there are (Mnih et al., 2015: one of 512).
  cql.width = 256
  cql.num_layers = 3
  # Weight of the conservative term (Kumar et al.'s code: 4 and 1 with 1 % and 10 % of
  # the data). Beside fewer quantiles, over which the other loss is summed, 1 is much.
  cql.alpha = 1.0
  # Per step. At .99 the best action of a long way is worth 2 % more than the worst.
  cql.gamma = 0.9
  # kappa of the quantile Huber loss (Dabney et al., 2018).
  cql.huber = 1.0
  # Of Adam, constant.
  cql.learning_rate = 5e-4
  # Of Adam (Dabney et al., 2018: 0.01 / 32).
  cql.adam_epsilon = 0.01 / 32
  # Updates between two copies of the target network.
  cql.target_period = 100
  # Share of random actions while it is scored (Dopamine).
  cql.epsilon = 0.001

  config.acting = acting = ml_collections.ConfigDict()
  # Optimism about returns (Lee et al.'s paper: 10).
  acting.kappa = 10.0
  # Lee et al. (2022), section 3: 0.75, the largest of 128 samples.
  acting.inverse_temperature = 0.75
  acting.num_return_samples = 128
  # Actions above this percentile are sampled from, at this temperature.
  acting.action_percentile = 50.0
  acting.action_temperature = 1.0
  # A fixed return to ask for instead of an optimistic one; None for the latter.
  acting.target_return = ml_collections.config_dict.placeholder(float)
  # What becomes of actions that an environment does not accept: mask, or noop as Lee
  # et al. have it, which needs an environment with a NOOP.
  acting.illegal = 'mask'
  # What stands before an episode's first step: masked as in training, or notebook for
  # Lee et al.'s visible zero frames.
  acting.padding = 'masked'

  config.evaluation = evaluation = ml_collections.ConfigDict()
  # Hidden transitions that the IDM is scored on.
  evaluation.num_transitions = 4_096
  # Random (start, goal) pairs, played sampled and again greedily.
  evaluation.num_episodes = 256
  # Success within so many steps: 500 would not tell a random walk apart.
  evaluation.max_steps = 50
  # Only emulators know these.
  evaluation.sticky_actions = 0.0
  evaluation.max_noops = 0
  return config
