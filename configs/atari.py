"""Atari (sections 5.1 to 5.5): one training run of one phase.

  python -m alpt_jax.bin.pretrain --workdir=runs/base \
      --config=configs/atari.py:target=SpaceInvaders,phase=pretrain
  python -m alpt_jax.bin.finetune --from=runs/base --workdir=runs/tuned \
      --config=configs/atari.py:target=SpaceInvaders,phase=finetune

Arguments behind the colon, all optional:
  target    the action-limited game (default SpaceInvaders)
  method    dt1, dt1-idm, dt5, dt5-ret, alpt, alpt-idm, bc, cql or oracle
            (default alpt)
  sources   games to pretrain on, joined by '+' (default: the other four of section 5.3)
  labels    labelled transitions of the target (default 10000, section 5.1)
  seed      of everything that is drawn (default 0)
  size      small (a CPU, default), paper (Table 3; a GPU or TPU) or large (ours: 1.2
            billion parameters in both models together; many TPUs)
  batch     windows per step; 0 for the size's own (Table 3: 256; section 5.1 can be
            read as 2048)
  phase     pretrain (default), sources (pretraining without the target) or finetune
  root      folder of sets that bin/record made (default runs/atari)
  rl_unplugged  folder of the RL Unplugged shards instead, <folder>/<Game>/run_...
"""

import ml_collections

from configs import shared

# Section 5.3.
FIVE_GAMES = ('Asterix', 'Breakout', 'Freeway', 'Seaquest', 'SpaceInvaders')


def folder(arguments: dict, game: str) -> str:
  """Where a game's episodes lie."""
  if arguments['rl_unplugged']:
    return f'{arguments["rl_unplugged"]}/{game}'
  return f'{arguments["root"]}/atari-{game}'


