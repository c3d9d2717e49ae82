"""What recording and evaluation left to look at: mazes, data cards, animations.

All of it is optional; text is escaped, pictures become part of the page.
"""

import html
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alpt_jax.report.run_files import read_object
from alpt_jax.report.runs import ALL_LABELS, Run, method_rank, part_names
from alpt_jax.report.tables import format_labels
from alpt_jax.report.web_page import embedded

MOST_ANIMATIONS = 6
_MOST_OPEN = 9  # environments on view; more wait behind a click


def show_animations(runs: Sequence[Run]) -> list[str]:
  """The chosen animations with captions, as HTML; [] when no run left one."""
  figures = []
  names = part_names(run.part for run in runs)
  for run, path in choose_animations(runs):
    budget = format_labels(run.labels)
    caption = f'{run.method}, {budget} labels, seed {run.seed}'
    if path.stem != 'episode':
      caption += f' ({path.stem})'
    caption = ': '.join(filter(None, (names[run.part], caption)))
    figures.append(
      f'<figure>{_embedded(path, caption)}'
      f'<figcaption>{html.escape(caption)}</figcaption></figure>'
    )
  return [_cards(figures)] if figures else []


def choose_animations(runs: Sequence[Run]) -> list[tuple[Run, pathlib.Path]]:
  """At most `MOST_ANIMATIONS` animations that say different things.

  One after the other: a method that was shown least so far, then a target, the first
  seed, the smallest budget (where methods differ most), then the largest, then others.
  Shown in the order of the table.
  """
  budgets = sorted({r.labels for r in runs if r.labels != ALL_LABELS})
  preferred = [*budgets[:1], *budgets[:0:-1], ALL_LABELS]
  left = [(run, path) for run in runs for path in sorted(run.folder.glob('*.gif'))]
  chosen = []
  while left and len(chosen) < MOST_ANIMATIONS:

    def rank(candidate):
      run, path = candidate
      shown = sum(run.method == other.method for other, _ in chosen)
      repeats = sum(run is other for other, _ in chosen)
      same_target = sum(run.part == other.part for other, _ in chosen)
      return (
        shown,
        repeats,
        same_target,
        run.seed,
        preferred.index(run.labels),
        method_rank(run),
        path.name != 'episode.gif',
      )

    best = min(left, key=rank)
    left.remove(best)
    chosen.append(best)
  order = {id(run): place for place, run in enumerate(runs)}
  return sorted(chosen, key=lambda item: (order[id(item[0])], item[1].name))


def show_environments(
  folders: Iterable[pathlib.Path], runs: Sequence[Run]
) -> list[str]:
  """Picture, main numbers and warnings of every environment, as HTML; or [].

  Experiments may share a folder of datasets: what the runs do not name is left out,
  where both say which environments theirs are.

  Args:
    folders: each holds dataset folders.
    runs: any.
  """
  identities = [run.identity for run in runs]
  named = {name for each in identities for name in each.get('sources') or ()}
  named |= {each['environment'] for each in identities if each.get('environment')}
  datasets = [
    dataset
    for folder in dict.fromkeys(folder.resolve() for folder in folders)
    for dataset in sorted(folder.glob('*/'))
    if _is_shown(dataset) and (not named or _environment_of(dataset) in {*named, None})
  ]
  figures = [_environment(dataset) for dataset in datasets]
  first, others = figures[:_MOST_OPEN], figures[_MOST_OPEN:]
  shown = [_cards(first)] if first else []
  if others:
    shown.append(
      f'<details><summary>{len(others)} more</summary>{_cards(others)}</details>'
    )
  return shown


def _cards(figures: Sequence[str]) -> str:
  return f'<div class="cards pixels">{"".join(figures)}</div>'


def _is_shown(dataset: pathlib.Path) -> bool:
  return any((dataset / name).is_file() for name in ('picture.png', 'card.json'))


def _environment_of(dataset: pathlib.Path) -> str | None:
  """The name of what was recorded there, None where no card says so."""
  card = dataset / 'card.json'
  return read_object(card).get('environment') if card.is_file() else None


def _environment(folder: pathlib.Path) -> str:
  picture, card = folder / 'picture.png', folder / 'card.json'
  parts = [f'<h3>{html.escape(folder.name)}</h3>']
  if picture.is_file():
    parts.append(_embedded(picture, f'picture of {folder.name}'))
  if card.is_file():
    parts.append(_card(read_object(card)))
  return f'<figure>{"".join(parts)}</figure>'


def _embedded(path: pathlib.Path, alt: str) -> str:
  return embedded(path.read_bytes(), path.suffix.lstrip('.').lower(), alt)


# What a page shows of a card; card.md beside the dataset has all of it.
_CARD_ROWS = {
  'num_episodes': 'episodes',
  'num_transitions': 'transitions',
  'action_histogram': 'actions',
  'majority_share': 'commonest action',
  'unchanged_share': 'nothing changes in',
  'best_possible_idm_accuracy': 'best possible IDM',
  'visible_accuracy': 'what the screen shows',
  'visible_accuracy_merged': 'the same, FIRE merged',
}


def _card(card: Mapping[str, Any]) -> str:
  """A data card's main entries as a small table, its warnings below."""
  warnings = card.get('warnings') or []
  warnings = warnings if isinstance(warnings, list) else [warnings]
  lines = [
    f'<tr><th>{title}</th><td>{html.escape(_card_text(card[key]))}</td></tr>'
    for key, title in _CARD_ROWS.items()
    if card.get(key) is not None
  ]
  notes = (f'<p class="warning">{html.escape(str(text))}</p>' for text in warnings)
  return f'<table>{"".join(lines)}</table>{"".join(notes)}'


def _card_text(value: Any) -> str:
  """Counts with their commas, shares in per cent, a histogram as shares."""
  if isinstance(value, Mapping):
    total = max(sum(value.values()), 1)
    shares = (f'{name} {count / total:.0%}' for name, count in value.items())
    return ', '.join(shares)
  if isinstance(value, float):
    return f'{value:.1%}'
  return f'{value:,}' if isinstance(value, int) else str(value)
