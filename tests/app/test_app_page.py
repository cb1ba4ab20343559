"""The page itself: a simulated visitor, and the server over HTTP."""

import asyncio
import functools
import http.client
import io
import re
import socket
import sys
import threading
import time
import zipfile
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import cv2
import numpy as np
import pytest
from app_support import frame, running_page, save_run

pytest.importorskip('nicegui', reason="the page needs the extra 'app'")

from nicegui import ui
from nicegui.elements.upload_files import SmallFileUpload
from nicegui.testing import user_simulation
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from drpca.app import page as page_module
from drpca.app.choices import NATIVE, Choice, DetectorStore, list_choices
from drpca.app.page import Page
from drpca.app.samples import Sample
from drpca.app.work import WorkQueue
from tests.support import ROOT

LIMIT = 2**20
NETWORK = 'rpcanet_tiny, seed 0'
FILTER = 'TopHat, classical filter, paper preset'


def png(image):
    return cv2.imencode('.png', image)[1].tobytes()


class Visit:
    """A visitor's page in the simulation."""

    def __init__(self, user, pages):
        self.user, self.pages, self.page = user, pages, pages[-1]

    async def another(self, address):
        """Another tab of the same visitor."""
        await self.user.open(address)
        visitor = Visit(self.user, self.pages)
        await visitor.done()
        return visitor

    async def done(self):
        """Waits for the detector and the drawing."""
        for _ in range(600):
            await asyncio.sleep(0.05)
            if not self.page.spinner.visible and not self.page.detections.drawing.locked():
                await asyncio.sleep(0.05)
                return
        raise AssertionError('no result in 30 s')

    async def until(self, condition):
        """Waits for what a thread brings about, on a busy machine too."""
        for _ in range(600):
            if condition():
                return
            await asyncio.sleep(0.05)
        raise AssertionError('it did not come about in 30 s')

    async def send(self, name, content, upload=None):
        with self.user:
            await (upload or self.page.upload).handle_uploads([SmallFileUpload(name, 'image/png', content)])
        await asyncio.sleep(0.1)
        await self.done()

    async def set(self, element, value):
        with self.user:
            element.set_value(value)
        await asyncio.sleep(0.1)
        await self.done()

    def texts(self):
        """All that the page holds, as it is sent to the browser."""
        with self.user:
            return [repr(element._to_dict()) for element in self.user.client.elements.values()]


@functools.cache
def classical():
    """The choices without weights, whose configs are read once."""
    return {label: choice for label, choice in list_choices('nowhere').items() if choice.checkpoint is None}


@asynccontextmanager
async def visit(folder, address='/'):
    store = DetectorStore({NETWORK: Choice(NETWORK, None, save_run(folder)), **classical()})
    label = np.zeros((64, 64), bool)
    label[10:12, 20:22] = True
    samples = [
        Sample('first', 'synthetic', frame(), label[:40, :48]),
        Sample('second', 'synthetic', frame(64, 64), label),
    ]
    pages = []

    queue = WorkQueue()

    def root():
        pages.append(Page(store, samples, LIMIT, queue, ui.context.client.request.query_params))
        pages[-1].build()

    try:
        async with user_simulation(root) as user:
            await user.open(address)
            visitor = Visit(user, pages)
            await visitor.done()
            yield visitor
    finally:
        queue.close()


def visiting(test):
    """Runs an asynchronous test in a visit."""

    def run(tmp_path):
        async def inner():
            async with visit(tmp_path) as visitor:
                await test(visitor, tmp_path)

        asyncio.run(inner())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@visiting
async def test_a_result_is_there_at_once(visitor, folder):
    page = visitor.page
    assert page.status.text.startswith(f'{NETWORK} on first: 40 × 48 pixels')
    assert page.stages.content.visible
    assert page.stages.text.text.startswith('stage 2 of 2')
    assert page.stages.variables['background'].visible
    assert not page.stages.variables['noise'].visible, 'RPCANet has no noise'
    assert page.detections.score_map.picture.source.startswith('data:image/png;base64,')
    assert re.search(r'; against the label: IoU 0\.\d{3}, Pd [01] of 1, Fa ', page.detections.count.text)
    assert not page.failure.visible


