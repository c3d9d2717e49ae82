"""How every binary starts and ends: flags in, an exit code out."""

import sys
from collections.abc import Callable

from absl import app, flags

from alpt_jax.errors import Preempted, RunFailed, UserError

DONE, FAILED, USER_ERROR, PREEMPTED = 0, 1, 2, 42


def run(main: Callable[[list[str]], object]) -> None:
  """Parses the flags, runs `main(argv)`, and exits with a documented code.

  0 done; 1 failed while running; 2 what was given is wrong, do not retry; 42
  stopped after a clean save, start again. Errors of the user and of the machine
  are one line on stderr; anything else is a bug and keeps its traceback.
  """
  app.run(lambda argv: sys.exit(_guarded(main, argv)), flags_parser=_parse_flags)


def _guarded(main, argv) -> int:
  try:
    main(argv)
  except UserError as error:
    return _say('error', error, USER_ERROR)
  except RunFailed as error:
    return _say('failed', error, FAILED)
  except Preempted as error:
    return _say('stopped', error, PREEMPTED)
  return DONE


def _parse_flags(argv: list[str]) -> list[str]:
  """absl's parsing, its errors and those of config files as one line, exit 2."""
  try:
    rest = flags.FLAGS(argv)
    for name in _config_flags():
      flags.FLAGS[name].value  # noqa: B018 (a config file is read on access)
  except (flags.Error, UserError, ValueError, AttributeError, KeyError, OSError) as error:
    sys.exit(_say('error', error, USER_ERROR))
  if len(rest) > 1:
    sys.exit(_say('error', f'unexpected argument {rest[1]!r}', USER_ERROR))
  return rest


def _config_flags() -> list[str]:
  return [name for name in flags.FLAGS if name == 'config']


def _say(word: str, error, code: int) -> int:
  text = str(error.args[0] if isinstance(error, KeyError) else error)
  print(f'{word}: {text}', file=sys.stderr, flush=True)
  return code
