"""What the configs of single runs share: their words and their arguments."""

import difflib

# How tables call each method; DT5 whatever the number of its training games.
TITLES = {
  'dt1': 'DT1',
  'dt1-idm': 'DT1-IDM',
  'dt5': 'DT5',
  'dt5-ret': 'DT5-RET',
  'alpt-idm': 'ALPT (IDM pretrained)',
  'bc': 'BC',
  'cql': 'CQL',
  'oracle': 'Oracle',
}
PHASES = {
  'pretrain': ' (pretraining)',
  'sources': ' (sources alone)',
  'finetune': ' (finetuned)',
}
# Of a single run.
SIZES = ('small', 'paper')
# Methods that are pretrained on sources.
WITH_SOURCES = ('alpt', 'alpt-idm', 'dt5', 'dt5-ret')


def title(method: str, phase: str, alpt: str = 'ALPT') -> str:
  """How tables call a run; runs of several phases may lie side by side in a report."""
  # Where the IDM is pretrained nothing is joint: the last phase needs no word.
  is_told = (method, phase) != ('alpt-idm', 'finetune')
  return TITLES.get(method, alpt) + (PHASES.get(phase, '') if is_told else '')


def parse(text: str, defaults: dict, sizes: tuple[str, ...] = SIZES) -> dict:
  """'a=1,b=x' -> defaults with those values, in the defaults' types."""
  arguments = dict(defaults)
  for pair in filter(None, text.split(',')):
    name, _, value = pair.partition('=')
    if name not in defaults:
      close = difflib.get_close_matches(name, defaults, 1)
      hint = f"; did you mean '{close[0]}'?" if close else '.'
      raise ValueError(
        f"--config: argument '{name}' is not known{hint} Known: {', '.join(defaults)}"
      )
    try:
      arguments[name] = type(defaults[name])(value)
    except ValueError:
      raise ValueError(
        f"--config: argument {name}: expected a whole number, found '{value}'"
      ) from None
  if arguments['size'] not in sizes:
    known = ', '.join(sizes)
    raise ValueError(f"size: expected one of {known}, found '{arguments['size']}'")
  return arguments