@visiting
async def test_stages_are_leafed_through(visitor, folder):
    last = visitor.page.stages.variables['target'].picture.source
    await visitor.set(visitor.page.stages.stage, 1)
    assert visitor.page.stages.text.text.startswith('stage 1 of 2')
    assert visitor.page.stages.variables['target'].picture.source != last
    assert not visitor.page.stages.all_picture.source
    await visitor.set(visitor.page.stages.all_stages, True)
    await visitor.until(lambda: visitor.page.stages.all_picture.source.startswith('data:image/png'))


@visiting
async def test_detector_size_and_sample_are_chosen(visitor, folder):
    page = visitor.page
    assert page.analysis.scores.shape == (40, 48), 'as the frame came'
    assert page.detections.legend.text.startswith(
        'Positions and areas are in pixels of the frame, 40 × 48, found in a score map of 32'
    )
    await visitor.set(page.size, NATIVE)
    assert page.analysis.detection.map_scores.shape == (40, 48)
    assert 'found in' not in page.detections.legend.text
    await visitor.set(page.range, 'percentile 1 99')
    assert 'values 8' in page.status.text
    assert page.analysis.image.max() == 1
    page.range.value = 'auto'
    visitor.user.find('sample-1').click()
    await asyncio.sleep(0.1)
    await visitor.done()
    assert page.analysis.scores.shape == (64, 64)
    await visitor.set(page.detector, FILTER)
    assert page.status.text.startswith(f'{FILTER} on second')
    assert not page.stages.content.visible
    assert 'is a filter' in page.stages.note.text


@visiting
async def test_detectors_side_by_side_and_a_label_of_ones_own(visitor, folder):
    page = visitor.page
    assert not page.compare_view.card.visible
    await visitor.set(page.compare, [FILTER, 'PSTNN, classical RPCA, paper preset'])
    names = [row['detector'] for row in page.compare_view.table.rows]
    assert names == [NETWORK, FILTER, 'PSTNN, classical RPCA, paper preset']
    assert page.compare_view.table.rows[1]['Pd'] == '1.000'
    scores = page.analysis.scores
    label = np.zeros((40, 48), np.uint8)
    label[30, 30] = 255
    await visitor.send('label.png', png(label), page.label_upload)
    assert page.analysis.scores is scores, 'the detector did not run again'
    assert page.compare_view.table.rows[1] | {'seconds': ''} == {
        'detector': FILTER, 'IoU': '0.000', 'Pd': '0.000', 'Fa': '2.1e-03', 'found': 0, 'missed': 1,
        'false alarms': 1, 'detections': 1, 'seconds': '',
    }  # fmt: skip
    await visitor.set(page.detections.threshold, 0.05)
    assert page.compare_view.table.rows[1]['detections'] > 1
    await visitor.send('label.png', png(label[:20]), page.label_upload)
    await visitor.until(lambda: '20 × 48 pixels, the frame 40 × 48' in page.failure_text.text)
    await visitor.send('mine.png', png(frame(700, 640)))
    await visitor.set(page.compare, [FILTER])
    assert page.compare_view.faults.text.startswith(f'{FILTER}: TopHat works at the own size')


