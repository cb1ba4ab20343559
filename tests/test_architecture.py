"""Who may import whom: the table of docs/architecture.md, held against the imports of every file."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Room → the rooms it may import, besides itself and the root's modules.
ROOMS = {
    'root': '',
    'visualization': '',
    'datasets': '',
    'evaluation': '',
    'models': '',
    'losses': 'models',
    'deploy': 'models',
    'baselines': 'datasets',
    'inference': 'deploy baselines datasets evaluation models visualization',
    'results': 'inference evaluation datasets visualization',
    'engine': 'deploy models losses datasets evaluation visualization',
    'reports': 'results inference evaluation datasets visualization',
    'studies': 'reports results engine inference deploy baselines models evaluation datasets visualization',
    'leaderboard': 'studies reports results engine inference deploy baselines evaluation datasets visualization',
}
# These show the others to people and import everything. Nothing below imports them.
FACES = ('app', 'cli', 'drpca', 'drpca.__main__')


def read_imports() -> dict[str, set[str]]:
    """Module → the modules of this project that it imports, for types or within functions included."""
    files = {}
    for path in sorted((ROOT / 'drpca').rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        files['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    imports: dict[str, set[str]] = {}
    for module, path in files.items():
        found = imports[module] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                package = '.'.join(path.relative_to(ROOT).parts[: -node.level]) if node.level else ''
                source = '.'.join(filter(None, (package, node.module)))
                names = {f'{source}.{alias.name}' for alias in node.names}
                found |= {name if name in files else source for name in names}
        imports[module] = {name for name in found if name in files} - {module}
    return imports


def room_of(module: str) -> str:
    """The room of a module; 'root' for the modules directly below drpca."""
    if module in FACES:
        return module
    name = module.split('.')[1]
    return name if (ROOT / 'drpca' / name).is_dir() else 'root'


@pytest.fixture(scope='module')
def imports():
    return read_imports()


def test_no_module_imports_itself_by_way_of_others(imports):
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(' -> '.join(error.args[1]))


def test_nothing_is_imported_from_above(imports):
    wrong = {}
    for module, found in imports.items():
        room = room_of(module)
        if room not in FACES:
            allowed = {room, 'root', *ROOMS[room].split()}
            wrong[module] = {name for name in found if room_of(name) not in allowed}
    assert not {module: names for module, names in wrong.items() if names}


def test_every_folder_is_a_room():
    folders = {path.parent.name for path in (ROOT / 'drpca').glob('*/*.py')}
    assert folders == {*ROOMS, 'app', 'cli'} - {'root'}


def test_the_table_in_the_documents_is_this_one():
    text = (ROOT / 'docs/architecture.md').read_text()
    for room, allowed in ROOMS.items():
        if room != 'root':
            (line,) = (line for line in text.splitlines() if line.startswith(f'| `{room}/`'))
            assert line.split('|')[3].replace(',', '').split() == (allowed.split() or ['—']), room
