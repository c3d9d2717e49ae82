"""Scores of many episodes as the numbers that tables show."""

from collections.abc import Sequence

import numpy as np

from alpt_jax.acting.rollout import EpisodeScore

# Random play and a professional tester, from Wang et al. (2016), Dueling Network
# Architectures, as DQN Zoo lists them: episodes of up to 30 minutes that begin with 1
# to 30 NOOPs. Carnival and Pooyan are not among their games.
_RANDOM_AND_HUMAN = {
  'Alien': (227.8, 7127.7),
  'Amidar': (5.8, 1719.5),
  'Assault': (222.4, 742.0),
  'Asterix': (210.0, 8503.3),
  'Atlantis': (12850.0, 29028.1),
  'BankHeist': (14.2, 753.1),
  'BattleZone': (2360.0, 37187.5),
  'BeamRider': (363.9, 16926.5),
  'Boxing': (0.1, 12.1),
  'Breakout': (1.7, 30.5),
  'Centipede': (2090.9, 12017.0),
  'ChopperCommand': (811.0, 7387.8),
  'CrazyClimber': (10780.5, 35829.4),
  'DemonAttack': (152.1, 1971.0),
  'DoubleDunk': (-18.6, -16.4),
  'Enduro': (0.0, 860.5),
  'FishingDerby': (-91.7, -38.7),
  'Freeway': (0.0, 29.6),
  'Frostbite': (65.2, 4334.7),
  'Gopher': (257.6, 2412.5),
  'Gravitar': (173.0, 3351.4),
  'Hero': (1027.0, 30826.4),
  'IceHockey': (-11.2, 0.9),
  'Jamesbond': (29.0, 302.8),
  'Kangaroo': (52.0, 3035.0),
  'Krull': (1598.0, 2665.5),
  'KungFuMaster': (258.5, 22736.3),
  'MsPacman': (307.3, 6951.6),
  'NameThisGame': (2292.3, 8049.0),
  'Phoenix': (761.4, 7242.6),
  'Pong': (-20.7, 14.6),
  'Qbert': (163.9, 13455.0),
  'Riverraid': (1338.5, 17118.0),
  'RoadRunner': (11.5, 7845.0),
  'Robotank': (2.2, 11.9),
  'Seaquest': (68.4, 42054.7),
  'SpaceInvaders': (148.0, 1668.7),
  'StarGunner': (664.0, 10250.0),
  'TimePilot': (3568.0, 5229.2),
  'UpNDown': (533.4, 11693.2),
  'VideoPinball': (16256.9, 17667.9),
  'WizardOfWor': (563.5, 4756.5),
  'YarsRevenge': (3092.9, 54576.9),
  'Zaxxon': (32.5, 9173.3),
}

# Table 4 of Venuto et al. (2023), Appendix C: CQL on 10,000 labelled frames after 100
# iterations, how many updates each it does not say. Protocol and number of episodes
# are not stated either: read it beside a score of ours, not against it.
_PAPER_CQL = {
  'Asterix': 227.5,
  'Breakout': 12.3,
  'Freeway': 10.2,
  'Seaquest': 236.0,
  'SpaceInvaders': 250.9,
}


def success_share(scores: Sequence[EpisodeScore], within: int) -> float:
  """Share of episodes that reached a positive return within so many steps.

  The paper's maze score (figure 5b) with a limit: its 500 steps do not tell a
  policy from a random walk, 50 do.
  """
  return sum(s.raw_return > 0 and s.num_steps <= within for s in scores) / len(scores)


def human_normalised(game: str, score: float) -> float | None:
  """A raw Atari score where random play is 0 and a human 1; None if neither is known.

  The two were measured over longer episodes, with NOOPs at the start, than policies
  are scored over here (section 5.1): read it as a scale.
  """
  if game not in _RANDOM_AND_HUMAN:
    return None
  random, human = _RANDOM_AND_HUMAN[game]
  return (score - random) / (human - random)


def reference_returns(game: str) -> dict[str, float]:
  """Published mean returns of random play and of a human, {} where there are none."""
  if game not in _RANDOM_AND_HUMAN:
    return {}
  return dict(zip(('random', 'human'), _RANDOM_AND_HUMAN[game], strict=True))


def paper_cql(game: str | None) -> float | None:
  """The paper's score of CQL in a game (Table 4), None where it has none."""
  return _PAPER_CQL.get(game)


def returns_summary(scores: Sequence[EpisodeScore]) -> dict[str, float]:
  """Mean, spread and length of raw returns over episodes.

  Returns:
    `mean`, `std` (over episodes, divided by their number), `min`, `max`, `steps`
    (mean agent steps).
  """
  raw = np.array([score.raw_return for score in scores])
  return {
    'mean': float(raw.mean()),
    'std': float(raw.std()),
    'min': float(raw.min()),
    'max': float(raw.max()),
    'steps': float(np.mean([score.num_steps for score in scores])),
  }
