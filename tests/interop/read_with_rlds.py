"""Reads a dataset folder as anyone with `rlds` would, and prints what is in it as JSON.

  $ALPT_RLDS/bin/python -I tests/interop/read_with_rlds.py DIR

Imports nothing of this project; tests/interop/run.sh makes its environment.
"""

import json
import os
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import rlds
import tensorflow as tf
import tensorflow_datasets as tfds

_FIELDS = {
  rlds.OBSERVATION: None,  # of any form
  rlds.ACTION: tf.int64,
  rlds.REWARD: tf.float32,
  rlds.DISCOUNT: tf.float32,
  **dict.fromkeys((rlds.IS_FIRST, rlds.IS_LAST, rlds.IS_TERMINAL), tf.bool),
}
# Of a labelled dataset: is it an action, is it a recorded one, how sure is the guess.
_KNOWLEDGE = {'is_labelled': tf.bool, 'is_recorded': tf.bool, 'confidence': tf.float32}


def main(folder: str) -> None:
  builder = tfds.builder_from_directory(folder)
  episodes = builder.as_dataset(split='train')
  spec = episodes.element_spec[rlds.STEPS].element_spec
  _check(spec)
  print(
    json.dumps(
      {
        'rlds_core_fields': sorted(rlds.CORE_STEP_FIELDS),
        'action_names': builder.info.features[rlds.STEPS][rlds.ACTION].names,
        'dtypes': {field: form.dtype.name for field, form in spec.items()},
        'episodes': [_episode(episode[rlds.STEPS]) for episode in episodes],
      }
    )
  )


def _check(spec: dict[str, tf.TensorSpec]) -> None:
  """Ends with a line where a step lacks a field, or one has another type."""
  expected = {**_FIELDS, **{key: _KNOWLEDGE[key] for key in _KNOWLEDGE if key in spec}}
  for field, dtype in expected.items():
    if field not in spec or dtype not in (None, spec[field].dtype):
      sys.exit(f'field {field}: expected {dtype}, found {spec.get(field)}')
  if further := sorted(spec.keys() - expected.keys()):
    sys.exit(f'unknown fields: {", ".join(further)}')


def _episode(steps: tf.data.Dataset) -> dict:
  pairs = rlds.transformations.batch(steps, size=2, shift=1, drop_remainder=True)
  return {
    'length': int(rlds.transformations.episode_length(steps)),
    'reward_sum': float(
      rlds.transformations.sum_dataset(steps, lambda step: step[rlds.REWARD])
    ),
    'steps': [_plain(step) for step in steps],
    # Each step and the next one.
    'pairs': [_plain(pair) for pair in pairs],
  }


def _plain(step: dict[str, tf.Tensor]) -> dict:
  return {field: value.numpy().tolist() for field, value in step.items()}


if __name__ == '__main__':
  main(*sys.argv[1:])
