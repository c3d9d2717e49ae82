"""Files of finished and unfinished runs -> tables, pictures and one HTML page.

Floor 1. Reads only what `bin/` left on disk (`runs.py` names the files), so a
folder copied from another machine makes the same page, without JAX. Only
`curves.py` imports matplotlib, only `aggregate.py`, and late, rliable.

  runs.py      the folder of runs, read and put in order
  measures.py  what the figures are called, compared with and rounded to
  tables.py    results.csv, and the final table with its spread over seeds
  grid.py      tables of written cells, for a terminal and for the page
  pairs.py     runs that share all but their method; intervals over seeds
  aggregate.py means over targets, interquartile means and their intervals
  differences.py  ALPT minus its baseline, seed by seed
  speed.py     steps to reach what the baseline ends at
  claims.py    the paper's claims and their verdicts, of `experiment.json`
  claims_table.py  the same for a terminal and for the page
  headline.py  the result in a sentence of the table's numbers
  curves.py    the pictures, drawn by
    bars.py    final scores
    panels.py  curves over training steps
    label_curve.py  final scores over the number of labels
  looks.py     colours and axes that all pictures share
  exhibits.py  mazes, data cards and animations that others left
  page.py      report/index.html, which opens from disk without a network
"""
