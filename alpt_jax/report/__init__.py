"""Files of finished and unfinished runs -> tables, pictures and one HTML page.

Floor 1. Reads only what `bin/` left on disk (`run_files.py` names the files), so a
folder copied from another machine makes the same page, without JAX. Only
`curves.py` imports matplotlib, only `aggregate.py`, and late, rliable.

  run_files.py the files of a run, every fault named
  runs.py      the folder of runs, put in order
  experiment.py  `experiment.json`: what was planned, and the claims that it tests
  measures.py  what the figures are called, compared with and rounded to
  tables.py    results.csv, and the final table with its spread over seeds
  grid.py      tables of written cells, for a terminal and for the page
  pairs.py     runs that share all but their method; intervals over seeds
  aggregate.py means over targets, interquartile means and their intervals
  differences.py  ALPT minus its baseline, seed by seed
  speed.py     steps to reach what the baseline ends at
  claims.py    the verdicts on the paper's claims
  claims_table.py  the same for a terminal and for the page
  headline.py  the result in a sentence of the table's numbers
  curves.py    the pictures, drawn by
    bars.py    final scores
    panels.py  curves over training steps
    label_curve.py  final scores over the number of labels
  looks.py     colours and axes that all pictures share
  exhibits.py  mazes, data cards and animations that others left
  report.py    all of these of one folder, loaded once
  summary.py   the same as text for a terminal
  label_card.py  label_card.html: what the labels of bin/label are worth
    label_verdict.py  the same in a few sentences
    label_gain.py  what more labels or sources would bring
    calibration_panel.py  how sure guesses are, and how often right
    moments.py  pictures of the least and the most certain ones
  web_page.py  style and frame of every page
  page.py      report/index.html, which opens from disk without a network
"""
