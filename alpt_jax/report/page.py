"""report/index.html: one file that opens from disk, without a network or script.

Images stand in the page as base64, styles inline; the same pictures are written
beside it for a README. All text that comes from files is escaped.
"""

import html
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alpt_jax.report import aggregate, claims, claims_table, curves, differences
from alpt_jax.report.exhibits import show_animations, show_environments
from alpt_jax.report.experiment import Planned
from alpt_jax.report.headline import headline
from alpt_jax.report.report import Report, load
from alpt_jax.report.run_files import read_status
from alpt_jax.report.runs import Run, part_names
from alpt_jax.report.tables import (
  TableRow,
  format_labels,
  grid,
  replace_file,
  write_results_csv,
)
from alpt_jax.report.web_page import document, image, paragraph, section, table

_SCORES = {
  'label-curve.png': 'final scores over the number of labels',
  'labels-gap.png': 'bars of the final scores',
}


def build(root: str | os.PathLike | Report) -> pathlib.Path:
  """Writes a folder's CSV files, and the page with its pictures beside it as PNG files.

  `results.csv` holds every evaluation; `claims.csv` and, as a table, `claims.md`, where
  an `experiment.json` names claims, what the runs say of each. Whatever is missing (a
  metric, recorded mazes, animations) leaves its section of the page out; the page never
  fails for it.

  Args:
    root: the folder, or what was loaded from it.

  Returns:
    The path of the page, `<root>/report/index.html`.

  Raises:
    UserError: no runs there, or a damaged file.
  """
  report = load(root)
  root, runs = report.root, report.runs
  write_results_csv(root / 'results.csv', runs)
  if report.findings:
    claims.write_csv(root / 'claims.csv', report.findings)
    markdown = claims_table.claims_markdown(report.findings)
    replace_file(root / 'claims.md', markdown.encode())
  folder = root / 'report'
  pictures = curves.draw_all(runs)
  for name, content in pictures.items():
    replace_file(folder / name, content)
  return replace_file(folder / 'index.html', _page(report, pictures).encode())


def _page(report: Report, pictures: Mapping[str, bytes]) -> str:
  root, runs = report.root, report.runs
  means = aggregate.over_targets(runs)
  titles = filter(None, dict.fromkeys(each.title for each in report.experiments))
  data = [each.data for each in report.experiments] or [root / 'data']
  title = f'ALPT: {", ".join(sorted({run.experiment for run in runs}))}'
  body = [
    f'<h1>{html.escape(title)}</h1>',
    *map(paragraph, titles),
    _summary(report),
    *(paragraph(line, 'lead') for line in headline(means)),
    section(claims_table.TITLE, claims_table.claims_html(report.findings)),
    section('Final scores', *_tables(report.final, means)),
    section(aggregate.TITLE, table(report.estimates)),
    section(differences.TITLE, table(report.differences)),
    section(
      'Few labels and many',
      *(
        image(pictures[name], alt) for name, alt in _SCORES.items() if name in pictures
      ),
    ),
    section(
      'While training',
      *(
        image(content, f'curves: {name}')
        for name, content in pictures.items()
        if name.startswith('curves-')
      ),
    ),
    section('The recorded environments', *show_environments(data, runs)),
    section('The trained agents', *show_animations(runs)),
    section('Runs without a result', *_unfinished(report)),
    section('How to read this', _READING),
    section('What was run', _identities(root, runs)),
  ]
  return document(title, body)


def _tables(rows: Sequence[TableRow], means: Sequence[TableRow]) -> list[str]:
  """One table; where there are several targets, their mean and one for each."""
  if not any(aggregate.is_mean(row.target) for row in means):
    return [table(grid(rows))]
  names = part_names(row.part for row in rows)
  tables = ['<h3>Mean over targets</h3>', table(grid(means))]
  for part, name in names.items():
    tables.append(f'<h3>{html.escape(name)}</h3>')
    tables.append(table(grid([row for row in rows if row.part == part])))
  return tables


def _summary(report: Report) -> str:
  runs = report.runs
  finished = sum(run.is_finished and bool(run.evaluations) for run in runs)
  seeds = len({run.seed for run in runs})
  named = {run.target or str(run.identity.get('environment', '')) for run in runs}
  targets = sorted(named - {''})
  text = f'{len(runs)} runs, {finished} with a final result, {seeds} seeds. '
  if report.traceless:
    text += f'{len(report.traceless)} more were planned. '
  if targets:
    text += f'Target{"s" * (len(targets) > 1)}: {", ".join(targets)}. '
  text += 'All rows: results.csv, in the folder above this page.'
  return paragraph(text, 'quiet')


def _unfinished(report: Report) -> list[str]:
  """The runs without a final result, those that left no identity among them."""
  head = ['run', 'target', 'method', 'labels', 'seed', 'state', 'last evaluation']
  cells = [
    [
      *_named(report, run),
      run.state,
      f'step {run.last["step"]:,}' if run.evaluations else 'none',
      run.status.get('message', ''),
    ]
    for run in report.runs
    if not (run.is_finished and run.evaluations)
  ]
  for planned in report.traceless:
    status = read_status(planned.folder)
    state = 'not begun' if status['state'] == 'unknown' else status['state']
    message = status.get('message', '')
    cells.append([*_named(report, planned), state, 'none', message])
  return [_word_table([*head, 'message'], cells)] if cells else []


