"""Measures what more games cost: one recording under 1, 8 and 41 names, mixed equally.

  python -m alpt_jax.bin.benchmark_games --data=DIR --store=stream --games=1,8,41

Windows per CPU-second of each number of games, beside those of the first number; what
each process holds in memory, threads and open files; a table and, with --json, a file.
DIR is a dataset folder (stores pool and packed) or holds a game's RL Unplugged files.
"""

from absl import flags

from alpt_jax.benchmark import figures_file, inputs, machine, many_games
from alpt_jax.errors import UserError
from alpt_jax.experiment import cli

_DATA = flags.DEFINE_string('data', None, 'Folder of one game.')
_STORE = flags.DEFINE_enum('store', 'stream', list(inputs.OPENERS), 'What is read.')
_GAMES = flags.DEFINE_list('games', list(map(str, many_games.COUNTS)), 'How many.')
_LENGTH = flags.DEFINE_integer('window_length', 5, 'T; T + 1 frames.', lower_bound=1)
_BATCH = flags.DEFINE_integer('batch_size', 256, 'Windows per batch.', lower_bound=1)
_BATCHES = flags.DEFINE_integer('batches', 360, 'Of each number.', lower_bound=9)
_JSON = flags.DEFINE_string('json', None, 'File for the figures.')


def main(argv):
  del argv
  if not all(count.isdigit() and int(count) for count in _GAMES.value):
    raise UserError(f'--games: expected numbers of games, found {_GAMES.value}.')
  described = machine.describe()
  lengths = _LENGTH.value, _BATCH.value, _BATCHES.value
  counts = list(map(int, _GAMES.value))
  found = many_games.measure_games([_DATA.value], counts, *lengths, _STORE.value)
  figures_file.print_rows('games', found)
  if _JSON.value:
    given = _DATA, _STORE, _GAMES, _LENGTH, _BATCH, _BATCHES
    used = {flag.name: flag.value for flag in given}
    figures_file.write(_JSON.value, {'games': found}, described, used)


if __name__ == '__main__':
  flags.mark_flags_as_required(['data'])
  cli.run(main)
