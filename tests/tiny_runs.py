"""Run folders of a few hand-written evaluations."""

import json


def write_run(
  root, method, seed=0, rows=(), *, target='', labels=50, state='done', **others
):
  """A run of the experiment 'tiny'; `others` are further keys of its identity.

  All methods of a target, budget and seed share a label draw.
  """
  folder = root / f'{target}-{method}-{labels}-{seed}'
  folder.mkdir(parents=True)
  identity = {'experiment': 'tiny', 'method': method, 'labels': labels, 'seed': seed}
  identity |= {'label_hash': f'{target} {labels} {seed}'}
  identity |= {'target': target} if target else {}
  (folder / 'identity.json').write_text(json.dumps({**identity, **others}))
  (folder / 'status.json').write_text(json.dumps({'state': state, 'message': 'why'}))
  lines = [json.dumps({'kind': 'evaluation', **row}) + '\n' for row in rows]
  (folder / 'metrics.jsonl').write_text(''.join(lines))
  return folder


def success(value, step=20, **others):
  """An evaluation of a maze, where a random walk succeeds in a tenth."""
  references = {'random_walk': 0.1, 'optimal': 1.0}
  return {'step': step, 'success_sampled': value, **references, **others}


def write_claim(root, size='twin', others=None, **changes):
  """Writes experiment.json with one claim: ALPT above DT1-IDM in success."""
  claim = {
    'paper': 'it <works>',
    'quoted': True,
    'where': 'figure 2',
    'metric': 'success_sampled',
    'method': 'ALPT',
    'over': 'DT1-IDM',
    'labels': 50,
    'kind': 'higher',
    'floor': 'random_walk',
    'ceiling': 'optimal',
    **changes,
  }
  content = {'name': 'tiny', 'title': 'A <title>', 'size': size, 'claims': [claim]}
  (root / 'experiment.json').write_text(json.dumps({**content, **(others or {})}))


def write_pairs(root, ours, theirs, **arguments):
  """Runs of both methods whose last successes are these, seeds from 0."""
  for method, values in (('ALPT', ours), ('DT1-IDM', theirs)):
    for seed, value in enumerate(values):
      write_run(root, method, seed, [success(value)], **arguments)
