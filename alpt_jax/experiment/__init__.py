"""Where the rooms meet: a config becomes data, models, training and scores.

Floor 6, so that the binaries (floor 8) only parse flags and go: what two of them
need stands here.
"""
