"""Recorded episodes out of one kind of store and into another."""

import dataclasses
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from alpt_jax.data.manifest import Manifest
from alpt_jax.data.packed import open_recorded, write_packed
from alpt_jax.data.pool import Pool, write_pool
from alpt_jax.data.shards import recorded_runs
from alpt_jax.errors import RunFailed, UserError
from alpt_jax.experiment import datasets
from alpt_jax.pace import Pace
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

FORMS = {'packed': write_packed, 'pool': write_pool}

# Beside the episodes in a dataset folder: what was found out about them.
_BESIDE = (
  'card.json',
  'card.md',
  'picture.png',
  'recording.json',
  'conversion.json',
)
# No space, over quota, too large.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Say = Callable[[str], Any]


@dataclasses.dataclass(frozen=True)
class ShardChoice:
  """Which files of RL Unplugged are read, and how; as `data.*` of a run's config.

  Attributes:
    runs: of the recorded runs; () for all that are there.
    checkpoints: which shards of each; () for all.
    reward_lead: how many steps early rewards are recorded; -1: as detected.
    skip_bad_shards: leave damaged ones out, named.
  """

  runs: tuple[int, ...] = ()
  checkpoints: tuple[int, ...] = ()
  reward_lead: int = 0
  skip_bad_shards: bool = False


@dataclasses.dataclass(frozen=True)
class Source:
  """Episodes to be converted.

  Attributes:
    spec: the environment they come from.
    episodes: in order, read once.
    num_bytes: that they take on disk.
    num_transitions: of all; None where only reading tells.
    manifest_hash: where it is known before.
    rewards: what became of them on the way.
    guesses: as `Pool.guesses`.
  """

  spec: EnvironmentSpec
  episodes: Iterable[Episode]
  num_bytes: int
  num_transitions: int | None = None
  manifest_hash: str = ''
  rewards: str = 'as they are in the dataset that was read'
  guesses: float | None = None


def convert(
  data: str,
  out: pathlib.Path,
  form: str = 'packed',
  choice: ShardChoice | None = None,
  say: Say = print,
  *,
  guesses: float | None = None,
) -> Pool:
  """Writes the episodes of a dataset anew, in their order; all of them or nothing.

  What is half written when it is interrupted is removed, and it begins anew.

  Args:
    data: folder of a dataset of any kind that the project reads.
    out: must not exist, now or at the end; there the same set may, as another process
      may have been faster.
    form: one of `FORMS`.
    choice: of the files of RL Unplugged; all of them by default.
    say: receives lines about progress, and the sizes at the end.
    guesses: as in `open_source`.

  Raises:
    UserError: `out` exists or cannot be made, or `data` cannot be read (as
      `datasets.open_set`).
    RunFailed: the disk is full, or the dataset's fails.
  """
  if out.exists():
    raise UserError(f'{out}: exists. Remove it, or convert into another folder.')
  with tempfile.TemporaryDirectory() as cache:
    choice = choice or ShardChoice()
    source = open_source(data, choice, pathlib.Path(cache), say, guesses=guesses)
    episodes = _reported(_read(data, source), say)
    try:
      pool = FORMS[form](
        out, source.spec, episodes, replace=False, guesses=source.guesses
      )
    except OSError as error:
      raise not_written(data, out, error) from error
  now, plain = folder_bytes(out), pool.observations.dtype.itemsize
  for length in pool.observations.shape:
    plain *= length
  if pool.manifest_hash == source.manifest_hash:
    _copy_beside(pathlib.Path(data), out, say)
  elif source.manifest_hash:
    say(
      f'{data}: content {source.manifest_hash}, but {pool.manifest_hash} when written '
      'anew, as its manifest.json or its observations were changed. Labels drawn from '
      'it are others, and its card is not copied.'
    )
  say(
    f'{out}: {pool.num_episodes:,} episodes, {pool.num_transitions:,} transitions of '
    f'{pool.spec.name}, content {pool.manifest_hash}.'
  )
  say(f'Rewards are written {source.rewards}.')
  say(
    f'{source.num_bytes / 1e6:,.2f} MB before, {now / 1e6:,.2f} MB now '
    f'({now / source.num_bytes:.1%}); observations uncompressed {plain / 1e6:,.2f} MB.'
  )
  return pool


def _read(data: str, source: Source) -> Source:
  """The source, where a disk that fails in reading is not taken for `out`'s."""

  def episodes():
    try:
      yield from source.episodes
    except OSError as error:
      raise RunFailed(
        f'{data}: could not be read ({error}). Look after the disk, then run the same '
        'command again.'
      ) from error

  return dataclasses.replace(source, episodes=episodes())


def not_written(data: str, out: pathlib.Path, error: OSError) -> Exception:
  """What to raise where the disk did not let a conversion come to its end."""
  text = f'{data}: could not be written to {out} ({error}). '
  if error.errno in _NO_ROOM:
    return RunFailed(text + 'Free some disk space and run the same command again.')
  return UserError(text + 'Choose another folder.')