@visiting
async def test_several_frames(visitor, folder):
    page = visitor.page
    await visitor.set(page.detector, FILTER)
    page._begin_upload()
    read = page_module.read_frames
    page_module.read_frames = lambda name, *args: time.sleep(0.5 * (name == 'a.png')) or read(name, *args)
    for name, image in (('a.png', frame()), ('wrong.png', None), ('b.png', frame(30, 64)), ('b.tif', frame(32, 32))):
        if name == 'b.tif':  # dropped while the first are still on their way
            page._begin_upload()
        await visitor.send(name, b'no image' if image is None else png(image))
    with visitor.user:
        await page._finish_upload()
        await page._finish_upload()
    page_module.read_frames = read
    await visitor.until(lambda: not page.sequence.running and page.sequence.text.text == '3 frames')
    await visitor.done()
    assert 'wrong.png is not an image' in page.failure_text.text
    assert page.sequence.card.visible
    assert [row['frame'] for row in page.sequence.table.rows] == ['a', 'b', 'b_2']
    assert page.detections.title.text == f'{FILTER} on a'
    await visitor.set(page.sequence.slider, 2)
    assert page.detections.title.text == f'{FILTER} on b'
    assert page.sequence.place.text == '2 of 3: b'
    label = np.zeros((30, 64), np.uint8)
    label[10:12, 20:22] = 1
    await visitor.send('b.png', png(label), page.label_upload)
    assert page.sequence.text.text.startswith('3 frames; of 1 with a label: IoU ')
    assert (page.sequence.table.rows[1]['found'], page.sequence.table.rows[0]['found']) == (1, '–')
    await visitor.set(page.detections.threshold, 0.05)
    assert page.sequence.table.rows[0]['detections'] > 1
    before = dict(page.sequence.analyses)
    await visitor.set(page.range, 'minmax')
    await visitor.until(lambda: not page.sequence.running and len(page.sequence.analyses) == 3)
    assert page.sequence.analyses[0] is not before[0]
    visitor.user.find('download-all').click()
    response = await visitor.user.download.next(timeout=20)
    assert 'mat/b_2.mat' in zipfile.ZipFile(io.BytesIO(response.content)).namelist()
    visitor.user.find('sample-0').click()
    await asyncio.sleep(0.1)
    await visitor.done()
    assert page.detections.title.text == f'{FILTER} on first'


@visiting
async def test_a_newer_run_of_the_frames_ends_the_older_one(visitor, folder):
    sequence, analysis, newer = visitor.page.sequence, visitor.page.analysis, []
    sequence.take([Sample(name, 'upload', frame()) for name in 'abc'])
    draw = sequence.draw

    async def choose_another_and_draw(*args):
        if not newer:
            newer.append(asyncio.create_task(sequence.run(lambda *_: replace(analysis, name='new'), 0.5)))
            await asyncio.sleep(0)
        await draw(*args)

    sequence.draw = choose_another_and_draw
    await sequence.run(lambda *_: replace(analysis, name='old'), 0.5)
    await newer[0]
    assert [one.name for one in sequence.analyses.values()] == ['new'] * 3


@visiting
async def test_displays_and_charts(visitor, folder):
    page = visitor.page
    shown, scores = page.detections.overlay.picture.source, page.detections.score_map.picture.source
    await visitor.set(page.detections.display, 'clahe')
    assert page.detections.overlay.picture.source != shown
    await visitor.set(page.detections.map_of, 'logits')
    assert page.detections.score_map.picture.source != scores
    assert '..' in page.detections.score_map.range.text
    assert not page.closer.surface.figure['data'], 'nothing is drawn unseen'
    await visitor.set(page.closer.opened, True)
    page.detections._look(20.5 / 48, 10.5 / 40)
    assert page.detections.readout.text.startswith('row 10, column 20: value 250, grey 0.980')
    page.detections._pick(20.5 / 48, 10.5 / 40)
    assert page.closer.where.text.startswith('around row 10, column 20')
    (data,) = page.closer.surface.figure['data']
    assert data['z'][data['y'].index(10)][data['x'].index(20)] == pytest.approx(250 / 255, abs=1e-4)
    assert 'logit' in page.closer.kind.options
    await visitor.set(page.detector, FILTER)
    assert 'logit' not in page.closer.kind.options
    assert page.detections.map_of.value == 'scores'


@visiting
async def test_threshold_does_not_run_the_detector(visitor, folder):
    page = visitor.page
    await visitor.set(page.detector, FILTER)
    scores, boxes = page.analysis.scores, page.detections.overlay.picture.content
    mask = page.detections.mask.picture.source
    await visitor.set(page.detections.threshold, 0.05)
    assert page.analysis.scores is scores
    assert page.detections.overlay.picture.content != boxes
    assert page.detections.mask.picture.source != mask
    count = int(page.detections.count.text.split()[0])
    assert len(page.detections.table.rows) == count == len(page.analysis.detect(0.05).targets) > 1
    await visitor.set(page.detections.threshold, 0.99)
    (row,) = page.detections.table.rows
    assert (row['no.'], row['peak']) == (1, '1.000')