def _named(report: Report, run: Run | Planned) -> list[Any]:
  place = _place(report.root, run)
  return [place, run.target, run.method, format_labels(run.labels), run.seed]


def _place(root: pathlib.Path, run: Run | Planned) -> str:
  return os.path.relpath(run.folder, root)


def _word_table(head: Iterable[Any], lines: Iterable[Iterable[Any]]) -> str:
  def row(tag, cells):
    return ''.join(f'<{tag}>{html.escape(_plain(cell))}</{tag}>' for cell in cells)

  body = '\n'.join(f'<tr>{row("td", cells)}</tr>' for cells in lines)
  return (
    f'<div class="wide"><table class="words">\n<tr>{row("th", head)}</tr>\n{body}\n'
    '</table></div>'
  )


def _plain(value: Any) -> str:
  if value is None:
    return ''
  if isinstance(value, Mapping):
    return ', '.join(f'{key} {_plain(item)}' for key, item in value.items())
  return value if isinstance(value, str) else json.dumps(value)


def _identities(root: pathlib.Path, runs: Sequence[Run]) -> str:
  """Every key of every identity: once where all runs agree, else per run."""
  keys = list(dict.fromkeys(key for run in runs for key in run.identity))
  texts = {key: [_plain(run.identity.get(key)) for run in runs] for key in keys}
  same = [key for key in keys if len(set(texts[key])) == 1 and len(runs) > 1]
  differing = [key for key in keys if key not in same]
  parts = []
  if same:
    parts.append('<p>The same for all runs:</p>')
    parts.append(_word_table(['', ''], [(key, texts[key][0]) for key in same]))
  lines = [
    [_place(root, run), *(texts[key][index] for key in differing)]
    for index, run in enumerate(runs)
  ]
  parts.append(_word_table(['run', *differing], lines))
  return (
    f'<details><summary>The identity of all {len(runs)} runs</summary>\n'
    + '\n'.join(parts)
    + '\n</details>'
  )


_READING = """<ul>
<li><b>IDM accuracy</b>: share of the target's hidden actions that the inverse
dynamics model names correctly. <i>Most common action</i> is what always guessing
the same one would score; <i>best possible</i> falls short of 1 because a bump looks
alike in several directions. <b>Held out</b>: the same in episodes that no training
saw.</li>
<li>In games, <b>FIRE merged</b> counts actions that differ by FIRE alone (LEFT and
LEFTFIRE) as one, because a screen often shows no trace of FIRE; <b>balanced</b> is
the mean over actions of the share found of each, so that rare ones count like common
ones. <i>What the screen shows</i> is what an oracle would score that tried every
action in the emulator and can tell two of them apart only where the next screens
differ, for actions as frequent as the recorded ones.</li>
<li><b>Success</b>: share of episodes in the target that reach the goal within the
step limit. <b>Sampled</b> draws each action from the policy's distribution;
<b>greedy</b> takes the likeliest one, so an agent that bumps into a wall once stands
there until the episode ends. Sampled is the main figure.</li>
<li><b>Score</b>: mean over episodes in the target of the sum of the game's own
rewards, not clipped as in training. <b>Human-normalised</b> places it between
published random play (0) and a published human (1); their own rules of play may
differ from those used here.</li>
<li>A method called <b>base</b> was pretrained on the sources alone: its figures are
those of a model that saw nothing of the target, and it is no competitor of the
others.</li>
<li><b>&plusmn;</b>, shades and whiskers are one sample standard deviation over the
seeds named in the table; with two or three seeds they are a rough guide, which is why
the seeds are drawn one by one. One seed has no deviation.</li>
<li><b>Paired differences</b>: a seed is a draw of the labels, which all methods of
that seed share; their difference leaves out what the draw does to both. The interval
is Student's, for the mean over pairs, and takes the pairs for independent draws from
a normal distribution; with two or three pairs it is wide.</li>
<li><b>Over several targets</b> the seed is what is independent, because its runs may
share a pretraining: a seed's figure is its mean over all targets, and intervals are
over seeds. Seeds that lack a target are left out. Scores of several games are
averaged human-normalised.</li>
<li><b>Interquartile mean</b>: mean of the middle half of all seeds' and targets'
figures, so that one lucky run does not carry it (Agarwal et al., 2021; their library
rliable). Its interval resamples the seeds of each target 2,000 times, always the same
way; targets stay. With one target it resamples that one's seeds, and from five figures
such an interval is too narrow: verdicts rest on Student's.</li>
<li><b>Times as fast</b>: a figure that falls between two evaluations is taken to be
reached on the straight line between them. The figure to reach is where the baseline of
the same seed and target ends; a method that never gets there takes the interval's lower
end away.</li>
<li>Each run counts with its <b>last</b> evaluation, not its best. Nothing is tuned or
chosen on these evaluations.</li>
<li>Runs that failed, did not finish or were never begun are listed. In the final scores
one that was evaluated counts only where no run of its method and label budget has
finished; the table says so. Claims, intervals and differences rest on finished runs
alone.</li>
</ul>"""
