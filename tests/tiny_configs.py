"""The config files of the project, and runs of them that take seconds."""

import pathlib

from alpt_jax.experiment.recording import Recording, record
from alpt_jax.launching.sweep import load_config_file

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'


def get_config(name, *text):
  """What stands in configs/NAME.py for the words behind the colon."""
  return load_config_file(CONFIGS / f'{name}.py').get_config(*text)


def tiny_maze(root, text='', **training):
  """configs/maze.py on the datasets of `root`, 20 labels, small in every way."""
  fields = get_config('maze', f'root={root},labels=20,{text}')
  fields.model.update({'width': 8, 'num_heads': 2, 'num_layers': 1})
  fields.training.update({'num_steps': 2, 'batch_size': 8, **training})
  fields.evaluation.update({'num_transitions': 8, 'num_episodes': 2, 'max_steps': 5})
  return fields


def record_mazes(root):
  """The default target and source of configs/maze.py, a few episodes each."""
  for layout in (1000, 2000):
    folder = root / f'maze-blocked-20-{layout}-position'
    recording = Recording(f'maze/blocked:20/{layout}', episodes=6)
    record(recording, folder, rlds=False)
