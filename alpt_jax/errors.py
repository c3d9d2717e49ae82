"""What is said, and with which exit code, when something cannot go on.

Floor 0. Every binary turns these into one line on stderr, without a traceback:
`UserError` into exit code 2 (what was given is wrong; trying again is useless),
`RunFailed` into exit code 1 (the machine or the numbers failed; the text names
the last good step), `Incomplete` into 3 (done but for inputs that were left out),
`Preempted` into 42 (stopped after a clean save: the same command goes on),
`PeerLost` into 134, like a crash (start all processes again).
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
  """Something the user gave is wrong: where, what was expected, found, to do."""


class RunFailed(Exception):
  """A correct request failed while running: disk full, not-a-number, ..."""


class Incomplete(Exception):
  """Done but for inputs that were left out, as was asked; each was named."""


class Preempted(Exception):
  """Asked to stop, and did, after saving: the same command continues."""


class PeerLost(Exception):
  """Another process of the run is gone, or never came: start all of them again."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
  """Returns `"; did you mean 'x'? Known: ..."` for an unknown word."""
  known = sorted(known)
  # Capitals do not count: 'ALPT', as the paper writes it, means 'alpt'.
  written = {name.lower(): name for name in known}
  close = difflib.get_close_matches(word.lower(), written, n=1, cutoff=0.5)
  hint = f"; did you mean '{written[close[0]]}'?" if close else '.'
  return f'{hint} Known: {", ".join(known)}'
