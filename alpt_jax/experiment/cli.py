"""How every binary starts and ends: flags in, an exit code out."""

import contextlib
import errno
import logging
import os
import pathlib
import re
import signal
import sys
import traceback
from collections.abc import Callable

import jax
from absl import app, flags
from absl import logging as absl_logging

from alpt_jax.errors import Incomplete, PeerLost, Preempted, RunFailed, UserError

DONE, FAILED, USER_ERROR, INCOMPLETE, PREEMPTED = 0, 1, 2, 3, 42
# As a shell counts SIGINT, and SIGABRT, by which JAX ends a process that lost another.
_INTERRUPTED, _PEER_LOST = 130, 134
_OUT_OF_MEMORY = (
  'the devices have too little memory ({}). Raise execution.microbatches, set '
  'execution.remat, raise execution.fsdp where there are several devices, or lower '
  'training.batch_size.'
)
# What a collective says whose other end is gone.
_GONE = ('Connection reset by peer', 'Connection closed by peer', 'Socket closed')
_LOST = (
  'another process of this run has ended ({}). See what it said; the same command on '
  'all of them goes on.'
)
# No space, over quota, too large, unreadable, read-only, not allowed.
_DISK_ERRORS = {
  errno.ENOSPC,
  errno.EDQUOT,
  errno.EFBIG,
  errno.EIO,
  errno.EROFS,
  errno.EACCES,
}
# Of a path that was given.
_PATH_ERRORS = {errno.ENAMETOOLONG, errno.ENOTDIR}


# Seconds from one KeyboardInterrupt to the next, if nothing came of it.
_AGAIN = 0.5

# Raised by absl and ml_collections where a flag or a config file is wrong.
_WRONG_FLAGS = (
  UserError,
  flags.Error,
  ValueError,
  AttributeError,
  KeyError,
  SyntaxError,
)
# What absl quotes of Python -> what it means.
_PLAIN = {
  r'invalid literal for int\(\) with base 10: ': 'expected a whole number, found ',
  r'could not convert string to float: ': 'expected a number, found ',
  r"\('Non-boolean argument to boolean flag', (.*)\)$": r'expected a bool, found \1',
  r'^flag (--\w+)=None: .* other than None.$': r'\1: expected a value. See --help.',
}


def run(main: Callable[[list[str]], object]) -> None:
  """Parses the flags, runs `main(argv)`, and exits with a documented code.

  0 done; 1 failed while running; 2 what was given is wrong, do not retry; 3 done but
  for inputs that were left out, as was asked; 42 stopped after a clean save, start
  again; 128 and more: it crashed, or another process of the run did, start again.
  Errors of the user and of the machine are one line on stderr; anything else is a bug
  and keeps its traceback.
  """
  # JAX reports, at INFO, every kind of device that it did not find.
  logging.getLogger('jax').setLevel(logging.WARNING)
  signal.signal(signal.SIGINT, _interrupt)
  signal.signal(signal.SIGALRM, _interrupt_again)
  app.run(lambda argv: _leave(_guarded(main, argv)), flags_parser=_parse_flags)


def folder(flag: str, value: str) -> pathlib.Path:
  """The folder that a flag names, which must be one of a file system.

  Raises:
    UserError: it is an address, or a file, or lies in one.
  """
  if '://' in value:
    raise UserError(
      f'--{flag}: expected a folder, found {value}. Mount the bucket (Cloud Storage '
      'FUSE, docs/clusters.md) and give its folder.'
    )
  path = pathlib.Path(value)
  for place in (path, *path.parents):
    if place.exists() and not place.is_dir():
      raise UserError(f'--{flag}: expected a folder, found {place}, which is a file.')
  return path


def _leave(code: int) -> None:
  """Ends the process with an exit code."""
  is_heard = True
  for stream in (sys.stdout, sys.stderr):
    try:
      stream.flush()
    except OSError:  # a log on a full disk
      is_heard = False
  is_bad = code not in (DONE, INCOMPLETE, PREEMPTED)
  if not is_heard or (is_bad and _has_peers()):
    # Python would make 120 of the code of what could not be heard. And where others
    # are not at their end JAX would wait for them for minutes.
    os._exit(code)
  sys.exit(code)


def _interrupt(*_) -> None:
  """Raises KeyboardInterrupt, and by an alarm again where it was lost.

  Python drops what is raised in a callback of its garbage collector, as JAX has one,
  and extensions drop what is raised in theirs.
  """
  signal.setitimer(signal.ITIMER_REAL, _AGAIN)
  raise KeyboardInterrupt


