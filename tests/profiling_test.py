"""Profiles of toy steps, read back: which steps are in them."""

import jax
import jax.numpy as jnp
import pytest

from alpt_jax.errors import UserError
from alpt_jax.training.profiling import ProfiledSteps, Profiler, parse


@pytest.mark.parametrize(
  ('text', 'expected'), [('', None), ('100:5', (100, 5)), ('1:1', (1, 1))]
)
def test_a_window_is_its_first_step_and_how_many(text, expected):
  assert parse(text) == expected


@pytest.mark.parametrize(
  'text', ['100', '100:', ':5', 'a:5', '0:5', '100:0', '-1:5', '1:2:3', '100:5 ']
)
def test_another_text_is_refused(text):
  with pytest.raises(UserError, match='--profile: expected FIRST:COUNT') as raised:
    parse(text)
  assert str(raised.value).endswith(f"found '{text}'.")


@jax.jit
def toy_step(state):
  return state + 1, {'loss': state}


def run(profiler, first, last):
  """A loop over steps `first` to `last`."""
  state = jnp.zeros(())
  with profiler:
    for step in range(first, last + 1):
      profiler.begin(step, state)
      state, metrics = toy_step(state)
      profiler.end(metrics)


def profiled(path):
  """The steps that a profile shows."""
  data = jax.profiler.ProfileData.from_file(str(path))
  events = [
    event for plane in data.planes for line in plane.lines for event in line.events
  ]
  return sorted(
    value
    for event in events
    if event.name == 'train'
    for name, value in event.stats
    if name == 'step_num'
  )


def session(workdir, first):
  return workdir / 'profile' / 'plugins' / 'profile' / f'step_{first}'


def only_profile(workdir, first):
  (path,) = session(workdir, first).glob('*.xplane.pb')
  return profiled(path)


def test_the_profile_holds_the_steps_that_were_asked_for(tmp_path, capsys):
  run(Profiler(ProfiledSteps(3, 2), tmp_path), 1, 6)
  assert only_profile(tmp_path, 3) == [3, 4]
  said = capsys.readouterr().out
  assert said.startswith(f'profile: steps 3 to 4 lie in {tmp_path / "profile"}. ')
  assert f'xprof --logdir={tmp_path / "profile"}' in said
  # Something to drop on ui.perfetto.dev, and nothing left over.
  assert list(session(tmp_path, 3).glob('*-0.trace.json.gz'))
  assert [path.name for path in (tmp_path / 'profile').iterdir()] == ['plugins']


def test_a_run_that_goes_on_behind_the_window_profiles_nothing(tmp_path, capsys):
  run(Profiler(ProfiledSteps(3, 2), tmp_path), 5, 6)
  assert not list(tmp_path.iterdir())
  assert capsys.readouterr().out == ''


def test_a_run_that_goes_on_inside_the_window_profiles_the_rest(tmp_path):
  run(Profiler(ProfiledSteps(3, 3), tmp_path), 4, 9)
  assert only_profile(tmp_path, 4) == [4, 5]


def test_a_run_that_ends_inside_the_window_keeps_what_there_is(tmp_path, capsys):
  run(Profiler(ProfiledSteps(3, 100), tmp_path), 1, 4)
  assert only_profile(tmp_path, 3) == [3, 4]
  assert 'steps 3 to 4' in capsys.readouterr().out


def test_a_step_that_fails_inside_the_window_leaves_the_profiler_free(tmp_path):
  with pytest.raises(KeyboardInterrupt), Profiler(ProfiledSteps(1, 9), tmp_path) as p:
    p.begin(1, None)
    raise KeyboardInterrupt
  run(Profiler(ProfiledSteps(7, 1), tmp_path), 7, 7)
  assert only_profile(tmp_path, 7) == [7]


def test_without_a_window_nothing_is_profiled(tmp_path):
  run(Profiler(None, tmp_path), 1, 3)
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_processes_of_one_host_write_beside_each_other(tmp_path, monkeypatch, capsys):
  for process in (1, 0):
    monkeypatch.setattr(jax, 'process_index', lambda number=process: number)
    run(Profiler(ProfiledSteps(2, 1 + process), tmp_path), 1, 4)
  paths = sorted(session(tmp_path, 2).glob('*.xplane.pb'))
  ends = [path.name.removesuffix('.xplane.pb').rpartition('-')[2] for path in paths]
  assert ends == ['0', '1']
  assert [profiled(path) for path in paths] == [[2], [2, 3]]
  # Said once, by the first.
  assert capsys.readouterr().out.count('profile:') == 1


def test_a_profiler_that_is_on_already_does_not_end_the_run(tmp_path, capsys):
  with jax.profiler.trace(str(tmp_path / 'other')):
    run(Profiler(ProfiledSteps(1, 2), tmp_path), 1, 3)
  assert 'profile: could not start' in capsys.readouterr().out
  assert not (tmp_path / 'profile').exists()


def test_a_profile_that_cannot_be_written_does_not_end_the_run(
  tmp_path, monkeypatch, capsys
):
  really_stop = jax.profiler.stop_trace

  def stop():
    really_stop()
    raise RuntimeError('INTERNAL: No space left on device\nat some line')

  monkeypatch.setattr(jax.profiler, 'stop_trace', stop)
  run(Profiler(ProfiledSteps(1, 2), tmp_path), 1, 3)
  assert capsys.readouterr().out == (
    'profile: could not be written (INTERNAL: No space left on device). '
    'Training goes on.\n'
  )
