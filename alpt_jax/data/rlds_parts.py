"""A labelled dataset as RLDS, file by file: several processes write it, none waits.

Each part is a TFRecord file, whole or not there. The description that makes a dataset
of them (`rlds_forms.py` says how steps look) is written when all are there; until then
TFDS does not open the folder.

One of the files that need TensorFlow. Import this module only where RLDS files are
really needed.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from alpt_jax.data import rlds_forms
from alpt_jax.data.quiet_tensorflow import tf
from alpt_jax.partial import PARTIAL, remove_abandoned, whole_file, writer_name
from alpt_jax.specs import EnvironmentSpec
from alpt_jax.types import Episode

# Below what quietens TensorFlow.
import tensorflow_datasets as tfds  # isort: skip

_SPLIT = 'train'
_KNOWLEDGE = tuple(rlds_forms.KNOWLEDGE)


class LabelledFiles:
  """The RLDS files of one labelled dataset; the episodes have their number beside."""

  def __init__(self, folder: pathlib.Path, spec: EnvironmentSpec, num_parts: int):
    """Writes nothing."""
    self._folder, self._spec, self._num_parts = folder, spec, num_parts
    metadata = {'episode': 0}
    name = rlds_forms.dataset_name(spec.name)
    self._info = rlds_forms.dataset_info(folder, spec, metadata, name, _KNOWLEDGE)
    self._template = tfds.core.ShardedFileTemplate(
      data_dir=folder, dataset_name=name, split=_SPLIT, filetype_suffix='tfrecord'
    )

  def path(self, index: int) -> pathlib.Path:
    """The file of a part."""
    path = self._template.sharded_filepath(
      shard_index=index, num_shards=self._num_parts
    )
    return pathlib.Path(path)

  def write(
    self,
    index: int,
    episodes: Iterable[tuple[int, Episode, Mapping[str, np.ndarray]]],
  ) -> None:
    """Writes a part; the same bytes for the same episodes.

    Args:
      index: of the part.
      episodes: (number, checked episode as `rlds_forms.encoded_steps` takes it, `[L]`
        of each field of `rlds_forms.KNOWLEDGE`); one in memory at a time.

    Raises:
      OSError: it cannot be written.
    """
    serializer = tfds.core.example_serializer.ExampleSerializer(
      self._info.features.get_serialized_info()
    )
    with (
      whole_file(self.path(index)) as partial,
      rlds_forms.disk_errors(),
      tf.io.TFRecordWriter(os.fspath(partial)) as file,
    ):
      for number, episode, knowledge in episodes:
        steps = rlds_forms.encoded_steps(episode, self._spec, knowledge)
        example = {'steps': steps, 'episode': number}
        encoded = self._info.features.encode_example(example)
        proto = serializer.get_tf_example(encoded)
        # Else the order of its fields is another in each process.
        file.write(proto.SerializeToString(deterministic=True))

  def finish(self, counts: Sequence[int]) -> None:
    """Writes what makes a dataset of all parts; processes that do it at once may.

    Args:
      counts: episodes of each part.
    """
    sizes = [self.path(index).stat().st_size for index in range(self._num_parts)]
    split = tfds.core.SplitInfo(
      name=_SPLIT,
      shard_lengths=list(counts),
      num_bytes=sum(sizes),
      filename_template=self._template,
    )
    self._info.set_splits(tfds.core.SplitDict([split]))
    place = self._folder / 'description'
    remove_abandoned(place)
    partial = place.with_name(f'{place.name}.{PARTIAL}{writer_name()}')
    partial.mkdir()
    try:
      self._info.write_to_directory(partial)
      spec = json.dumps(self._spec.to_dict(), indent=2) + '\n'
      (partial / 'environment.json').write_text(spec)
      # Without the last one the folder is none of TFDS's.
      for path in sorted(
        partial.iterdir(), key=lambda p: p.name == 'dataset_info.json'
      ):
        os.replace(path, self._folder / path.name)
    finally:
      shutil.rmtree(partial, ignore_errors=True)