def open_source(
  data: str,
  choice: ShardChoice,
  cache: pathlib.Path,
  say: Say = print,
  *,
  guesses: float | None = None,
) -> Source:
  """The episodes of a dataset of any kind; nothing is written beside it.

  Args:
    data: its folder.
    choice: of the files of RL Unplugged.
    cache: a writable folder, needed as long as the episodes are read.
    say: receives what scanning says.
    guesses: of RLDS files, which are then read even where a pool lies beside them: the
      confidence from which on a model's guess is written as if it were recorded.

  Raises:
    UserError: it is no dataset, or damaged; episodes are checked when they are read.
  """
  if datasets.holds_shards(data):
    return _of_shards(data, choice, cache, say)
  if choice != ShardChoice():
    raise UserError(
      f'{data}: expected files of RL Unplugged, of which runs, checkpoints and '
      'reward_lead are chosen, found none. Leave these away.'
    )
  folder = pathlib.Path(data)
  store = datasets.recorded_store(folder) if guesses is None else None
  if store:
    pool = open_recorded(store)
    return Source(
      spec=pool.spec,
      episodes=map(pool.episode, range(pool.num_episodes)),
      num_bytes=folder_bytes(store),
      num_transitions=pool.num_transitions,
      manifest_hash=pool.manifest_hash,
      guesses=pool.guesses,
    )
  datasets.check_may_be_rlds(folder)
  from alpt_jax.data import rlds  # which imports TensorFlow

  if guesses is not None:
    say(
      f'Guesses of a confidence of {guesses:g} or more count as recorded from here on: '
      'what is written says so, but not of which actions.'
    )
  episodes = rlds.read(folder, guesses=guesses)
  spec, num_bytes = rlds.validate(folder), folder_bytes(folder)
  return Source(spec, episodes, num_bytes, guesses=guesses)


def _of_shards(data: str, choice: ShardChoice, cache: pathlib.Path, say: Say) -> Source:
  from alpt_jax.data import rl_unplugged  # which imports TensorFlow
  from alpt_jax.data.quiet_tensorflow import give_back

  runs = choice.runs or recorded_runs(pathlib.Path(data))
  if not runs:
    raise UserError(
      f'{data}: expected the numbers of runs, as only local folders are looked at. '
      'Name them: --runs=1,2.'
    )
  root, _, game = data.rstrip('/').rpartition('/')
  root = root or '.'
  manifest = rl_unplugged.scan(
    root,
    game,
    cache,
    runs=runs,
    checkpoints=choice.checkpoints or None,
    reward_lead=None if choice.reward_lead < 0 else choice.reward_lead,
    skip_bad=choice.skip_bad_shards,
    say=say,
  )

  def episodes() -> Iterator[Episode]:
    for index, episode in rl_unplugged.read_episodes(manifest, root):
      frames = rl_unplugged.decode(episode.frames, f'{root}/{manifest.place(index)}')
      yield Episode(frames, *episode[1:])
      give_back()

  return Source(
    spec=manifest.spec,
    episodes=episodes(),
    num_bytes=int(manifest.sizes.sum()),
    num_transitions=manifest.num_transitions,
    rewards=_rewards(manifest),
  )


def _rewards(manifest: Manifest) -> str:
  """What reading does to the rewards of shards."""
  lead, detected = manifest.reward_lead, manifest.detected_lead
  done = f'moved, {lead} step later than they were recorded' if lead else 'as recorded'
  if detected in (None, lead):
    return done
  return f'{done}, though the screens say that they were recorded {detected} step early'


def _reported(source: Source, say: Say) -> Iterator[Episode]:
  """Passes episodes on, and says how far it is."""
  yield from reported(source.episodes, source.num_transitions, say)
  say('All episodes are read; what was written is read once more for its hash.')


def reported(
  episodes: Iterable[Episode], total: int | None, say: Say
) -> Iterator[Episode]:
  """Passes episodes on, and says now and then how far it is.

  Args:
    episodes: in order.
    total: transitions of all; None where it is not known.
    say: receives a line every ten seconds at most.
  """
  pace, num_done = Pace(), 0
  for number, episode in enumerate(episodes, 1):
    num_done += len(episode.actions)
    yield episode
    if num_done != total and pace.is_due():
      rate = pace.rate(num_done)
      line = f'{number:,} episodes, {num_done:,} transitions, {rate:,.0f} a second'
      say(f'{line}, {pace.left(num_done, total)} left' if total else line)


def _copy_beside(data: pathlib.Path, out: pathlib.Path, say: Say) -> None:
  """The same content has the same card; the episodes are whole without it, too."""
  for name in _BESIDE:
    if not (data / name).is_file():
      continue
    try:
      shutil.copyfile(data / name, out / name)
    except OSError as error:
      (out / name).unlink(missing_ok=True)
      say(f'{data / name}: not copied to {out} ({error}).')


def folder_bytes(folder: str | os.PathLike) -> int:
  """Bytes of the files in a folder, without those of its subfolders."""
  files = filter(pathlib.Path.is_file, pathlib.Path(folder).iterdir())
  return sum(path.stat().st_size for path in files)
