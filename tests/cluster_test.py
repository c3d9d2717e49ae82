"""What processes compare before they train, and what a folder may be."""

import numpy as np
import pytest

from alpt_jax.errors import UserError
from alpt_jax.experiment import cli, cluster
from alpt_jax.experiment.identity import circumstances


@pytest.fixture
def agree(monkeypatch):
  """Calls `check_agreed` as process 1 of two, of which 0 was given other facts."""
  monkeypatch.setattr(cluster.jax, 'process_count', lambda: 2)
  monkeypatch.setattr(cluster.jax, 'process_index', lambda: 1)

  def gathered(function):
    monkeypatch.setattr(cluster.multihost_utils, 'process_allgather', function)

  def check(lead, own):
    sent = []
    gathered(lambda mine: sent.append(mine) or mine[None])
    cluster.check_agreed(**lead)
    gathered(lambda mine: np.stack([sent[0], mine]))
    cluster.check_agreed(**own)

  return check


def test_processes_that_were_given_the_same_agree(agree):
  facts = {'data': 'a', 'labels': 'b', **circumstances()}
  agree(facts, dict(facts))


@pytest.mark.parametrize('name', ['data', 'labels', 'versions', 'git_commit', 'device'])
def test_what_differs_between_processes_is_named(agree, name):
  lead = {'data': 'a', 'labels': 'b', **circumstances()}
  with pytest.raises(UserError, match=rf'^{name}: processes \[1\] have another than'):
    agree(lead, {**lead, name: 'another'})


def test_a_folder_is_neither_an_address_nor_a_file(tmp_path):
  (tmp_path / 'notes').write_text('x')
  assert cli.folder('workdir', str(tmp_path / 'new' / 'run')) == tmp_path / 'new/run'
  with pytest.raises(UserError, match='--workdir: expected a folder, found gs://b/run'):
    cli.folder('workdir', 'gs://b/run')
  for place in ('notes', 'notes/run'):
    with pytest.raises(UserError, match='notes, which is a file'):
      cli.folder('workdir', str(tmp_path / place))
