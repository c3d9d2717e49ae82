"""The label card on disk: JSON, strips and a page, whatever was labelled."""

import dataclasses
import html.parser
import json

import numpy as np
import pytest
import tiny_labels
from matplotlib.figure import Figure
from PIL import Image

from alpt_jax.errors import UserError
from alpt_jax.experiment.label_card import write_label_card
from alpt_jax.experiment.recordings import read_recordings
from alpt_jax.experiment.strips import changes, draw_strip
from alpt_jax.report.calibration_panel import draw_calibration_panel

LENGTHS = (30, 30, 20)


class Page(html.parser.HTMLParser):
  """What a page shows: words, pictures, and the cells of each row of its tables."""

  def __init__(self, text):
    super().__init__()
    self.words, self.images, self.tables = '', [], []
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    if tag == 'img':
      self.images.append(dict(attributes))
    elif tag == 'table':
      self.tables.append([])
    elif tag == 'tr':
      self.tables[-1].append(0)
    elif tag in ('td', 'th'):
      self.tables[-1][-1] += 1

  def handle_data(self, data):
    self.words += f'{data} '


def audit(num_actions=3, units=12, length=10, num_right=8):
  """`units` stretches; of each the first `num_right` are right, all of action 0."""
  true = np.tile(np.arange(length) >= num_right, units).astype(int)
  unit = np.repeat(np.arange(units), length)
  return tiny_labels.audit_columns(0 * true, true, 0.8, unit, num_actions)


def make(tmp_path, labels=None, audited=None, kind='image', names=None, **changes):
  """Writes a card; gives what it says and what its page shows."""
  names = names or tiny_labels.NAMES
  pool = tiny_labels.image_pool(tmp_path / 'data', LENGTHS, names, kind)
  labels = tiny_labels.label_columns(LENGTHS) if labels is None else labels
  audited = audit(len(names)) if audited is None else audited
  out = tmp_path / 'out'
  tiny_labels.write_folder(out, labels, audited, names, **changes)
  card = write_label_card(out, pool, tmp_path / 'data')
  text = (out / 'label_card.json').read_text()

  def refuse(constant):
    raise AssertionError(f'{constant} is no JSON')

  assert json.loads(text, parse_constant=refuse) == card
  page = Page((out / 'label_card.html').read_text())
  assert 'nan' not in page.words.lower().split()
  assert 'None' not in page.words
  for rows in page.tables:
    assert len(set(rows)) == 1, 'a broken table'
  return card, page


def test_the_page_says_what_the_card_says_and_shows_every_moment(tmp_path):
  card, page = make(tmp_path)
  for sentence in card['verdict']:
    assert sentence in page.words
  assert 'Label card: own/game' in page.words
  assert card['accuracy']['audit']['value'] == pytest.approx(0.8)
  assert '80 %' in page.words
  assert '[96]' in page.words  # of 120 held-back ones, in the table of confusions
  moments = [*card['moments']['least'], *card['moments']['most']]
  assert len(moments) == 4  # of three episodes, none longer than a stretch; one action
  for moment in moments:
    assert (tmp_path / 'out' / moment['strip']).is_file()
    assert moment['place'] in page.words
  assert len(page.images) == len(moments) + 1  # and the reliability diagram
  assert all(each['alt'] and each['src'].startswith('data:') for each in page.images)


def test_a_card_made_anew_is_the_same(tmp_path):
  make(tmp_path)
  names = sorted(path for path in (tmp_path / 'out').rglob('*') if path.is_file())
  before = [path.read_bytes() for path in names]
  make(tmp_path)
  assert [path.read_bytes() for path in names] == before


def test_names_are_text_and_no_markup(tmp_path):
  _, page = make(tmp_path, names=('<b>left', 'right & up', 'up'))
  assert '<b>left' in page.words
  assert 'right & up' in page.words


def test_the_truth_stands_beside_the_estimate_and_each_moment(tmp_path):
  # The guesses are .8 sure, as many of the audit are right, and so are they.
  truth = (np.arange(80) % 10 >= 8).astype(np.int32)
  labels = tiny_labels.label_columns(
    LENGTHS, true_action=truth, confidence=np.full(80, 0.8, np.float32)
  )
  card, page = make(tmp_path, labels, forget=True)
  assert card['true_accuracy'] == {'value': 0.8, 'num': 80}
  assert "inside the estimate's" in page.words
  assert 'the truth: left (right)' in page.words
  wrong = tiny_labels.label_columns(LENGTHS, true_action=np.ones(80, np.int32))
  _, page = make(tmp_path, wrong, forget=True)
  assert "OUTSIDE the estimate's" in page.words
  assert 'the truth: right (WRONG)' in page.words


def test_without_an_audit_each_section_says_so(tmp_path):
  nothing = tiny_labels.audit_columns([], [], 0.8, [])
  card, page = make(tmp_path, audited=nothing, is_fitted=False)
  assert card['verdict'][0].startswith('How often the guesses are right is not known')
  assert page.words.count('no recorded action was held back from the model') == 3
  assert len(page.images) == len(card['moments']['least'] + card['moments']['most'])


