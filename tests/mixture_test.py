"""The batch of a step: exact shares, no state, the same for any hosts."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import tiny

from alpt_jax.data.mixture import Mixture, PoolWindows, Stream, row_use
from alpt_jax.data.windows import WindowReader
from alpt_jax.errors import UserError


def three_streams(shares=(Fraction(1), Fraction(1), Fraction(1))):
  """Streams over three pools; `environment` tells their rows apart."""
  lengths = ((5, 3), (4, 4, 2), (6,))
  return [
    tiny.tiny_stream(tiny.tiny_pool(lengths[i]), f'stream {i}', share, environment=i)
    for i, share in enumerate(shares)
  ]


def origins(batch):
  return batch.window.environment.tolist()


def places(batch):
  """(environment, episode, step) of each row's last transition."""
  window = batch.window
  last = window.observations[:, -2].tolist()
  return [(i, e - 1, t) for i, (e, t, _) in zip(origins(batch), last, strict=True)]


def assert_equal_batches(one, two):
  for a, b in zip([*one.window, *one[1:]], [*two.window, *two[1:]], strict=True):
    assert a.dtype == b.dtype and np.array_equal(a, b)


@pytest.mark.parametrize(
  'shares, expected',
  [
    # Of 12 steps of 7 rows, 84.
    ((1, 1, 1), (28, 28, 28)),
    ((Fraction(1, 3), Fraction(1, 3), Fraction(1, 3)), (28, 28, 28)),
    ((1, Fraction(1, 2), Fraction(3, 2)), (28, 14, 42)),
    ((1, Fraction(1, 3), Fraction(1, 3)), (Fraction(252, 5), *[Fraction(84, 5)] * 2)),
    ((5, 1, 1), (60, 12, 12)),
    ((1, 0, 3), (21, 0, 63)),
  ],
)
def test_every_stream_gets_exactly_its_share(shares, expected):
  mixture = Mixture(three_streams(tuple(map(Fraction, shares))), 7, seed=0)
  counts = np.zeros(3, int)
  for step in range(1, 12 * 20 + 1):
    counts += np.bincount(origins(mixture.batch(step - 1)), minlength=3)
    assert counts.sum() == 7 * step
    for count, total in zip(counts.tolist(), expected, strict=True):
      assert abs(count - Fraction(total * step, 12)) < 1  # never a row away
  assert counts.tolist() == [20 * total for total in expected]


def test_shares_are_relative():
  shares = (Fraction(1, 3), Fraction(1, 4), Fraction(1, 5))
  one = Mixture(three_streams(shares), 7, seed=0)
  two = Mixture(three_streams(tuple(60 * share for share in shares)), 7, seed=0)
  for step in range(20):
    assert_equal_batches(one.batch(step), two.batch(step))


def test_a_step_goes_on_where_the_one_before_stopped():
  shares = (Fraction(1, 3), Fraction(1, 7), Fraction(11, 21))
  mixture = Mixture(three_streams(shares), 7, seed=0)
  next_rows = [0, 0, 0]
  for step in range(100):
    for stream, (first, count) in enumerate(mixture.rows(step)):
      assert first == next_rows[stream] and count >= 0
      next_rows[stream] += count


@pytest.mark.parametrize('step', [0, 1, 7, 1000])
def test_a_batch_is_the_same_whether_or_not_others_were_drawn(step):
  drawn = Mixture(three_streams(), 7, seed=2)
  for earlier in (0, 5, 40, 3, step + 1):
    drawn.batch(earlier)
  fresh = Mixture(three_streams(), 7, seed=2)
  assert_equal_batches(drawn.batch(step), fresh.batch(step))


