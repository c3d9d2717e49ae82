"""The claims and their verdicts, for a terminal, the page's top, and other pages."""

import html
import textwrap
from collections.abc import Sequence

from alpt_jax.report.claims import (
  MARGIN,
  NOT_REPRODUCED,
  NOT_TESTABLE,
  OPPOSITE,
  REPRODUCED,
  Finding,
)
from alpt_jax.report.experiment import Claim
from alpt_jax.report.measures import METRICS, number_text
from alpt_jax.report.tables import format_labels

TITLE = "The paper's claims"
_WIDTH = 88  # of a line on a terminal
_CLASSES = {
  REPRODUCED: 'yes',
  OPPOSITE: 'no',
  NOT_REPRODUCED: 'unclear',
  NOT_TESTABLE: 'untested',
}


def claims_text(findings: Sequence[Finding]) -> str:
  """The claims for a terminal; '' without findings."""
  if not findings:
    return ''
  lines = [TITLE]
  for sentence, found in _by_sentence(findings):
    lines.append('')
    lines += textwrap.wrap(sentence, _WIDTH)
    for each in found:
      verdict, reason = _verdict(each)
      if each.verdict == NOT_TESTABLE:
        verdict, reason = f'{verdict}: {reason}', ''
      text = f'{verdict}. {_setting(each)}: {_figures(each)}'
      text += f'. {reason[:1].upper()}{reason[1:]}' if reason else ''
      lines += textwrap.wrap(
        text, _WIDTH, initial_indent='  > ', subsequent_indent='    '
      )
  return '\n'.join([*lines, '', *textwrap.wrap(_BASIS, _WIDTH)])


def claims_html(findings: Sequence[Finding]) -> str:
  """The same as an HTML table with its basis below; '' without findings."""
  if not findings:
    return ''
  lines = []
  for sentence, found in _by_sentence(findings):
    for index, each in enumerate(found):
      first = f'<td rowspan="{len(found)}">{html.escape(sentence)}</td>'
      kind = _CLASSES[each.verdict]
      verdict, reason = _verdict(each)
      reason = f'<br><span class="quiet">{html.escape(reason)}</span>' if reason else ''
      lines.append(
        f'<tr>{"" if index else first}<td>{html.escape(_setting(each))}</td>'
        f'<td>{html.escape(_figures(each))}</td>'
        f'<td class="{kind}"><b>{html.escape(verdict)}</b>{reason}</td></tr>'
      )
  body = '\n'.join(lines)
  return (
    '<table class="claims">\n<tr><th>claim</th><th>compared</th>'
    f'<th>our figures</th><th>verdict</th></tr>\n{body}\n</table>\n'
    f'<p class="quiet">{html.escape(_BASIS)}</p>'
  )


def claims_markdown(findings: Sequence[Finding]) -> str:
  """The same as a Markdown table, without its basis; '' without findings."""
  if not findings:
    return ''
  lines = ['| claim | compared | our figures | verdict |', '|---|---|---|---|']
  for sentence, found in _by_sentence(findings):
    for index, each in enumerate(found):
      verdict, reason = _verdict(each)
      cells = ('' if index else sentence, _setting(each), _figures(each))
      text = ' | '.join(cell.replace('|', '\\|') for cell in cells)
      lines.append(f'| {text} | **{verdict}**{reason and f": {reason}"} |')
  return '\n'.join(lines) + '\n'


def _by_sentence(findings: Sequence[Finding]) -> list[tuple[str, list[Finding]]]:
  """(the sentence with its place, its findings), in the order of the file.

  Only what stands so in the paper has quotation marks.
  """
  groups = {}
  for found in findings:
    groups.setdefault(found.claim, []).append(found)
  return [(_sentence(claim), own) for claim, own in groups.items()]


def _sentence(claim: Claim) -> str:
  if claim.quoted:
    return f'"{claim.paper}" ({claim.where})'
  return f'{claim.paper} (our words; {claim.where})'


def _verdict(found: Finding) -> tuple[str, str]:
  """The verdict in full, and the reason or reservation that comes with it."""
  at_size = found.verdict == NOT_TESTABLE and found.claim.size != 'smoke'
  return found.verdict + ' at this size' * at_size, found.reason


def _setting(found: Finding) -> str:
  """'250 labels, 5 targets, IDM accuracy'."""
  parts = [] if found.labels is None else [f'{format_labels(found.labels)} labels']
  if len(found.targets) > 1:
    parts.append(f'{len(found.targets)} targets')
  elif found.targets and found.targets[0]:
    parts.append(found.targets[0])
  name = METRICS[found.metric]
  if found.claim.kind == 'faster':
    factor = found.claim.factor
    name = f'steps to {name}' + (f', {factor:g} times as fast' if factor != 1 else '')
  return ', '.join([*parts, name])


def _figures(found: Finding) -> str:
  """'ALPT 0.981, DT1-IDM 0.283: +0.698 (+0.651 to +0.745), 5 seeds'."""
  if found.mean is None:
    return 'no figures'
  claim, metric = found.claim, found.metric
  beside = max(abs(found.mean), abs(found.mean_over))
  ours, theirs = (
    number_text(metric, mean, beside=beside) for mean in (found.mean, found.mean_over)
  )
  text = f'{claim.method} {ours}, {claim.over} {theirs}'
  if found.effect is not None:
    text += f': {_times(found) if claim.kind == "faster" else _difference(found)}'
  return f'{text}, {found.num_seeds} seed{"s" * (found.num_seeds != 1)}'


def _difference(found: Finding) -> str:
  effect, low, high = (
    number_text(found.metric, value, beside=found.effect, sign='+')
    for value in (found.effect, found.low, found.high)
  )
  return f'{effect} ({low} to {high})'


def _times(found: Finding) -> str:
  """A lower end that censoring took away is not written."""
  low, high = f'{found.low:.2f}', f'{found.high:.2f}'
  ends = f'{low} to {high}' if found.low > 0 else f'at most {high}'
  return f'{found.effect:.2f} times as fast ({ends})'


_BASIS = (
  'Means over seeds and targets of last evaluations; in brackets the two-sided 95 % '
  'Student interval of the paired difference, over seeds, each the mean over targets. '
  'Reproduced: the interval lies wholly on the claimed side; opposite: wholly on the '
  'other; not reproduced: neither. Not testable: fewer than 3 seeds, or no method '
  'passes its floor, or both reach the ceiling. "Not lower" and "reach" allow for '
  f'{MARGIN} (of a share, or of the way from random play to a human). "Times as fast": '
  "the baseline's steps to its own last figure over the method's to that figure, "
  'geometric mean; the claimed side is above the number claimed (1 where there is '
  'none), the other one below 1.'
)