class Held:
    """Stands for a detector that takes its time."""

    def __init__(self, monkeypatch):
        self.entered, self.opened = threading.Event(), threading.Event()
        self.analyse = page_module.analyse
        monkeypatch.setattr(page_module, 'analyse', self)

    def __call__(self, *args):
        self.entered.set()
        assert self.opened.wait(30)
        return self.analyse(*args)


def test_old_results_are_dimmed_and_a_run_can_be_cancelled(tmp_path, monkeypatch):
    async def inner():
        async with visit(tmp_path) as visitor:
            page = visitor.page
            assert 'stale' not in page.results.classes
            assert page.detections.title.text == f'{NETWORK} on first'
            held = Held(monkeypatch)
            with visitor.user:
                page.detector.set_value(FILTER)
            await visitor.until(lambda: page.status.text.startswith(f'{FILTER} on first: loading the detector …'))
            await visitor.until(held.entered.is_set)
            assert page.progress.text.endswith(' s')
            assert 'stale' in page.results.classes
            assert page.results.props['aria-busy'] == 'true'
            assert page.detections.title.text == f'still {NETWORK} on first', 'old results keep their title'
            assert page.cancel.visible
            visitor.user.find('cancel').click()
            await visitor.until(lambda: page.status.text.startswith('Cancelled. Still shown:'))
            assert 'stale' in page.results.classes
            assert not page.cancel.visible
            held.opened.set()
            visitor.user.find('run').click()
            await asyncio.sleep(0.1)
            await visitor.done()
            assert page.detections.title.text == f'{FILTER} on first'
            assert 'stale' not in page.results.classes
            assert not page.again.visible

    asyncio.run(inner())


def test_two_tabs_and_what_an_address_says(tmp_path, monkeypatch):
    address = f'/?{urlencode({"detector": FILTER, "sample": "synthetic/second", "threshold": "0.3", "size": NATIVE})}'

    async def inner():
        async with visit(tmp_path, address) as visitor:
            page = visitor.page
            assert page.detections.title.text == f'{FILTER} on second'
            assert (page.detections.value, page.size.value) == (0.3, NATIVE)
            assert ', Pd 1 of 1, ' in page.detections.count.text
            held = Held(monkeypatch)
            visitor.user.find('sample-0').click()
            await visitor.until(held.entered.is_set)
            monkeypatch.setattr(page_module, 'analyse', held.analyse)
            other = await visitor.another('/?detector=nothing&threshold=2')
            assert other.page.detections.title.text == f'{NETWORK} on first', 'while the other tab waits'
            assert other.page.detections.value == 0.5
            assert 'Expected a threshold from 0 to 0.99' in other.page.failure_text.text
            assert "'nothing'" in other.page.failure_text.text, 'all that is wrong is told'
            assert Page(page.store, page.samples, LIMIT, page.queue, {'threshold': '0.999'})._begin_threshold() == 0.99
            held.opened.set()
            await visitor.done()
            assert page.detections.title.text == f'{FILTER} on first'
            assert page.detections.value == 0.3

    asyncio.run(inner())


def test_the_address_is_kept_up(tmp_path, monkeypatch):
    kept = []

    async def inner():
        async with visit(tmp_path) as visitor:
            monkeypatch.setattr(ui.navigate.history, 'replace', lambda url: kept.append(parse_qs(url[1:])))
            await visitor.set(visitor.page.detections.threshold, 0.25)
            assert kept[-1] == {'detector': [NETWORK], 'sample': ['synthetic/first'], 'threshold': ['0.25']}
            await visitor.set(visitor.page.range, 'percentile 1 99')
            assert kept[-1]['range'] == ['percentile 1 99']
            await visitor.send('mine.png', png(frame()))
            assert 'sample' not in kept[-1], 'an upload has no address'

    asyncio.run(inner())


