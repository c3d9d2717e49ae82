"""Tables beside videos: what a row means, and one line for each way to be wrong."""

import pytest

from alpt_jax.data.video_table import (
  Row,
  Table,
  TableChoice,
  longest_hold,
  read_table,
  spellings,
)
from alpt_jax.errors import UserError

NUM_FRAMES = 600


@pytest.fixture
def read(tmp_path):
  """Reads what is given as the content of a file."""

  def read_content(content, num_frames=NUM_FRAMES, name='a.csv', **choice):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, num_frames, TableChoice(**choice))

  return read_content


@pytest.fixture
def said(read, tmp_path):
  """What is said of a file, behind its name."""

  def refused(content, num_frames=NUM_FRAMES, **choice):
    with pytest.raises(UserError) as error:
      read(content, num_frames, **choice)
    message = str(error.value)
    assert '\n' not in message
    return message.removeprefix(str(tmp_path / 'a.csv'))

  return refused


def rows(table):
  """(line, frame, action, reward, end) of each row."""
  return [tuple(row) for row in table.rows]


# What is read.


def test_a_row_says_what_holds_from_its_frame_on(read):
  table = read('frame,action\n0,LEFT\n7,\n12,RIGHT\n')
  assert rows(table) == [
    (2, 0, 'LEFT', 0.0, ''),
    (3, 7, '', 0.0, ''),
    (4, 12, 'RIGHT', 0.0, ''),
  ]
  assert table.notes == ()


def test_columns_come_in_any_order(read):
  table = read('End,reward,Action,frame\n,-1.5,UP,3\nterminal,,,9\n')
  assert rows(table) == [(2, 3, 'UP', -1.5, ''), (3, 9, '', 0.0, 'terminal')]


@pytest.mark.parametrize(
  ('line', 'row'),
  [
    ('0,UP', (1, 0, 'UP', 0.0, '')),
    ('0,UP,2', (1, 0, 'UP', 2.0, '')),
    ('0,UP,2,cut', (1, 0, 'UP', 2.0, 'cut')),
  ],
)
def test_a_number_in_the_first_cell_is_no_header(read, line, row):
  assert rows(read(line)) == [row]


def test_names_may_hold_commas_quotes_and_blanks(read):
  table = read('frame,action\r\n0," up, left "\r\n4,"say ""no"""\r\n')
  assert [row.action for row in table.rows] == ['up, left', 'say "no"']
  assert [row.line for row in table.rows] == [2, 3]


def test_empty_cells_behind_the_last_column_are_a_spreadsheets(read):
  plain = read('frame,action\n0,A\n5,\n').rows
  assert read('frame,action,,\n0,A,,\n5,,\n').rows == plain
  assert read('frame,action\n0,A,\n5,,,,\n').rows == plain


def test_a_table_that_begins_with_frame_1_may_count_from_1(read):
  (note,) = read('1,A\n').notes
  assert note.endswith(
    'a.csv: begins with frame 1; if it counts from 1, pass --first_frame=1.'
  )
  assert not read('0,A\n1,B\n').notes and not read('2,A\n').notes
  assert not read('2,A\n', first_frame=1).notes


def test_a_line_is_the_files_even_behind_blank_ones(read, said):
  assert [row.line for row in read('frame,action\n\n0,A\n,\n\n5,B\n').rows] == [3, 6]
  assert said('frame,action\n\n0,A\n\nx,B\n').startswith(', line 5: ')


def test_letters_that_look_alike_are_one(read):
  # 'ü' as one sign and as a u with two dots.
  table = read('0,\u00fcber\n5,u\u0308ber\n')
  assert spellings([table]) == ('\u00fcber',)


def test_a_utf_8_mark_is_read_past_and_noted(read):
  table = read(b'\xef\xbb\xbfframe,action\n0,LEFT\n')
  assert rows(table) == [(2, 0, 'LEFT', 0.0, '')]
  assert len(table.notes) == 1 and 'byte-order mark' in table.notes[0]


