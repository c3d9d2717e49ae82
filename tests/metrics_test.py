"""The metric files beside a run that stops, resumes and is read while it runs."""

import json
import struct

import pytest
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from alpt_jax.training.metrics import MetricWriter, Progress


def steps_in(folder):
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line)['step'] for line in lines]


def board_events(folder):
  """The events of TensorBoard's files, every checksum looked at."""
  events = []
  for path in sorted((folder / 'tensorboard').iterdir()):
    data = path.read_bytes()
    while data:
      (size,) = struct.unpack('<Q', data[:8])
      (head_sum,) = struct.unpack('<I', data[8:12])
      body, data = data[12 : 12 + size], data[12 + size :]
      assert head_sum == masked_crc32c(struct.pack('<Q', size))
      assert struct.unpack('<I', data[:4])[0] == masked_crc32c(body)
      data = data[4:]
      events.append(event_pb2.Event.FromString(body))
  return events


def test_a_writer_goes_on_with_the_files_that_it_closed(tmp_path):
  writer = MetricWriter(tmp_path)
  writer.write('train', 1, {'loss': 0.5})
  writer.flush_to_disk()
  writer.write('train', 2, {'loss': 0.25})
  writer.flush_to_disk()
  writer.write('evaluation', 2, {'score': 7})
  writer.close()
  assert steps_in(tmp_path) == [1, 2, 2]
  assert len(list((tmp_path / 'tensorboard').iterdir())) == 1
  first, start, *rows = board_events(tmp_path)
  assert first.file_version == 'brain.Event:2'
  assert start.session_log.status == event_pb2.SessionLog.START
  found = [(e.step, v.tag, v.simple_value) for e in rows for v in e.summary.value]
  assert found == [
    (1, 'train/loss', 0.5),
    (2, 'train/loss', 0.25),
    (2, 'evaluation/score', 7),
  ]


def test_files_are_closed_when_they_are_flushed_to_disk(tmp_path, monkeypatch):
  """A mounted bucket takes a file up when it is closed, no sooner."""
  closed, really_open = [], open

  def watched(path, *arguments, **keywords):
    file = really_open(path, *arguments, **keywords)
    really_close = file.close
    if arguments and 'a' in arguments[0]:

      class Watched:
        def __getattr__(self, name):
          return getattr(file, name)

        def close(self):
          closed.append(path.name.partition('.')[0])
          really_close()

      return Watched()
    return file

  monkeypatch.setattr('builtins.open', watched)
  writer = MetricWriter(tmp_path)
  writer.flush_to_disk()
  assert sorted(closed) == ['events', 'metrics']
  writer.close()


def test_a_resumed_writer_knows_which_rows_were_kept(tmp_path):
  writer = MetricWriter(tmp_path)
  for step in (2, 4):
    writer.write('train', step, {'loss': 0.5})
  writer.write('evaluation', 2, {'score': 1})
  assert writer.has('evaluation', 2)
  writer.close()
  # Saved at 4, its evaluation cut off; what was done after 4 is void.
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"kind": "evaluation", "step": 6, "score": 3}\n')
  writer = MetricWriter(tmp_path, resumed_step=4)
  assert writer.has('train', 4)
  assert writer.has('evaluation', 2)
  assert not writer.has('evaluation', 4)
  assert not writer.has('evaluation', 6)
  writer.write('evaluation', 4, {'score': 2})
  assert writer.has('evaluation', 4)
  writer.close()
  assert steps_in(tmp_path) == [2, 4, 2, 4]


def test_two_writers_of_one_second_do_not_overwrite_each_other(tmp_path):
  for step in (1, 2):
    writer = MetricWriter(tmp_path, step - 1)
    writer.write('train', step, {'loss': 0.5})
    writer.close()
  found = [e.step for e in board_events(tmp_path) if e.summary.value]
  assert found == [1, 2]


def test_a_full_disk_is_an_error_at_once_and_files_are_closed(tmp_path):
  writer = MetricWriter(tmp_path)
  writer._board.close()
  writer._board = open('/dev/full', 'ab')  # noqa: SIM115
  with pytest.raises(OSError, match='No space left'):
    writer.write('train', 1, {'loss': 0.5})
  with pytest.raises(OSError, match='No space left'):
    writer.close()
  assert writer._file.closed
  assert writer._board.closed


@pytest.mark.parametrize(
  ('note', 'end'), [('', 'loss 1.500\n'), ('input wait 34%', 'input wait 34%\n')]
)
def test_the_progress_line_ends_with_its_note(capsys, note, end):
  Progress('tiny', 0, 10).show(1, {'loss': 1.5}, note=note, always=True)
  assert capsys.readouterr().out.endswith(f'loss 1.500  {end}' if note else end)


def test_without_a_title_there_is_no_progress_line(capsys):
  Progress(None, 0, 10).show(1, {'loss': 1.5}, always=True)
  assert capsys.readouterr().out == ''


@pytest.mark.parametrize(
  ('every', 'said'), [(0.0, 'tiny  ready after 0:00\n'), (9, '')]
)
def test_what_took_long_to_compile_is_said(capsys, every, said):
  Progress('tiny', 0, 10, every).compiled()
  assert capsys.readouterr().out == said