@pytest.mark.parametrize('trained, is_said', [(0, True), (40, False)])
def test_that_it_learnt_from_the_recordings_that_judge_it(tmp_path, trained, is_said):
  # The audit is of the first episode; transition 40 is of the second.
  learnt = np.arange(80) == trained
  labels = tiny_labels.label_columns(LENGTHS, recorded=learnt, trained_on=learnt)
  card, page = make(tmp_path, labels)
  assert card['units']['are_learnt_from'] == is_said
  assert ('other moments of the same recordings' in page.words) == is_said


def test_recorded_actions_that_neither_taught_nor_judge_are_counted(tmp_path):
  place = np.arange(80)
  labels = tiny_labels.label_columns(
    LENGTHS, recorded=place < 50, trained_on=place < 20
  )
  _, page = make(tmp_path, labels, audit(units=2))
  # Of 50 recorded ones 20 taught it, 20 judge it.
  words = ' '.join(page.words.split())
  assert 'neither: set aside, or beside what it learnt from 10 12.5 %' in words
  _, page = make(tmp_path)
  assert 'neither' not in page.words


def test_one_action_only(tmp_path):
  labels = tiny_labels.label_columns(LENGTHS, second=np.full(80, -1, np.int32))
  audited = audit(num_actions=1, num_right=10)
  card, page = make(tmp_path, labels, audited, names=('jump',))
  assert any('one action only, jump' in sentence for sentence in card['verdict'])
  assert card['accuracy']['audit']['value'] == 1
  assert 'second guess' not in page.words


def test_an_action_that_was_never_held_back(tmp_path):
  card, page = make(tmp_path)  # up is not in the audit
  up = card['per_action'][2]
  assert (up['audited'], up['recall'], up['precision']) == (0, None, None)
  assert 'Nothing can be said of: up (' in page.words
  assert '\u2013' in page.words


def test_nothing_left_unlabelled(tmp_path):
  labels = tiny_labels.label_columns(LENGTHS, recorded=np.ones(80, bool))
  card, page = make(tmp_path, labels)
  assert card['verdict'][0].startswith('Every action of this dataset was recorded')
  assert card['moments'] == {'least': [], 'most': []}
  assert 'nothing to estimate' in page.words
  assert 'no guess is there to stay' in page.words
  assert len(page.images) == 1


def test_everything_left_unlabelled(tmp_path):
  labels = tiny_labels.label_columns(LENGTHS, action=np.full(80, -1, np.int32))
  card, page = make(tmp_path, labels, min_confidence=0.99)
  assert 'No guess was as sure as --min_confidence=0.99' in card['verdict'][0]
  assert card['estimate'] is None
  num_moments = len(card['moments']['least'] + card['moments']['most'])
  assert page.words.count('; left without an action') == num_moments
  assert 'nothing to estimate' in page.words


def test_two_units_only(tmp_path):
  card, page = make(tmp_path, audited=audit(units=2), basis='stretch', is_fitted=False)
  found = card['accuracy']['audit']
  assert found['units'] == 2
  assert found['high'] - found['low'] > 0.5
  assert 'With so few stretches it is wide' in page.words
  assert 'Too few actions were held back to fit a temperature' in page.words


def test_where_observations_are_numbers_the_changes_are_named(tmp_path):
  card, page = make(tmp_path, kind='integers')
  moments = card['moments']['least']
  assert [each['strip'] for each in moments] == [None] * 3
  assert moments[0]['changes'] == 'entry 0: 0 to 1'
  assert 'those that change are named' in page.words
  assert not (tmp_path / 'out' / 'strips').exists()


def test_the_reliability_diagram_shows_both_curves_and_the_counts():
  def bins(accuracy):
    return [{'low': 0.8, 'count': 7, 'confidence': 0.85, 'accuracy': accuracy}]

  figure = Figure()
  errors = {'error_before': 0.2, 'error_after': 0.1, 'floor': 0.05}
  draw_calibration_panel(figure, {'before': bins(0.6), 'after': bins(0.7), **errors})
  above, below = figure.axes
  drawn = {line.get_label(): line.get_xydata().tolist() for line in above.lines[1:]}
  assert drawn == {
    'as the model says it: error 0.200': [[0.85, 0.6]],
    'with the temperature: error 0.100': [[0.85, 0.7]],
  }
  assert len({line.get_marker() for line in above.lines[1:]}) == 2
  assert [bar.get_height() for bar in below.patches] == [7]
  assert '7' in [text.get_text() for text in below.texts]


def test_a_table_that_is_missing_is_named(tmp_path):
  pool = tiny_labels.image_pool(tmp_path / 'data', LENGTHS)
  labels = tiny_labels.label_columns(LENGTHS)
  tiny_labels.write_folder(tmp_path / 'out', labels, audit())
  (tmp_path / 'out' / 'audit.parquet').unlink()
  with pytest.raises(UserError, match='audit.parquet'):
    write_label_card(tmp_path / 'out', pool, tmp_path / 'data')


