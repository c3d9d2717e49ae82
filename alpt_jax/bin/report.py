"""Turns a folder of runs into results.csv and report/index.html.

python -m alpt_jax.bin.report --runs=DIR
"""

from absl import flags

from alpt_jax.experiment import cli
from alpt_jax.report import page, report, summary

_RUNS = flags.DEFINE_string('runs', None, 'Folder that holds run folders.')


def main(argv):
  del argv
  results = report.load(_RUNS.value)
  path = page.build(results)
  print(f'{summary.text(results)}\n\nreport: {path}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['runs'])
  cli.run(main)