def get_config(text: str = '') -> ml_collections.ConfigDict:
  """The configuration of one run; see the top of this file for `text`."""
  a = shared.parse(
    text,
    {
      'target': 'SpaceInvaders',
      'method': 'alpt',
      'sources': '',
      'labels': 10_000,
      'seed': 0,
      'size': 'small',
      'batch': 0,
      'phase': 'pretrain',
      'root': 'runs/atari',
      'rl_unplugged': '',
    },
    ('small', 'paper', 'large'),
  )
  is_large = a['size'] == 'large'
  is_paper = is_large or a['size'] == 'paper'
  is_finetuned, is_cql = a['phase'] == 'finetune', a['method'] == 'cql'
  others = [game for game in FIVE_GAMES if game != a['target']]
  sources = a['sources'].split('+') if a['sources'] else others
  sources = sources if a['method'] in shared.WITH_SOURCES and not is_finetuned else []
  games = [a['target'], *sources]

  config = ml_collections.ConfigDict()
  # The name that results are grouped under.
  config.experiment = 'atari'
  # Which data trains which model: alpt_jax/methods.py, the paper's Table 2.
  config.method = a['method']
  # How tables and curves call it.
  config.title = shared.title(a['method'], '' if is_finetuned else a['phase'])
  # How they call the target.
  config.target = a['target']
  # Section 4.2: 'pretrain' on sources and target, then 'finetune' on the target.
  # 'sources': pretraining without the target, one base for several (section 5.4).
  config.phase = a['phase']
  # Of label draw, initialisation, batches and evaluation; the paper has 3 seeds.
  config.seed = a['seed']
  # Run folder to start from (phase finetune); bin/finetune sets it.
  config.initial = ''

  config.data = data = ml_collections.ConfigDict()
  # Folder of the action-limited target.
  data.target = folder(a, a['target'])
  # Folders of the fully labelled sources.
  data.sources = tuple(folder(a, game) for game in sources)
  # What is recorded there; the folders are checked against it.
  data.environments = tuple(f'atari/{game}' for game in games)
  # Only mazes have several forms of observation.
  data.observation = ''
  # Target transitions that keep their action (section 5.1: 10,000, 12 minutes).
  data.labels = a['labels']
  # Labelled transitions in a row: "random sequences" (section 5.1); the length is ours.
  data.segment_length = 50
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
  # Of RL Unplugged only: the runs, 50M agent steps each (section 5.1: 100M), ...
  data.runs = (1, 2)
  # ... and which of their 50 shards; () for all.
  data.checkpoints = ()
  # Steps by which rewards are recorded early: 0, 1 (Asterix), or -1 for what each
  # game's screens say; you are told where they contradict this.
  data.reward_lead = 0
  # Leave damaged shards out, counted and named, instead of stopping.
  data.skip_bad_shards = False
  # Folder for the manifests, and for the labelled parts cut out of the shards.
  data.cache = f'{a["root"]}/cache'

  config.model = model = ml_collections.ConfigDict()
  # Table 3: 512 wide, 6 layers, 8 heads; small is ours, for a CPU.
  model.width = 1_536 if is_large else 512 if is_paper else 128
  model.num_layers = 21 if is_large else 6 if is_paper else 2
  model.num_heads = 24 if is_large else 8 if is_paper else 4
  # Lee et al. (2022): 0.1 on attention and MLP outputs; none for so small a model.
  model.dropout = 0.1 if is_paper else 0.0
  # Side of an image patch: 36 patches of 84x84 pixels (Lee et al.).
  model.patch_size = 14
  # Transitions the IDM sees: k = 5 (section 4.1).
  model.num_transitions = 5
  # Transitions the DT sees (Lee et al.: 4).
  model.context = 4
  # What the IDM sees of an image: frames (the paper's), difference or pair.
  model.idm_form = 'frames' if is_paper else 'pair'
  # Of the computation; parameters are float32.
  model.dtype = 'bfloat16' if is_paper else 'float32'
  # All layers but the last as one that is compiled once: large models compile faster.
  model.scan_layers = is_large

  config.training = training = ml_collections.ConfigDict()
  # Optimiser steps. The paper's "1M frames" are read as steps, for pretraining and
  # finetuning alike: as frames they would end inside the warm-up.
  training.num_steps = 1_000_000 if is_paper else 600
  # 100 iterations (Appendix C), in Kumar et al.'s code of 62,500 updates each: 250,000
  # steps, an update at every fourth. Small is ours, iterations of 25.
  if is_cql:
    training.num_steps = 100 * (62_500 if is_paper else 25)
  # Windows per step (Table 3: 256; CQL, Kumar et al.'s code: 32).
  # Small: a row a step at least for each part of the data, of which the labelled
  # quarter of one of five games is the smallest.
  small = 20 if a['phase'] == 'pretrain' else 16
  training.batch_size = a['batch'] or (32 if is_cql else 256 if is_paper else small)
  # How a missing action is filled in: argmax, sample or soft.
  training.relabelling = 'argmax'
  # Weigh relabelled actions by the IDM's confidence (ours; the paper does not).
  training.confidence_weighting = False
  # Guesses that the IDM is less sure of stay unknown (ours; the paper learns from all).
  training.confidence_threshold = 0.0
  # 'token', or 'notebook' for Lee et al.'s division by the number of classes.
  training.loss_normalisation = 'token'
  # Random shifts of the windows that the IDM learns from, by up to so many pixels
  # (ours; 0: none).
  training.shift = 0
  # In steps.
  training.log_every = 50 if is_paper else 25
  training.evaluate_every = 50_000 if is_paper else 0
  training.checkpoint_every = 10_000 if is_paper else 200
  # Checkpoints kept, the newest ones.
  training.keep_checkpoints = 2

  # How a step is spread over memory and devices; a run may go on with other values.
  config.execution = execution = ml_collections.ConfigDict()
  # Devices that share one copy of the train state; the others have copies of their own.
  execution.fsdp = 8 if is_large else 1
  # Parts of a batch that are computed one after the other, to need less memory.
  execution.microbatches = 1
  # Compute activations again in the backward pass instead of keeping them.
  execution.remat = is_large

  config.optimizer = optimizer = ml_collections.ConfigDict()
  # Table 3: LAMB; AdamW learns faster at the small size (ours).
  optimizer.name = 'lamb' if is_paper else 'adamw'
  optimizer.learning_rate = 3e-4 if is_paper else 1e-3
  # Linear from 0 (Table 3: 4,000).
  optimizer.warmup_steps = 4_000 if is_paper else 50
  # After the warm-up: constant, or cosine to 0.
  optimizer.schedule = 'constant' if is_paper else 'cosine'
  # On matrices only (Table 3).
  optimizer.weight_decay = 5e-5
  # Global norm of each model's gradients (Table 3).
  optimizer.clip = 1.0
  # Table 3.
  optimizer.b1 = 0.9
  optimizer.b2 = 0.999

  # Read by method cql alone (Appendix C), which reads nothing of `optimizer`, and of
  # `acting` what the game needs. "All implementation details are consistent with" Kumar
  # et al. (2020), so the values are those of their code (atari/, quantile.gin), a patch
  # of Dopamine's QR-DQN, unless they are called ours.
  config.cql = cql = ml_collections.ConfigDict()
  # Frames in a stack (Mnih et al., 2015).
  cql.num_frames = 4
  # Quantiles of each action's return (Dabney et al., 2018).
  cql.num_quantiles = 200
  # Of the dense layer behind DQN's convolution, and how many (Mnih et al., 2015).
  cql.width = 512
  cql.num_layers = 1
  # Weight of the conservative term: their value for 1 % of the data, which is the
  # nearest to 10,000 frames.
  cql.alpha = 4.0
  # Per agent step.
  cql.gamma = 0.99
  # kappa of the quantile Huber loss (Dabney et al., 2018).
  cql.huber = 1.0
  # Of Adam, constant; small is ours, as it has few updates.
  cql.learning_rate = 5e-5 if is_paper else 2.5e-4
  # Of Adam (Dabney et al., 2018: 0.01 / 32).
  cql.adam_epsilon = 0.01 / 32
  # Updates between two copies of the target network: 8,000 steps, an update at every
  # fourth; small is ours.
  cql.target_period = 2_000 if is_paper else 100
  # Share of random actions while it is scored.
  cql.epsilon = 0.001

  config.acting = acting = ml_collections.ConfigDict()
  # Optimism about returns (Lee et al.'s paper: 10; their notebook: 0).
  acting.kappa = 10.0
  # Lee et al. (2022), section 3: 0.75, the largest of 128 samples.
  acting.inverse_temperature = 0.75
  acting.num_return_samples = 128
  # Actions above this percentile are sampled from, at this temperature.
  acting.action_percentile = 50.0
  acting.action_temperature = 1.0
  # Actions that the game does not accept: 'mask' leaves them out before choosing,
  # 'noop' chooses among all and then does nothing (Lee et al.).
  acting.illegal = 'mask'
  # What stands before an episode's first step: 'masked', or 'notebook' for Lee et
  # al.'s visible zero frames.
  acting.padding = 'masked'
  # A fixed return to ask for instead of an optimistic one; None for the latter.
  acting.target_return = ml_collections.config_dict.placeholder(float)

  config.evaluation = evaluation = ml_collections.ConfigDict()
  # Hidden transitions that the IDM is scored on.
  evaluation.num_transitions = 4_096
  # Episodes, all at once (Lee et al.: 16).
  evaluation.num_episodes = 16
  # An episode is cut off after so many agent steps (Lee et al.: 2,500).
  evaluation.max_steps = 2_500 if is_paper else 1_000
  # Probability that an emulator frame repeats the action before (none: section 5.1).
  evaluation.sticky_actions = 0.0
  # An episode begins with up to so many NOOPs (ours: none).
  evaluation.max_noops = 0
  return config