def test_a_strip_holds_the_frames_of_the_episode_alone(tmp_path):
  pool = tiny_labels.image_pool(tmp_path / 'data', LENGTHS)
  side = 168  # 8 pixels, 21 times as large

  def num_frames(episode, step):
    pixels = np.asarray(draw_strip(pool, episode, step).convert('L'))
    # Frames are black but for their dot; in the row of another dot nothing is white.
    row = pixels[6 + side - 1 - 21 * (episode % 8 == 7)]
    starts = (row[1:] == 0) & (row[:-1] != 0)
    return int(starts.sum())

  assert num_frames(1, 10) == 6
  assert num_frames(1, 0) == 4  # the first, and three behind it
  assert num_frames(1, 29) == 4  # the last transition: three up to it, one behind


def test_a_strip_enlarges_the_transition_and_shows_where_it_is(tmp_path):
  pool = tiny_labels.image_pool(tmp_path / 'data', LENGTHS)
  picture = np.asarray(draw_strip(pool, 1, 3).convert('L'))
  # Episode 1: the dot is in row 1, in column 3 before and 4 after. A pixel is 21 wide.
  left = 14 + 2 * (168 + 14)
  dot = picture[6 + 21 : 6 + 42, left + 3 * 21 : left + 4 * 21]
  assert (dot == 255).all()
  left += 168 + 14 + 16
  dot = picture[6 + 21 : 6 + 42, left + 4 * 21 : left + 5 * 21]
  assert (dot == 255).all()


@pytest.mark.parametrize('shape', [(200, 320, 3), (84, 84, 4)])
def test_large_coloured_and_stacked_frames_are_shown(tmp_path, shape):
  pool = tiny_labels.image_pool(tmp_path / 'data', (4,))
  wide = np.zeros((5, *shape), np.uint8)
  wide[..., -1] = 255
  picture = draw_strip(dataclasses.replace(pool, observations=wide), 0, 1)
  assert isinstance(picture, Image.Image)
  assert picture.width < 1200
  colour = (0, 0, 255) if shape[-1] == 3 else (255, 255, 255)
  assert picture.getpixel((20, 50)) == colour


def test_no_more_numbers_are_named_than_anybody_reads(tmp_path):
  pool = tiny_labels.image_pool(tmp_path / 'data', (4,), kind='integers')
  many = np.arange(50).reshape(5, 10)
  pool = dataclasses.replace(pool, observations=many)
  assert changes(pool, 0, 0).endswith('entry 5: 5 to 15, and 4 more')
  pool = dataclasses.replace(pool, observations=0 * many)
  assert changes(pool, 0, 0) == 'nothing changes'


def conversion(folder, *recordings):
  fields = ('file', 'episodes', 'first_frames', 'frame_rate')
  recordings = [dict(zip(fields, each, strict=True)) for each in recordings]
  (folder / 'conversion.json').write_text(json.dumps({'recordings': recordings}))


def test_a_moment_is_named_by_file_and_time(tmp_path):
  pool = tiny_labels.image_pool(tmp_path / 'set' / 'pool', LENGTHS)
  conversion(
    tmp_path / 'set',
    ('a.mp4', [0, 2], [0, 30], 10.0),
    ('b', [2, 1], [5], 0.0),
  )
  for folder in ('set', 'set/pool'):  # one skip, so a step is a frame
    found = read_recordings(tmp_path / folder, pool)
    assert found.names == ('a.mp4', 'b')
    assert found.of_episode.tolist() == [0, 0, 1]
    assert found.place(1, 12) == 'a.mp4 at 0:04.2 (frame 42)'
    assert found.place(2, 3) == 'b, frame 8'
    skipping = dataclasses.replace(found, frame_skip=4)
    assert skipping.place(1, 3) == 'a.mp4 at 0:04.2 (frame 42)'


def test_without_a_record_every_episode_is_a_recording(tmp_path):
  pool = tiny_labels.image_pool(tmp_path / 'data', LENGTHS)
  found = read_recordings(tmp_path / 'data', pool)
  assert found.of_episode.tolist() == [0, 1, 2]
  assert found.place(1, 12) == 'episode 1, step 12'


@pytest.mark.parametrize('what', ['other', 'damaged', 'no record'])
def test_a_record_of_something_else_is_refused(tmp_path, what):
  pool = tiny_labels.image_pool(tmp_path / 'data', LENGTHS)
  if what == 'other':
    conversion(tmp_path / 'data', ('a.mp4', [0, 2], [0, 30], 10.0))
  else:
    text = '{' if what == 'damaged' else '{"recordings": [{}]}'
    (tmp_path / 'data' / 'conversion.json').write_text(text)
  with pytest.raises(UserError, match='conversion.json'):
    read_recordings(tmp_path / 'data', pool)