@visiting
async def test_download(visitor, folder):
    await visitor.set(visitor.page.detections.threshold, 0.25)
    visitor.user.find('download').click()
    response = await visitor.user.download.next(timeout=10)
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    assert b'"threshold": 0.25' in archive.read('run.json')
    assert 'stages/first.png' in archive.namelist()


@visiting
async def test_uploads(visitor, folder):
    page = visitor.page
    await visitor.send('my frame.png', png(frame(50, 60, np.uint16)))
    assert page.status.text.startswith(f'{NETWORK} on my_frame: 50 × 60 pixels')
    assert page.detections.count.text.split(';') == [page.detections.count.text], 'an upload has no label'
    before = page.analysis
    for name, content, message in (
        ('text.png', b'no image', 'text.png is not an image'),
        ('huge.png', png(np.zeros((4097, 4096), np.uint8)), '4096 × 4097 pixels'),
        ('large.png', bytes(LIMIT + 1), 'files of up to 1 MB'),
    ):
        await visitor.send(name, content)
        await visitor.until(lambda message=message: message in page.failure_text.text)
        assert page.failure.visible
        assert page.analysis is before
    await visitor.send('fine.png', png(frame()))
    await visitor.until(lambda: page.analysis.name == 'fine')
    assert not page.failure.visible


@visiting
async def test_what_goes_wrong_is_told_without_paths(visitor, folder):
    page = visitor.page
    (folder / 'rpcanet_tiny/seed_0/best.pth').write_bytes(b'damaged')
    await visitor.set(page.size, NATIVE)
    assert page.failure_text.text.startswith('Cannot read checkpoint best.pth')
    assert page.status.text.startswith(f'Still shown: {NETWORK} on first')
    assert 'stale' in page.results.classes
    original = page_module.analyse
    page_module.analyse = lambda *args: Path('/nowhere/secret').read_bytes()
    try:
        await visitor.set(page.detector, FILTER)
    finally:
        page_module.analyse = original
    assert page.failure_text.text.startswith('Something went wrong')
    texts = visitor.texts()
    assert len(texts) > 50
    for secret in (str(folder), str(ROOT), '/nowhere', 'Traceback', sys.prefix):
        assert not any(secret in text for text in texts)


def wait_for(port):
    for _ in range(100):
        try:
            return socket.create_connection(('127.0.0.1', port)).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise AssertionError('the server does not listen')


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """The page in a process of its own; gives host and port."""
    folder = tmp_path_factory.mktemp('server')
    save_run(folder / 'checkpoints')
    with running_page(folder, '--max-upload-mb', '1') as (process, port):
        wait_for(port)
        yield ('127.0.0.1', port)
        assert process.poll() is None
        assert not (folder / '.nicegui').exists(), 'nothing is left in the folder'
        process.terminate()
        said, _ = process.communicate(timeout=10)
        assert 'Traceback' not in said, said


