"""A dataset folder of episodes that others recorded, like those of `bin/record`."""

import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from alpt_jax.data.card import make_card, write_card
from alpt_jax.data.pool import Pool
from alpt_jax.errors import UserError
from alpt_jax.experiment.conversion import FORMS, reported
from alpt_jax.experiment.pictures import save_best_episode
from alpt_jax.experiment.recording import write_rlds
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode


def write_dataset(
  folder: pathlib.Path,
  form: str,
  spec: EnvironmentSpec,
  episodes: Iterable[Episode],
  *,
  source: str,
  remarks: Sequence[str] = (),
  rlds: bool = True,
  say: Callable[[str], Any] = print,
) -> Pool:
  """Writes episodes, checked one by one, with a card and, of images, a picture.

  Args:
    folder: one that takes its name when all went well (`data.pool.whole_folder`).
    form: one of `conversion.FORMS`; the store's name in the folder.
    spec: of the environment.
    episodes: in order, one in memory at a time.
    source: where they come from, for the card.
    remarks: what a reader must know of them, first of the card's warnings.
    rlds: also write RLDS files, with a whole episode in memory.
    say: receives what is being done.

  Raises:
    UserError: as `write_pool`.
  """
  pool = FORMS[form](folder / form, spec, episodes, replace=False)
  if rlds:
    say(f'{spec.name}: writing {pool.num_transitions:,} steps as RLDS.')
    write_rlds(
      folder,
      pool,
      {'environment': spec.name},
      lambda episodes: reported(episodes, pool.num_transitions, say),
    )
  write_card(folder, make_card(pool, None, source, remarks=remarks))
  if spec.observation.kind == 'image':
    save_best_episode(folder / 'picture.png', pool)
  return pool


def check_rlds_can_be_written() -> None:
  """Asks for TensorFlow before the work begins.

  Raises:
    UserError: it is not installed.
  """
  try:
    from alpt_jax.data import rlds  # noqa: F401
  except UserError as error:
    raise UserError(f'{error} Or write no RLDS: --norlds.') from error
