"""The house's floors, enforced: who may import whom, and who may import what."""

import ast
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_SOURCES = sorted((_ROOT / 'alpt_jax').rglob('*.py'))

# An import points to a lower floor or stays in its folder (docs/design.md).
_FLOORS = {
  '__init__': 0,
  'types': 0,
  'errors': 0,
  'heap': 0,
  'pace': 0,
  'partial': 0,
  'specs': 1,
  'losses': 1,
  'returns': 1,
  'area_resize': 1,
  'report': 1,
  'models': 2,
  'methods': 2,
  'relabel': 3,
  'envs': 4,
  'data': 4,
  'training': 4,
  'acting': 5,
  'baselines': 5,
  'labelling': 5,
  'experiment': 6,
  'benchmark': 7,
  'launching': 7,
  'preflight': 7,
  'trained': 7,
  'bin': 8,
}
_TENSORFLOW_FILES = {
  f'data/{name}.py'
  for name in (
    'quiet_tensorflow',
    'rlds',
    'rlds_forms',
    'rlds_parts',
    'rl_unplugged',
    'stream',
  )
}
# Package -> the files that may import it.
_GATES = {
  'av': {'data/video.py', 'data/video_writing.py'},
  'minari': {'data/minari_sets.py'},
  'pyarrow': {'data/label_table.py'},
}


def _place(path: pathlib.Path) -> str:
  return path.relative_to(_ROOT / 'alpt_jax').as_posix()


def _room(place: str) -> str:
  return place.removesuffix('.py').partition('/')[0]


def _imports(tree: ast.AST, *, top_level: bool = False) -> list[str]:
  """Dotted names imported anywhere, or only when the module is loaded."""
  names = []
  for node in tree.body if top_level else ast.walk(tree):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, 'imports are absolute'
      names += [node.module, *(f'{node.module}.{alias.name}' for alias in node.names)]
  return names


def _imported_rooms(path: pathlib.Path) -> set[str]:
  names = [n.split('.') for n in _imports(ast.parse(path.read_text()))]
  ours = {parts[1] for parts in names if parts[0] == 'alpt_jax' and len(parts) > 1}
  return ours - {'__version__'}


@pytest.mark.parametrize('path', _SOURCES, ids=_place)
def test_an_import_points_to_a_lower_floor_or_stays_in_its_folder(path):
  room = _room(_place(path))
  for imported in _imported_rooms(path):
    assert imported == room or _FLOORS[imported] < _FLOORS[room], imported


def test_every_room_has_a_floor():
  assert {_room(_place(path)) for path in _SOURCES} <= set(_FLOORS)


def test_only_the_named_files_import_tensorflow():
  for path in _SOURCES:
    roots = {name.split('.')[0] for name in _imports(ast.parse(path.read_text()))}
    if roots & {'tensorflow', 'tensorflow_datasets', 'rlds'}:
      assert _place(path) in _TENSORFLOW_FILES


@pytest.mark.parametrize('package', _GATES)
def test_a_package_that_may_be_missing_is_imported_in_its_files_alone(package):
  for path in _SOURCES:
    roots = {name.split('.')[0] for name in _imports(ast.parse(path.read_text()))}
    assert package not in roots or _place(path) in _GATES[package], path


def test_what_may_be_missing_is_asked_for_only_when_used():
  """Training, acting and recording a pool must load where it is not installed."""
  gates = _TENSORFLOW_FILES.union(*_GATES.values())
  modules = {
    'alpt_jax.' + place.removesuffix('.py').replace('/', '.') for place in gates
  }
  for path in _SOURCES:
    if _place(path) not in gates:
      loaded = _imports(ast.parse(path.read_text()), top_level=True)
      assert not modules & set(loaded), _place(path)


def test_only_envs_imports_the_emulators():
  for path in _SOURCES:
    roots = {name.split('.')[0] for name in _imports(ast.parse(path.read_text()))}
    if roots & {'ale_py', 'gymnasium'}:
      assert _room(_place(path)) == 'envs'


def test_nothing_imports_a_binary():
  for path in _SOURCES:
    if _room(_place(path)) != 'bin':
      assert 'bin' not in _imported_rooms(path)


def test_configs_import_nothing_of_ours():
  """So that a config loads without JAX."""
  for path in (_ROOT / 'configs').rglob('*.py'):
    roots = {name.split('.')[0] for name in _imports(ast.parse(path.read_text()))}
    assert not roots & {'alpt_jax', 'jax', 'flax'}, path


def test_no_file_has_a_name_that_says_nothing():
  for path in _SOURCES:
    assert path.stem not in {'utils', 'common', 'helpers', 'misc'}


def test_binaries_are_short():
  for path in _SOURCES:
    if _room(_place(path)) == 'bin':
      assert len(path.read_text().splitlines()) <= 120, path