def request(server, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(*server, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode('utf-8', 'replace'), str(response.headers)
    finally:
        connection.close()


def upload_path(server):
    image, label = sorted(set(re.findall(r'/_nicegui/client/[\w-]+/upload/\d+', request(server, 'GET', '/')[1])))
    assert image != label
    return image


def form(content, name='one.png'):
    body = (
        f'--x\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
    ).encode()
    return body + content + b'\r\n--x--\r\n', {'Content-Type': 'multipart/form-data; boundary=x'}


def test_page_over_http(server):
    status, text, _ = request(server, 'GET', '/')
    assert status == 200
    assert 'rpcanet_tiny, seed 0' in text
    loaded = re.findall(r'(?:src|href|from|url)\s*[=(]?\s*["\']?(https?:)?//[^"\')\s]+', text)
    assert not loaded, 'nothing is fetched from elsewhere'


def test_answers_hold_no_folder_of_the_server(server):
    upload = upload_path(server)
    answers = [
        request(server, 'GET', '/'),
        request(server, 'GET', '/no/such/page'),
        request(server, 'GET', '/_nicegui/x/static/../../../etc/passwd'),
        request(server, 'GET', '/docs'),
        request(server, 'GET', '/openapi.json'),
        request(server, 'POST', upload, *form(png(frame()))),
        request(server, 'POST', upload, *form(b'no image')),
        request(server, 'POST', upload, b'no form', {'Content-Type': 'multipart/form-data'}),
        request(server, 'POST', '/', b''),
    ]
    assert answers[5][:2] == (200, '{"upload":"success"}')
    for status, text, headers in answers:
        for secret in (str(ROOT), str(Path.home()), sys.prefix, '/tmp/', 'Traceback', 'root:x'):
            assert secret not in text + headers, (status, secret)


def test_uploads_over_the_limit_are_refused_unread(server):
    path = upload_path(server)
    headers = {'Content-Type': 'multipart/form-data; boundary=x', 'Content-Length': str(2 * 2**20)}
    started = time.monotonic()
    status, text, _ = request(server, 'POST', path, b'', headers)
    assert (status, text) == (413, 'The file is too large.')
    assert time.monotonic() - started < 5, 'answered without waiting for the body'
    status, _, _ = request(server, 'POST', path, iter([b'a', b'b']), {'Transfer-Encoding': 'chunked'})
    assert status == 411


def test_forms_without_a_file_are_refused(server):
    path = upload_path(server)
    text = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\ntext\r\n--x--\r\n'
    for body in (text, b'--x--\r\n', b''):
        headers = {'Content-Type': 'multipart/form-data; boundary=x'}
        assert request(server, 'POST', path, body, headers)[0] == 400, body


def test_no_other_page_may_frame_it(server):
    for method, path in (('GET', '/'), ('GET', '/no/such/page'), ('POST', '/')):
        headers = request(server, method, path, b'' if method == 'POST' else None)[2].lower()
        assert 'x-frame-options: deny' in headers
        assert "content-security-policy: frame-ancestors 'none'" in headers
        assert 'x-content-type-options: nosniff' in headers


SOCKET = '/_nicegui_ws/socket.io/?EIO=4&transport='


def test_sockets_from_other_origins_are_refused(server):
    own = f'http://127.0.0.1:{server[1]}'
    for origin, allowed in ((own, True), ('http://elsewhere.example', False), ('null', False)):
        status, _, headers = request(server, 'GET', f'{SOCKET}polling', headers={'Origin': origin})
        assert (status == 200) == allowed
        assert (f'access-control-allow-origin: {origin}' in headers.lower()) == allowed
        address = f'ws://127.0.0.1:{server[1]}{SOCKET}websocket'
        if allowed:
            with connect(address, origin=origin) as socket_:
                assert socket_.recv(5).startswith('0{')
        else:
            with pytest.raises(InvalidStatus):
                connect(address, origin=origin).close()


@pytest.mark.parametrize(
    'message',
    ['42["event",null]', '42["event",{}]', '42["handshake",{}]', '42["handshake",7]', '42["ack",{"client_id":[]}]',
     '42["log"]', '42[', '42{}', '4', '9', '', '45-1["x"]', '451-["a",{"_placeholder":true,"num":9}]', '42[["a"]]'],
)  # fmt: skip
def test_malformed_messages_leave_the_server_running(server, message):
    """The fixture sees to it that no traceback is printed."""
    with connect(f'ws://127.0.0.1:{server[1]}{SOCKET}websocket') as socket_:
        socket_.recv(5)
        socket_.send('40')
        socket_.recv(5)
        socket_.send(message)
        with suppress(ConnectionClosed, TimeoutError):
            socket_.recv(0.3)
    assert request(server, 'GET', '/')[0] == 200


def test_other_host_names_are_refused(server):
    assert request(server, 'GET', '/', headers={'Host': 'elsewhere.example'})[0] == 400
    assert request(server, 'GET', '/', headers={'Host': f'localhost:{server[1]}'})[0] == 200
