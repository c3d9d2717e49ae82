"""The paper's Table 2 as data: which data trains which model in which phase.

Floor 2. Data has three parts: 'source' (D_d, fully labelled games), 'labelled'
(D_*^+, the target's few labelled transitions) and 'target' (D_*^+ and D_*^-, all
of the target's recorded play, nearly all of it without actions). A phase is
'pretrain', then 'finetune' (section 4.2), or 'joint', both at once (the mazes,
section 5.6); or 'sources', pretraining on those alone, so that one base serves
several targets and label draws (section 5.4), and several methods: whichever were
taught the same there. The target is only scored.
"""

import dataclasses
from collections.abc import Mapping

from alpt_jax.errors import UserError, did_you_mean

# The models of a run, by the names that its parameters go under.
IDM, POLICY = 'inverse_dynamics', 'decision_transformer'


@dataclasses.dataclass(frozen=True)
class Use:
  """What one part of the data trains.

  Attributes:
    idm: the inverse dynamics model, wherever an action is recorded.
    policy: the decision transformer: returns, rewards, and recorded actions.
    relabel: the IDM's guesses stand in for missing actions, so the decision
      transformer learns those too.
  """

  idm: bool
  policy: bool
  relabel: bool = False


@dataclasses.dataclass(frozen=True)
class Method:
  """One row of Table 2.

  Attributes:
    all_labelled: the target's actions are not hidden (the oracle, ours).
    phases: phase -> part of the data -> what it trains.
    inherits: the models that its finetuning takes over from a pretraining run;
      the others start afresh.
    sees_returns: the decision transformer is told a return and learns to predict
      it; False is behaviour cloning.
    is_q_learning: a Q-network stands in the decision transformer's place, and learns
      from labelled transitions alone (`baselines/cql.py`).
  """

  all_labelled: bool
  phases: Mapping[str, Mapping[str, Use]]
  inherits: tuple[str, ...] = ()
  sees_returns: bool = True
  is_q_learning: bool = False

  @property
  def has_idm(self) -> bool:
    """Whether an IDM exists in any of its phases."""
    uses = [use for parts in self.phases.values() for use in parts.values()]
    return any(use.idm for use in uses)

  @property
  def is_pretrained(self) -> bool:
    """Whether its finetuning starts from a pretraining run."""
    return bool(self.inherits)


# The recorded actions train both models; everything recorded trains the policy.
_RECORDED = Use(idm=True, policy=True)
_RELABELLED = Use(idm=False, policy=True, relabel=True)
_IDM_ALONE = Use(idm=True, policy=False)
_POLICY_ALONE = Use(idm=False, policy=True)
_TARGET_WITH_IDM = {'labelled': _RECORDED, 'target': _RELABELLED}
_TARGET_LABELS_ONLY = {'labelled': _POLICY_ALONE}
# Returns from all of the target, actions only where they are recorded: a missing
# one is an unknown token and no target.
_TARGET_RETURNS = {'labelled': _POLICY_ALONE, 'target': _POLICY_ALONE}

METHODS: dict[str, Method] = {
  'dt1': Method(
    all_labelled=False,
    phases={'joint': _TARGET_LABELS_ONLY, 'finetune': _TARGET_LABELS_ONLY},
  ),
  'dt1-idm': Method(
    all_labelled=False,
    phases={'joint': _TARGET_WITH_IDM, 'finetune': _TARGET_WITH_IDM},
  ),
  'dt5': Method(
    all_labelled=False,
    phases={
      'sources': {'source': _POLICY_ALONE},
      'pretrain': {'source': _POLICY_ALONE, **_TARGET_LABELS_ONLY},
      'joint': {'source': _POLICY_ALONE, **_TARGET_LABELS_ONLY},
      'finetune': _TARGET_LABELS_ONLY,
    },
    inherits=(POLICY,),
  ),
  # Table 2 lists one training game. The text of section 5.2, which is followed here,
  # has it pretrained "on all available data".
  'dt5-ret': Method(
    all_labelled=False,
    phases={
      'sources': {'source': _POLICY_ALONE},
      'pretrain': {'source': _POLICY_ALONE, **_TARGET_RETURNS},
      'joint': {'source': _POLICY_ALONE, **_TARGET_RETURNS},
      'finetune': _TARGET_RETURNS,
    },
    inherits=(POLICY,),
  ),
  'alpt': Method(
    all_labelled=False,
    phases={
      'sources': {'source': _RECORDED},
      'pretrain': {'source': _RECORDED, **_TARGET_WITH_IDM},
      'joint': {'source': _RECORDED, **_TARGET_WITH_IDM},
      'finetune': _TARGET_WITH_IDM,
    },
    inherits=(IDM, POLICY),
  ),
  # Appendix A. No phase 'joint': there the DT would have to start behind the IDM.
  'alpt-idm': Method(
    all_labelled=False,
    phases={
      'sources': {'source': _IDM_ALONE},
      'pretrain': {'source': _IDM_ALONE, 'labelled': _IDM_ALONE},
      'finetune': _TARGET_WITH_IDM,
    },
    inherits=(IDM,),
  ),
  # Behaviour cloning on the labels (ours): DT1 that knows nothing of returns.
  'bc': Method(
    all_labelled=False,
    phases={'joint': _TARGET_LABELS_ONLY, 'finetune': _TARGET_LABELS_ONLY},
    sees_returns=False,
  ),
  # Appendix C: offline Q-learning on the labels.
  'cql': Method(
    all_labelled=False,
    phases={'joint': _TARGET_LABELS_ONLY, 'finetune': _TARGET_LABELS_ONLY},
    sees_returns=False,
    is_q_learning=True,
  ),
  'oracle': Method(
    all_labelled=True,
    phases={
      'joint': {'target': _RECORDED},
      'finetune': {'target': _RECORDED},
    },
  ),
}


def get(name: str) -> Method:
  """The method of that name, or `UserError` with the known ones."""
  if name not in METHODS:
    raise UserError(f"method '{name}' is not known{did_you_mean(name, METHODS)}.")
  return METHODS[name]


def parts(name: str, phase: str) -> Mapping[str, Use]:
  """What each part of the data trains in one phase of a method."""
  phases = get(name).phases
  if phase not in phases:
    raise UserError(
      f"method '{name}' has no phase '{phase}': expected one of {', '.join(phases)}."
    )
  return phases[phase]


def taught(name: str, phase: str, model: str) -> dict[str, str]:
  """What one phase of a method teaches a model (`IDM` or `POLICY`).

  Two methods that teach a model the same are served by one pretraining run.

  Returns:
    Part of the data -> which of its actions: 'recorded', or 'relabelled' where the
    IDM's guesses stand in for the missing ones. {} where the model does not exist.
  """
  return {
    part: 'relabelled' if use.relabel else 'recorded'
    for part, use in parts(name, phase).items()
    if (use.idm if model == IDM else use.policy)
  }