def _interrupt_again(*_) -> None:
  error = sys.exc_info()[1]
  while error is not None:
    if isinstance(error, KeyboardInterrupt):
      break  # on its way out: what cleans up behind it must come to its end
    error = error.__context__
  else:
    _interrupt()
  signal.setitimer(signal.ITIMER_REAL, _AGAIN)


def _guarded(main, argv) -> int:
  if not flags.FLAGS['verbosity'].present:
    absl_logging.set_verbosity(absl_logging.WARNING)  # TFDS says much at INFO
  try:
    main(argv)
  except UserError as error:
    return _say('error', error, USER_ERROR)
  except RunFailed as error:
    return _say('failed', error, FAILED)
  except Incomplete as error:
    return _say('partly', error, INCOMPLETE)
  except Preempted as error:
    return _say('stopped', error, PREEMPTED)
  except PeerLost as error:
    return _say('lost', error, _PEER_LOST)
  except KeyboardInterrupt:
    signal.setitimer(signal.ITIMER_REAL, 0)
    return _say('stopped', 'at once, without a save', _INTERRUPTED)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' in str(error):
      return _say('failed', _OUT_OF_MEMORY.format(str(error).splitlines()[0]), FAILED)
    if not _has_peers():
      raise
    if any(words in str(error) for words in _GONE):
      return _say('lost', _LOST.format(str(error).splitlines()[0]), _PEER_LOST)
    # A collective that lost a peer, most often; what else it may be stands here.
    _print_traceback()
    return _PEER_LOST
  except Exception as error:
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
      return _say('failed', error, FAILED)
    if isinstance(error, OSError) and error.errno in _PATH_ERRORS:
      text = f'{error.filename}: {error.strerror}. Choose another path.'
      return _say('error', text, USER_ERROR)
    if not _has_peers():
      raise
    _print_traceback()  # and leave at once: the others wait for this process
    return FAILED
  return DONE


def _has_peers() -> bool:
  """Whether other processes wait for this one."""
  try:
    return jax.distributed.is_initialized() and jax.process_count() > 1
  except RuntimeError:  # it was on its way to them
    return True


def _parse_flags(argv: list[str]) -> list[str]:
  """absl's parsing, its errors and those of config files as one line, exit 2."""
  try:
    _check_config_file(argv)
    rest = flags.FLAGS(argv)
  except _WRONG_FLAGS as error:
    sys.exit(_say('error', _last_words(error), USER_ERROR))
  except ModuleNotFoundError as error:
    if (error.name or '').partition('.')[0] != 'configs':
      raise
    text = f'--config: imports {error.name}, which is not here. '
    sys.exit(_say('error', text + 'Run from the project folder.', USER_ERROR))
  if len(rest) > 1:
    sys.exit(_say('error', f'unexpected argument {rest[1]!r}', USER_ERROR))
  return rest


def _check_config_file(argv: list[str]) -> None:
  """A missing file would only be reported when the config is first used."""
  for flag, value in zip(argv, [*argv[1:], ''], strict=True):
    if flag.startswith('--config='):
      value = flag.removeprefix('--config=')
    elif flag != '--config':
      continue
    path, _, _ = value.partition(':')
    if not os.path.isfile(path):
      raise UserError(f'--config: {path}: no such file. Run from the project folder.')


def _last_words(error: Exception) -> str:
  """A config file's own message out of the traceback that ml_collections quotes."""
  if 'Traceback' in str(error):
    return str(error).strip().splitlines()[-1].partition(': ')[2]
  if isinstance(error, SyntaxError):
    return f'--config: {error.filename}, line {error.lineno}: no Python ({error.msg}).'
  is_field = isinstance(error, KeyError | AttributeError) and error.args
  text = str(error.args[0]) if is_field else str(error)
  if "no attribute 'get_config'" in text:
    return '--config: expected a file with a function get_config, found none there.'
  if is_field:
    # ml_collections quotes its message once for every level of the field.
    text = text.replace('\\n', ' ').replace('\\', '').strip('"\'')
    field, _, hint = ' '.join(text.split()).partition("'")
    return f"--config: no field '{field}'{hint}"
  for pattern, plain in _PLAIN.items():
    text = re.sub(pattern, plain, text)
  return text


def _print_traceback() -> None:
  with contextlib.suppress(OSError):  # as in `_say`
    traceback.print_exc()


def _say(word: str, error, code: int) -> int:
  with contextlib.suppress(OSError):  # the code must come out of a full disk, too
    print(f'{word}: {error}', file=sys.stderr, flush=True)
  return code
