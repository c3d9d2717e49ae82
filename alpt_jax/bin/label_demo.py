"""What launch/label_demo.sh does beside calling the other programs.

  python -m alpt_jax.bin.label_demo --stage=record --out=DIR [--smoke]
  python -m alpt_jax.bin.label_demo --stage=check --out=DIR

record  plays Freeway and Breakout in the emulator, and writes what a stranger would
        have: videos, and tables that tell all actions of Freeway, a fifth of Breakout's
check   prints what the label card says beside the truth, and what the cards of 40 other
        audits would have said
"""

from absl import flags

from alpt_jax.experiment import cli, demo_recordings, label_check
from alpt_jax.experiment.demo_recordings import DemoGame

_STAGE = flags.DEFINE_enum('stage', None, ['record', 'check'], 'What to do.')
_OUT = flags.DEFINE_string('out', None, 'Folder of the demo.')
_SMOKE = flags.DEFINE_bool('smoke', False, 'Minutes of play instead of hours.')

TARGET = 'Breakout'


def _games(is_smoke: bool) -> tuple[DemoGame, ...]:
  """What is recorded; at 15 decisions a second 10,000 are 11 minutes."""
  steps, kept, stretch = (600, 300, 10) if is_smoke else (10_000, 2_000, 50)
  return (
    DemoGame('Freeway', steps),
    DemoGame(TARGET, steps, num_kept=kept, stretch=stretch),
  )


def main(argv):
  del argv
  folder = cli.folder('out', _OUT.value)
  if _STAGE.value == 'record':
    place = folder / demo_recordings.RECORDINGS
    demo_recordings.record_games(_games(_SMOKE.value), place)
  else:
    label_check.check(folder, TARGET)


if __name__ == '__main__':
  flags.mark_flags_as_required(['stage', 'out'])
  cli.run(main)
