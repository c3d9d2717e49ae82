"""From a run and a dataset to a card, as bin/label does it."""

import json

import numpy as np
import pytest
import tiny_label_run

from alpt_jax.data.pool import open_pool
from alpt_jax.experiment import label_run
from alpt_jax.experiment.label_run import LabelChoice
from alpt_jax.labelling.labeller import LabellingConfig


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """A dataset of 30 episodes, 24 of them labelled, and a run on it."""
  folder = tmp_path_factory.mktemp('card')
  pool = tiny_label_run.write_dataset(folder / 'data', (40,) * 30, known=24)
  tiny_label_run.write_run(folder / 'run', pool, tiny_label_run.draw(pool))
  return folder


def label(root, out, **changes):
  lines = []
  config = LabellingConfig('once', 16)
  choice = LabelChoice(
    root / 'run', root / 'data', root / out, config=config, **changes
  )
  label_run.label_dataset(choice, lines.append)
  return lines, json.loads((root / out / 'label_card.json').read_text())


def test_a_labelling_ends_with_its_card(root):
  lines, card = label(root, 'out', rlds=False)
  pool = open_pool(root / 'data')
  counts = card['counts']
  assert counts['transitions'] == pool.num_transitions
  assert counts['recorded'] == int(pool.is_labelled.sum())
  assert counts['guessed'] == pool.num_transitions - counts['recorded']
  assert card['accuracy']['audit']['num'] == counts['audit'] > 0
  assert np.sum(card['confusion']) == counts['audit']
  # Whole recordings are audited, so the model has learnt from none of them.
  assert not card['units']['are_learnt_from']
  for sentence in card['verdict']:
    assert sentence in lines
  assert f'{root / "out" / "label_card.html"}' in lines[-1]


@pytest.mark.slow
def test_the_same_command_makes_the_card_anew_without_labelling(root):
  label(root, 'again', rlds=False)
  files = ('label_card.json', 'label_card.html')
  before = [(root / 'again' / name).read_bytes() for name in files]
  for name in files:
    (root / 'again' / name).unlink()
  lines, _ = label(root, 'again', rlds=False)
  assert any(line.startswith('0 of ') for line in lines)
  assert [(root / 'again' / name).read_bytes() for name in files] == before


@pytest.mark.slow
def test_no_guess_is_kept_that_is_not_sure_enough(root):
  # A confidence of four actions that is above .999999 is no untrained model's.
  _, card = label(root, 'sure', rlds=False, min_confidence=0.999999)
  assert card['counts']['guessed'] == 0
  assert 'no action was added' in card['verdict'][0]
