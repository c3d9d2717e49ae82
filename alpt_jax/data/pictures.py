"""Folders of PNGs that are one recording: which file is which frame."""

import pathlib
import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

from alpt_jax.data.clip import Clip, PictureFn, gray, pixels
from alpt_jax.errors import UserError


def picture_folder(path: str | pathlib.Path, fps: float = 0.0) -> Clip:
  """A folder of PNGs as a recording; opens each, decodes none.

  The last integer of a name is the frame's number; numbers follow one another
  without gaps, from any first one.

  Args:
    path: holds PNGs and nothing else, hidden files aside.
    fps: frames a second, as pictures do not say; 0: not known.

  Raises:
    UserError: another file, a gap, a number twice, or a picture of another size.
  """
  path = pathlib.Path(path)
  files = picture_files(path)
  size = None
  for file in files:
    with open_picture(file) as picture:
      size = size or picture.size
      if picture.size != size:
        raise UserError(
          f'{file}: expected {pixels(size)} as in {files[0]}, found '
          f'{pixels(picture.size)}. Make all pictures of a recording one size.'
        )
  num_frames = len(files)
  seconds = num_frames / fps if fps else 0.0
  return Clip(path, num_frames, *size, fps, 'png', seconds, num_frames)


def stored_pictures(clip: Clip) -> Iterator[PictureFn]:
  """The frames of `picture_folder`; a picture is decoded when it is asked for."""
  for file in picture_files(clip.path):

    def picture(grayscale: bool, file=file) -> np.ndarray:
      with open_picture(file) as opened:
        try:
          return gray(opened) if grayscale else np.asarray(opened.convert('RGB'))
        except (OSError, SyntaxError, ValueError) as error:
          raise UserError(
            f'{file}: cannot be decoded ({error}). Copy it anew.'
          ) from error

    yield picture


def picture_files(folder: pathlib.Path) -> list[pathlib.Path]:
  """The PNGs of a recording, in the order of the last integer of their names.

  Numbers follow one another without gaps, from any first one. Hidden files (a file
  manager's) are read past.

  Raises:
    UserError: no picture, another file, a name without number, a gap, or a number
      twice.
  """
  numbered = []
  for file in sorted(folder.iterdir()):
    if file.name.startswith('.'):
      continue
    if file.suffix.lower() != '.png' or not file.is_file():
      raise UserError(
        f'{file}: expected nothing but .png files in a folder that is a recording. '
        'Move it elsewhere.'
      )
    numbered.append((frame_number(file), file))
  if not numbered:
    raise UserError(f'{folder}: expected .png files, found none.')
  numbered.sort()
  for (before, first), (number, file) in zip(numbered, numbered[1:], strict=False):
    if number == before:
      raise UserError(f'{file}: frame {number} again ({first.name}). Remove one.')
    if number != before + 1:
      raise UserError(
        f'{file}: expected frame {before + 1} after {before}, found {number}. Number '
        'them without gaps.'
      )
  return [file for _, file in numbered]


def frame_number(file: pathlib.Path) -> int:
  """The last integer of a picture's name; without one it raises `UserError`."""
  numbers = re.findall('[0-9]+', file.stem)
  if not numbers:
    raise UserError(f"{file}: expected the frame's number in its name, found none.")
  return int(numbers[-1])


def open_picture(file: pathlib.Path) -> Image.Image:
  """A PNG of which only the header has been read.

  Raises:
    UserError: empty, not a PNG, or of more than 8 bits a channel.
  """
  if file.stat().st_size == 0:
    raise UserError(f'{file}: expected a picture, found an empty file. Copy it anew.')
  try:
    picture = Image.open(file, formats=['PNG'])
  except (OSError, SyntaxError, ValueError) as error:
    raise UserError(f'{file}: cannot be opened as a PNG. Copy it anew.') from error
  if picture.mode[0] in 'IF':
    picture.close()
    raise UserError(
      f'{file}: expected 8 bits a channel, found 16. Write it with 8 bits.'
    )
  return picture