@pytest.mark.parametrize(('given', 'written'), [(';', ';'), ('\\t', '\t'), ('|', '|')])
def test_another_separator_is_read_when_it_is_named(read, given, written):
  table = read(f'frame{written}action\n3{written}LEFT\n', separator=given)
  assert rows(table) == [(2, 3, 'LEFT', 0.0, '')]


def test_frames_may_count_from_one(read, said):
  assert [row.frame for row in read('1,A\n600,B\n', first_frame=1).rows] == [0, 599]
  assert said('0,A\n', first_frame=1) == (
    ', line 1: frame 0 is before --first_frame=1. Lower it.'
  )


@pytest.mark.parametrize('num_rows', [599, 600])
def test_a_row_for_each_frame_need_not_name_the_last(read, num_rows):
  content = '\n'.join(f'{frame},A' for frame in range(num_rows))
  assert len(read(content).rows) == num_rows


def test_a_table_stops_early_by_gaps_or_by_saying_so(read):
  dense = '\n'.join(f'{frame},A' for frame in range(100))
  assert len(read(dense + '\n100,').rows) == 101  # not known from there on
  assert len(read(dense + '\n200,A').rows) == 101  # gaps
  assert len(read('0,A\n1,B\n2,A').rows) == 3  # three quick presses


# Names of a game.


def table_of(name, *cells):
  """A table of (line, action, end) rows."""
  found = [Row(line, line, action, 0.0, end) for line, action, end in cells]
  return Table(name, tuple(found))


def test_the_names_of_a_game_are_those_of_all_its_tables():
  one = table_of('a.csv', (2, 'UP', ''), (3, '', ''), (4, 'LEFT', ''))
  # What stands on an episode's last frame is never done.
  other = table_of('b.csv', (2, 'UP', ''), (3, 'DONE', 'terminal'))
  assert spellings([one, other]) == ('LEFT', 'UP')
  assert spellings([table_of('c.csv', (2, '-', ''), (3, '_', ''))]) == ('-', '_')


@pytest.mark.parametrize(
  ('first', 'second'), [('LEFT', 'left'), ('UP LEFT', 'UP_LEFT'), ('A-B', 'ab')]
)
def test_a_name_in_two_spellings_is_refused(first, second):
  one, other = table_of('a.csv', (2, first, '')), table_of('b.csv', (4, second, ''))
  with pytest.raises(UserError) as error:
    spellings([one, other])
  assert str(error.value) == (
    f"b.csv, line 4: action '{second}' is written '{first}' in a.csv, line 2. Write it "
    'one way.'
  )


def test_the_longest_hold_ends_at_a_row_or_with_the_video(read):
  # A from 0 to 9, not known to 99, B to the end of the episode on 119, A to the end.
  content = 'frame,action,end\n0,A,\n10,,\n100,B,\n119,,cut\n130,A,\n'
  assert longest_hold(read(content), 140) == 19
  assert longest_hold(read(content), 600) == 470
  assert longest_hold(read('0,\n', 100), 100) == 0