@pytest.mark.parametrize('num_hosts', [1, 2, 4])
@pytest.mark.parametrize('shares', [(1, 1, 1), (1, Fraction(1, 4), Fraction(3, 4))])
def test_the_hosts_rows_together_are_the_global_batch(num_hosts, shares):
  shares = tuple(map(Fraction, shares))
  whole = Mixture(three_streams(shares), 8, seed=0)
  # A host draws its own rows only, so each has a mixture of its own.
  hosts = [Mixture(three_streams(shares), 8, seed=0) for _ in range(num_hosts)]
  for step in range(15):
    parts = [host.batch(step, i, num_hosts) for i, host in enumerate(hosts)]
    assert all(len(part.idm_weight) == 8 // num_hosts for part in parts)
    together = [np.concatenate(rows) for rows in zip(*map(flat, parts), strict=True)]
    for a, b in zip(together, flat(whole.batch(step)), strict=True):
      assert np.array_equal(a, b)


def flat(batch):
  return [*batch.window, *batch[1:]]


def test_a_rows_stream_is_known_without_the_hosts():
  mixture = Mixture(three_streams(), 8, seed=0)
  for step in range(20):
    counts = [count for _, count in mixture.rows(step)]
    expected = [stream for stream in range(3) for _ in range(counts[stream])]
    for num_hosts in (1, 2, 4, 8):
      parts = [mixture.batch(step, host, num_hosts) for host in range(num_hosts)]
      assert [row for part in parts for row in origins(part)] == expected


@pytest.mark.parametrize('group', [1, 2, 4, 8, 16])
def test_groups_change_the_places_of_rows_and_nothing_else(group):
  """Whatever the group, a step takes the same windows of the same streams."""
  shares = (Fraction(1), Fraction(1, 4), Fraction(3, 4))
  whole = Mixture(three_streams(shares), 16, seed=0)
  grouped = Mixture(three_streams(shares), 16, seed=0, group=group)
  for step in range(10):
    assert grouped.rows(step) == whole.rows(step)
    one, two = places(grouped.batch(step)), places(whole.batch(step))
    for stream in range(3):
      own = [[place for place in each if place[0] == stream] for each in (one, two)]
      assert own[0] == own[1]


def test_every_group_has_the_streams_shares_to_a_row_in_their_order():
  """4 rows of the first stream, 1 and 3 of the others are dealt to two groups."""
  shares = (Fraction(1), Fraction(1, 4), Fraction(3, 4))
  mixture = Mixture(three_streams(shares), 8, seed=0, group=4)
  # Dealt in pairs: 0 0, 0 0, 1 2, 2 2.
  assert origins(mixture.batch(0)) == [0, 0, 1, 2, 0, 0, 2, 2]
  assert origins(mixture.batch(3, host=1, num_hosts=2)) == [0, 0, 2, 2]


@pytest.mark.parametrize('group', [1, 4, 32])
def test_a_stream_may_have_less_than_a_row_of_a_group(group):
  """41 games, a quarter of one labelled: 8 or 9 rows of 352 each, 2 or 3 labelled."""
  pool = tiny.tiny_pool()
  shares = [Fraction(1, 4), *[Fraction(1)] * 40, Fraction(3, 4)]
  streams = [tiny.tiny_stream(pool, f'{i}', share) for i, share in enumerate(shares)]
  mixture = Mixture(streams, 352, seed=0, group=group)
  for step in range(3):
    assert len(mixture.batch(step).idm_weight) == 352
    assert min(count for _, count in mixture.rows(step)) >= 2


@pytest.mark.parametrize('num_weights', [3, 42])
def test_shares_of_any_fractions_are_exact_however_late(num_weights):
  """The common denominator of many is beyond any machine's integers."""
  shares = [Fraction(997 - 2 * i, 1000 - 3 * i) for i in range(num_weights)]
  streams = [
    tiny.tiny_stream(tiny.tiny_pool(), f'{i}', share) for i, share in enumerate(shares)
  ]
  mixture, late = Mixture(streams, 64, seed=0, group=32), 10**6
  first, _ = mixture.rows(late)[-1]
  assert abs(first - late * 64 * shares[-1] / sum(shares)) < 1
  assert sum(count for _, count in mixture.rows(late)) == 64


def test_going_on_counts_no_earlier_steps_again(monkeypatch):
  """Of 40 streams most have no row of a host's 8 in a step."""
  streams = [
    Stream(f'{i}', _Counting(i), Fraction(1), 1.0, 1.0, False) for i in range(40)
  ]
  mixture = Mixture(streams, 64, seed=0, group=8)
  mixture.batch(5, 1, 8)
  monkeypatch.setattr(mixture, '_in_first_rows', None)
  for step in range(6, 20):
    mixture.batch(step, 1, 8)


@pytest.fixture
def alpt():
  """Labels of the target, a source, all of the target: as `experiment/mixing.py`."""
  pool = tiny.tiny_pool()
  unlabelled = {'idm_weight': 0.0, 'relabel': True}
  return [
    tiny.tiny_stream(pool, 'labelled', Fraction(1, 4), policy_weight=0.0),
    tiny.tiny_stream(pool, 'source', Fraction(1)),
    tiny.tiny_stream(pool, 'target', Fraction(3, 4), **unlabelled),
  ]


@pytest.mark.parametrize(
  ('batch_size', 'expected'),
  [
    # An eighth, a half, three eighths: 8 rows are cut without a rest.
    (64, (8, (0, 5), (5, 8), (1, 8))),
    # Of 4 rows the first has 0 or 1, the third 1 or 2.
    (4, (4, (0, 3), (2, 4), (0, 4))),
    (7, (7, (0, 5), (4, 7), (0, 7))),
    (1000, (8, (0, 5), (5, 8), (1, 8))),
  ],
)
def test_the_rows_that_each_part_of_a_step_needs(alpt, batch_size, expected):
  assert row_use(alpt, batch_size) == expected


def test_rows_that_nothing_relabels_are_none(alpt):
  assert row_use(alpt[:2], 64).relabelled == (0, 0)


@pytest.mark.parametrize('batch_size', [8, 9, 12, 20, 44])
def test_rows_with_weight_lie_where_they_are_computed(alpt, batch_size):
  use = row_use(alpt, batch_size)
  mixture = Mixture(alpt, batch_size, seed=0, group=use.group)
  for step in range(20):
    batch = mixture.batch(step)
    needed = batch.idm_weight, batch.relabel, batch.policy_weight
    for weights, (begin, end) in zip(needed, use[1:], strict=True):
      inside = np.arange(batch_size) % use.group
      inside = (begin <= inside) & (inside < end)
      assert not weights[~inside].any()


@pytest.mark.parametrize('num_hosts', [2, 3, 8])
def test_rows_that_cannot_be_shared_out_are_refused(num_hosts):
  mixture = Mixture(three_streams(), 7, seed=0)
  expected = f'batch_size: expected a multiple of the {num_hosts} hosts, found 7'
  with pytest.raises(UserError, match=expected):
    mixture.batch(0, 0, num_hosts)


@pytest.mark.parametrize('batch_size', [1, 4, 16, 48])
def test_an_epoch_sees_every_window_once_and_every_episode(batch_size):
  lengths = (5, 3, 1, 7)  # 16 windows; a batch of 48 is three epochs
  pool = tiny.tiny_pool(lengths)
  mixture = Mixture([tiny.tiny_stream(pool)], batch_size, seed=0)
  num_steps = max(1, 16 // batch_size) * 3
  drawn = [place for step in range(num_steps) for place in places(mixture.batch(step))]
  every = {(0, e, t) for e, length in enumerate(lengths) for t in range(length)}
  for first in range(0, len(drawn), 16):
    epoch = drawn[first : first + 16]
    assert len(set(epoch)) == 16 and set(epoch) == every
    assert {episode for _, episode, _ in epoch} == {0, 1, 2, 3}


def test_epochs_streams_and_seeds_have_orders_of_their_own():
  pool = tiny.tiny_pool((16,))

  def order(name, seed, epoch):
    mixture = Mixture([tiny.tiny_stream(pool, name)], 16, seed)
    return tuple(places(mixture.batch(epoch)))

  orders = {order('a', 0, 0), order('a', 0, 1), order('b', 0, 0), order('a', 1, 0)}
  assert len(orders) == 4


def test_a_stream_draws_from_its_own_ends_only():
  pool = tiny.tiny_pool((5, 3))
  mixture = Mixture([tiny.tiny_stream(pool, ends=[1, 6])], 4, seed=0)
  drawn = places(mixture.batch(3))
  assert sorted(drawn) == [(0, 0, 1)] * 2 + [(0, 1, 1)] * 2  # two epochs of both


def test_the_order_of_an_epoch_is_that_of_earlier_versions():
  """Runs go on where they stopped: whatever changes it changes their batches."""
  ends = np.array([2, 5, 7, 11])
  reader = WindowReader(tiny.tiny_pool((12,)), tiny.ACTIONS, 0)
  found = PoolWindows(reader, ends).take(0, 8, (3, 'x'))
  numbers = [np.random.default_rng([3, ord('x'), epoch]) for epoch in (0, 1)]
  order = [ends[rng.permutation(np.arange(4, dtype=np.uint32))] for rng in numbers]
  # A place begins with the window's last row, one behind its last transition's.
  assert found.observations[:, 0].tolist() == (np.concatenate(order) + 1).tolist()


@pytest.mark.parametrize('num_ends', [3, 256, 300])
def test_a_sequence_is_the_same_however_it_is_cut(num_ends):
  """Whatever is looked up at once: cut at its borders, across them, and anywhere."""
  reader = WindowReader(tiny.tiny_pool((300,)), tiny.ACTIONS, 0)

  def taken(*cuts):
    windows = PoolWindows(reader, np.arange(num_ends))
    parts = [windows.take(a, b - a, (0, 'x')) for a, b in itertools.pairwise(cuts)]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]

  whole = taken(0, 1_000)
  for cuts in ((0, 256, 512, 1_000), (0, 1, 255, 700, 1_000)):
    for one, two in zip(taken(*cuts), whole, strict=True):
      assert np.array_equal(one, two)
  again = PoolWindows(reader, np.arange(num_ends))
  again.take(700, 5, (0, 'y'))
  last = again.take(200, 30, (0, 'x'))
  assert np.array_equal(last.observations, whole[0][200:230])
  epochs = whole[0][: 1_000 // num_ends * num_ends].reshape(-1, num_ends, 2)
  assert (np.sort(epochs[..., 0]) == np.arange(num_ends) + 1).all()


def test_frames_that_can_be_read_together_are():
  frames, calls = _Given(tiny.tiny_window(1).observations), []

  def read(places, into, rows):
    calls.append(rows.tolist())
    into[rows] = places

  frames.read = read
  streams = [
    Stream(f'{i}', _Counting(i), Fraction(1), 1.0, 1.0, False) for i in range(3)
  ]
  streams[0].windows.frames = streams[2].windows.frames = frames
  batch = Mixture(streams, 6, seed=0, group=3).batch(0)
  assert origins(batch) == [0, 1, 2, 0, 1, 2]
  assert calls == [[0, 3, 2, 5]]  # of the first stream, then of the third


def test_a_batch_too_small_for_its_streams_is_refused():
  """Shares of 1, 1/4 and 3/4: the second of 2 gets a row a step from 8 rows on."""
  shares = (Fraction(1), Fraction(1, 4), Fraction(3, 4))
  assert len(Mixture(three_streams(shares), 8, seed=0).batch(5).idm_weight) == 8
  with pytest.raises(UserError, match='at least 8, a row a step .* found 7. Raise it'):
    Mixture(three_streams(shares), 7, seed=0)


def test_rows_carry_what_they_may_teach():
  pool = tiny.tiny_pool()
  uses = {'idm_weight': 0.0, 'policy_weight': 0.5, 'relabel': True}
  streams = [
    tiny.tiny_stream(pool, 'recorded', Fraction(1)),
    tiny.tiny_stream(pool, 'hidden', Fraction(3), environment=1, **uses),
  ]
  batch = Mixture(streams, 4, seed=0).batch(0)
  assert origins(batch) == [0, 1, 1, 1]
  assert batch.idm_weight.tolist() == [1, 0, 0, 0]
  assert batch.policy_weight.tolist() == [1, 0.5, 0.5, 0.5]
  assert batch.relabel.tolist() == [False, True, True, True]
  assert batch.idm_weight.dtype == batch.policy_weight.dtype == np.float32


class _Given:
  """Frames that are their own places."""

  def __init__(self, observations):
    self.shape, self.dtype = observations.shape[2:], observations.dtype

  def read(self, places, into, rows):
    into[rows] = places


class _Counting:
  """A host's own sequence 0, 1, 2, ...: each window's observation is its place."""

  is_per_host = True

  def __init__(self, environment):
    self._like = tiny.tiny_window(1)
    self._environment = environment
    self.frames = _Given(self._like.observations)

  def take(self, first, count, key):
    del key
    rows = [np.repeat(array, count, 0) for array in self._like]
    window = type(self._like)(*rows)
    places = np.arange(first, first + count)
    return window._replace(
      returns_to_go=np.repeat(places[:, None], 5, 1).astype(np.float32),
      environment=np.full(count, self._environment, np.int32),
    )


@pytest.mark.parametrize('group', [8, 4, 2])
@pytest.mark.parametrize('num_hosts', [1, 2, 4])
def test_a_host_takes_its_own_sequences_without_gaps_wherever_it_begins(
  num_hosts, group
):
  shares = (Fraction(1), Fraction(1, 4), Fraction(3, 4))
  streams = [
    Stream(f'{i}', _Counting(i), share, 1.0, 1.0, False)
    for i, share in enumerate(shares)
  ]
  for host in range(num_hosts):
    mixture = Mixture(streams, 8, seed=0, group=group)
    next_places = [0, 0, 0]
    for step in range(40):
      batch = mixture.batch(step, host, num_hosts)
      resumed = Mixture(streams, 8, seed=0, group=group)
      resumed = resumed.batch(step, host, num_hosts)
      assert_equal_batches(batch, resumed)
      for stream, place in zip(
        origins(batch), batch.window.returns_to_go[:, 0].tolist(), strict=True
      ):
        assert place == next_places[stream]
        next_places[stream] += 1
