"""Files of finished and unfinished runs -> table, pictures and one HTML page.

Floor 1. Reads only what `bin/` left on disk (`runs.py` names the files), so a
folder copied from another machine makes the same page, without JAX. Only
`curves.py` imports matplotlib.

  runs.py     the folder of runs, read and put in order
  tables.py   results.csv, and the final table with its spread over seeds
  measures.py what the figures are called, compared with and rounded to
  differences.py  ALPT minus its baseline, seed by seed
  headline.py the result in a sentence of the table's numbers
  curves.py   the pictures: curves over steps and, with bars.py, final scores
  looks.py    colours and axes that all pictures share
  exhibits.py mazes, data cards and animations that others left
  page.py     report/index.html, which opens from disk without a network
"""