# What is wrong with a file.


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('', ': expected rows, found none. Write some, or remove it.'),
    (' \n,\n', ': expected rows, found none. Write some, or remove it.'),
    (
      'frame,action\n',
      ': expected rows below its header, found none. Write some, or remove it.',
    ),
    (
      'frame;action\n0;LEFT\n',
      ", line 1: expected columns separated by ',' (frame,action), found "
      "'frame;action'. Pass --separator=';'.",
    ),
    (
      '0\tLEFT\n',
      ", line 1: expected columns separated by ',' (frame,action), found '0\tLEFT'. "
      "Pass --separator='\\t'.",
    ),
    (
      b'\xff\xfef\0r\0',
      ': UTF-16 (byte-order mark FF FE). Save it as UTF-8.',
    ),
    (
      b'\xff\xfe\0\0f\0\0\0',
      ': UTF-32 (byte-order mark FF FE 00 00). Save it as UTF-8.',
    ),
    (
      b'frame,action\n0,A\n5,fl\xe9\n',
      ', line 3: byte 0xe9 is not UTF-8. Save it as UTF-8.',
    ),
    (
      b'f\0r\0a\0m\0e\0',
      ', line 1: byte 0x00 is not UTF-8. Save it as UTF-8.',
    ),
    (
      'frame,aktion\n0,A\n',
      ", line 1: unknown column 'aktion'; did you mean 'action'? Known: action, end, "
      'frame, reward.',
    ),
    ('frame,frame\n0,A\n', ", line 1: column 'frame' comes twice. Remove one."),
    (
      'frame,reward\n0,1\n',
      ", line 1: expected a column 'action', found frame, reward. Add it.",
    ),
    (
      '0,A,1,cut,5\n',
      ', line 1: expected 2 to 4 cells (frame,action,reward,end), found 5. Write a '
      'header above.',
    ),
    (
      'frame,action\n0,A\n5,up,left\n',
      ', line 3: expected 2 cells, found 3. Quote commas inside a name.',
    ),
    (
      '0,A,\n5,B\n',
      ', line 2: expected 3 cells, found 2. Write an empty one where there is nothing '
      'to say.',
    ),
    (
      'frame,action\n12.5,A\n',
      ", line 2: expected a frame number, found '12.5'. Write frames, not seconds.",
    ),
    (
      '0.5,A\n',
      ", line 1: expected a frame number, found '0.5'. Write frames, not seconds.",
    ),
    (
      '-1,A\n',
      ", line 1: expected a frame number, found '-1'. Write frames, not seconds.",
    ),
    (
      'frame,action\n120,A\n120,B\n',
      ', line 3: frame 120 again (line 2). Remove one.',
    ),
    (
      'frame,action\n120,A\n90,B\n',
      ', line 3: frame 90 after 120 (line 2). Sort the rows.',
    ),
    (
      'frame,action\n600,A\n',
      ', line 2: frame 600, the video has 0 to 599. Pass --first_frame=1 if it counts '
      'from 1, or give the table of this video.',
    ),
    (
      'frame,action,reward\n0,A,nan\n',
      ", line 2: expected a finite number as reward, found 'nan'. Write 0 or nothing "
      'where there is none.',
    ),
    (
      'frame,action,reward\n0,A,"0,5"\n',
      ", line 2: expected a finite number as reward, found '0,5'. Write 0 or nothing "
      'where there is none.',
    ),
    (
      'frame,action,end\n0,A,done\n',
      ", line 2: end: expected terminal or cut, found 'done'. Leave it empty inside an "
      'episode.',
    ),
    (
      'frame,action\n0,"A\nB"\n',
      ", line 3: expected an action name of printable characters, found 'A\\nB'. "
      'Rename it.',
    ),
  ],
  ids=lambda value: value[:30] if isinstance(value, str) else value[:12].hex(),
)
def test_a_table_is_refused_with_its_line(said, content, message):
  assert said(content) == message


def test_a_quote_that_never_closes_is_named(said):
  message = said('frame,action\n0,A\n5,"B\n9,C\n')
  assert message.startswith(', line 4: is no row of a table (')


def test_beyond_a_video_that_counts_from_one(said):
  assert said('601,A\n', first_frame=1) == (
    ', line 1: frame 601, the video has 1 to 600. Give the table of this video.'
  )


@pytest.mark.parametrize('num_rows', [300, 590])
def test_a_row_for_each_of_other_frames_is_lost_synchrony(said, num_rows):
  content = 'frame,action\n' + '\n'.join(f'{frame},A' for frame in range(num_rows))
  assert said(content) == (
    f': a row for each of {num_rows} frames, the video has 600. Rows must follow its '
    'frames; a table with gaps may end early, one without by a row without action.'
  )


def test_an_unknown_name_is_refused_where_the_names_are_given(read, said):
  names = ('LEFT', 'RIGHT')
  assert said('frame,action\n0,LEFT\n9,LFT\n', action_names=names) == (
    ", line 3: action 'LFT' is not known; did you mean 'LEFT'? Known: LEFT, RIGHT."
  )
  assert len(read('0,LEFT\n9,\n', action_names=names).rows) == 2


def test_a_separator_is_one_character(tmp_path):
  for separator in ('', ', ', '"'):
    with pytest.raises(UserError, match='expected one character'):
      read_table(tmp_path / 'a.csv', 10, TableChoice(separator))
