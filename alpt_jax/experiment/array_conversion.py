"""Arrays into a dataset: an .npz of them, or a Minari dataset."""

import pathlib

from alpt_jax import specs
from alpt_jax.data.arrays import ArrayChoice, ReadArrays, read_npz
from alpt_jax.data.pool import whole_folder
from alpt_jax.errors import UserError
from alpt_jax.experiment import conversion
from alpt_jax.experiment.conversion import Say
from alpt_jax.experiment.dataset_folder import check_rlds_can_be_written, write_dataset
from alpt_jax.experiment.video_choice import ATARI, VideoChoice, settled
from alpt_jax.experiment.video_plan import patch_notes
from alpt_jax.specs import Protocol

MINARI = 'minari:'


def convert_arrays(
  data: str,
  out: pathlib.Path,
  form: str = 'packed',
  choice: VideoChoice | None = None,
  say: Say = print,
  command: str = '',
) -> None:
  """Converts arrays into a dataset; one episode is in memory at a time.

  Args:
    data: path of an .npz file (`data/arrays.py` says of what), or `minari:` before the
      id or the folder of a Minari dataset.
    out: must not exist.
    form: one of `conversion.FORMS`.
    choice: what arrays do not say: environment, actions, return range, RLDS, and how
      they were recorded (frame skip, max-pool, fps, cap). The rest is not looked at.
    say: receives what is being done, and what was kept.
    command: that which was typed, for the card.

  Raises:
    UserError: a field is missing or does not fit.
    RunFailed: the disk is full.
  """
  if out.exists():
    raise UserError(f'{out}: exists. Remove it, or convert into another folder.')
  choice = settled(choice or VideoChoice())
  if choice.rlds:
    check_rlds_can_be_written()
  read = _read(data, choice)
  remarks = [*read.remarks, *patch_notes(read.spec)]
  for line in remarks:
    say(line)
  try:
    with whole_folder(out, replace=False) as partial:
      pool = write_dataset(
        partial,
        form,
        read.spec,
        read.episodes,
        source=command,
        remarks=remarks,
        rlds=choice.rlds,
        say=say,
      )
  except OSError as error:
    raise conversion.not_written(data, out, error) from error
  num_known = int(pool.is_labelled.sum())
  say(
    f'{pool.spec.name}: {pool.num_episodes:,} episodes, {pool.num_transitions:,} '
    f'steps; actions known of {num_known:,} ({num_known / pool.num_transitions:.1%}): '
    f'{", ".join(pool.spec.action_names)}'
  )
  say(f'{out}: written.')


def _read(data: str, choice: VideoChoice) -> ReadArrays:
  is_atari = choice.environment.startswith(ATARI)
  protocol = Protocol(
    choice.max_episode_steps,
    frame_skip=choice.frame_skip,
    max_pool=choice.max_pool,
    resize='area' if is_atari else '',
    frame_rate=choice.fps,
  )
  told = ArrayChoice(choice.environment, choice.actions, choice.return_range, protocol)
  if data.startswith(MINARI):
    from alpt_jax.data.minari_sets import read_minari  # may be missing its package

    read = read_minari(data.removeprefix(MINARI), told)
  else:
    read = read_npz(data, told)
  if is_atari:
    game = choice.environment.removeprefix(ATARI)
    expected = specs.atari_spec(game, protocol).observation
    if read.spec.observation != expected:
      raise UserError(
        f'{data}: expected observations {expected.dtype} {list(expected.shape)}, as '
        f'{choice.environment} has, found {read.spec.observation.dtype} '
        f'{list(read.spec.observation.shape)}. Name it own/... instead.'
      )
  return read
