"""What is said of a flag that is wrong: its name, what was expected, what was found."""

import pathlib
import sys

import jax
import pytest
from absl import flags
from ml_collections import config_flags

from alpt_jax.errors import Incomplete
from alpt_jax.experiment import cli

MAZE = pathlib.Path(__file__).parents[1] / 'configs' / 'maze.py'


@pytest.fixture
def message(monkeypatch):
  """`(*words of the command line) -> what is said`."""
  return lambda *words: said_of(['program', *words], monkeypatch)


def said_of(argv, monkeypatch):
  monkeypatch.setattr(sys, 'argv', argv)  # where ml_collections looks by itself
  monkeypatch.delitem(sys.modules, 'config_config', raising=False)  # the file before
  known = flags.FlagValues()
  config_flags.DEFINE_config_file('config', None, flag_values=known)
  flags.mark_flag_as_required('config', flag_values=known)
  flags.DEFINE_integer('process_id', None, '', flag_values=known)
  with pytest.raises(cli._WRONG_FLAGS) as caught:
    known(argv)
  said = cli._last_words(caught.value)
  assert '\n' not in said
  return said


@pytest.mark.parametrize(
  'word, expected',
  [
    (
      '--config.training.batch_size=three',
      "--config.training.batch_size=three: expected a whole number, found 'three'",
    ),
    ('--config.training.batch_size=2.5', "expected a whole number, found '2.5'"),
    ('--config.model.dropout=no', "dropout=no: expected a number, found 'no'"),
    ('--config.model.scan_layers=maybe', "expected a bool, found 'maybe'"),
    ('--process_id=a', "--process_id=a: expected a whole number, found 'a'"),
    ('--config.nothing=1', "--config: no field 'nothing'"),
    ('--config.model.widht=1', """no field 'widht' Did you mean "width" instead"""),
    ('--prcess_id=1', "Unknown command line flag 'prcess_id'. Did you mean"),
  ],
)
def test_a_wrong_value_or_name_is_told_in_plain_words(message, word, expected):
  assert expected in message(f'--config={MAZE}', word)


def test_a_flag_that_is_needed_is_named(message):
  assert message() == '--config: expected a value. See --help.'


def test_a_file_that_is_no_config_is_named(message, tmp_path):
  path = tmp_path / 'notes.py'
  path.write_text('x = 1\nthe second line\n')
  expected = f'--config: {path}, line 2: no Python (invalid syntax).'
  assert message(f'--config={path}', '--config.x=1') == expected
  path.write_text('x = 1\n')
  expected = '--config: expected a file with a function get_config, found none there.'
  assert message(f'--config={path}', '--config.x=1') == expected


def test_what_was_done_but_for_inputs_left_out_has_an_exit_code_of_its_own(capsys):
  def main(argv):
    del argv
    raise Incomplete('clips: 2 of 12 recordings were left out; see above.')

  assert cli._guarded(main, []) == 3
  assert capsys.readouterr().err == (
    'partly: clips: 2 of 12 recordings were left out; see above.\n'
  )


@pytest.mark.parametrize(
  ('path', 'reason'), [('x' * 300, 'File name too long'), ('file/x', 'Not a directory')]
)
def test_a_path_that_cannot_be_is_named_without_a_traceback(
  tmp_path, capsys, path, reason
):
  (tmp_path / 'file').touch()
  place = tmp_path / path

  assert cli._guarded(lambda _: place.write_text(''), []) == 2
  said = capsys.readouterr().err
  assert said == f'error: {place}: {reason}. Choose another path.\n'


@pytest.mark.parametrize(
  ('said', 'is_known'),
  [
    # What one of two processes said whose other one was killed.
    (
      'UNKNOWN: Gloo all-reduce failed: [pair.cc:538] Read error [127.0.0.1]:32158: '
      'Connection reset by peer',
      True,
    ),
    ('INTERNAL: something else', False),
  ],
)
def test_a_process_that_is_left_alone_says_so_in_a_line(
  monkeypatch, capsys, said, is_known
):
  def main(argv):
    raise jax.errors.JaxRuntimeError(said)

  monkeypatch.setattr(cli, '_has_peers', lambda: True)
  assert cli._guarded(main, []) == 134
  found = capsys.readouterr().err
  assert said in found
  assert found.startswith('lost: another process' if is_known else 'Traceback')
  assert (found.count('\n') == 1) == is_known
