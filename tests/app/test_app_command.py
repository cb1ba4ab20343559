"""The command line of the page, as far as it goes without the package that serves it."""

import socket
import sys
import types

import pytest

from drpca.app import command
from drpca.app.command import is_loopback, main


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Records the call that would serve the page; works without nicegui."""
    calls = []
    server = types.ModuleType('drpca.app.server')
    server.serve = lambda store, samples, **options: calls.append((store, samples, options))
    monkeypatch.setitem(sys.modules, 'drpca.app.server', server)
    monkeypatch.setattr(command, 'find_spec', lambda name: object())
    monkeypatch.chdir(tmp_path)
    return calls


@pytest.fixture
def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return str(listener.getsockname()[1])


def test_defaults_keep_to_this_machine(served, free_port, capsys):
    assert main(['--port', free_port]) == 0
    ((store, samples, options),) = served
    assert options == {
        'host': '127.0.0.1', 'port': int(free_port), 'loopback': True, 'max_upload': 20 * 2**20, 'show': True,
    }  # fmt: skip
    assert len(samples) == 6
    assert any(label.startswith('IPI') for label in store.choices)
    assert capsys.readouterr().err == ''
    assert command.build_parser().parse_args([]).host == '127.0.0.1'


def test_another_host_is_warned_about(served, free_port, capsys):
    assert main(['--host', '0.0.0.0', '--port', free_port, '--no-browser', '--max-upload-mb', '3']) == 0
    options = served[0][2]
    assert (options['loopback'], options['show'], options['max_upload']) == (False, False, 3 * 2**20)
    error = capsys.readouterr().err
    assert error.startswith('warning: --host 0.0.0.0')
    assert error.count('\n') == 1


def test_loopback():
    assert all(map(is_loopback, ('127.0.0.1', '127.8.0.1', '::1', 'localhost')))
    assert not any(map(is_loopback, ('0.0.0.0', 'a.b')))


def test_port_in_use(served, capsys):
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        assert main(['--port', port]) == 2
    error = capsys.readouterr().err
    assert f'port {port}' in error
    assert 'Choose another --port' in error
    assert error.count('\n') == 1
    assert not served


def test_without_the_package(monkeypatch, capsys):
    monkeypatch.setattr(command, 'find_spec', lambda name: None)
    assert main([]) == 2
    assert capsys.readouterr().err == 'error: The page needs the package nicegui: pip install nicegui.\n'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--checkpoints', 'nowhere'], '--checkpoints nowhere is not a folder'),
        (['--data-root', 'nowhere'], 'nowhere'),
        (['--weights', 'W.pkl'], 'CONFIG=FILE'),
        (['--host', 'no such host'], 'Cannot listen on no such host'),
    ],
)
def test_bad_input(served, free_port, capsys, arguments, message):
    assert main(['--port', free_port, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count('\n') == 1
    assert not served


@pytest.mark.parametrize('arguments', [['--port', '0'], ['--port', '70000'], ['--max-upload-mb', '0']])
def test_bad_numbers(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.count('\n') == 1
