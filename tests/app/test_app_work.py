"""The queue in which detectors run."""

import asyncio
import threading

import pytest

from drpca.app.work import WorkQueue
from drpca.errors import UserError
from drpca.evaluation.functional import ratio


@pytest.fixture
def queue():
    queue = WorkQueue(workers=2, waiting=2)
    yield queue
    queue.close()
    assert not any(thread.is_alive() for thread in queue._threads)


def result(job):
    return asyncio.run(asyncio.wait_for(job.result(), 20))


class Gate:
    """A run that says when it is under way, and waits until it is let through."""

    def __init__(self):
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, job):
        self.entered.set()
        assert self.opened.wait(20)
        return 'through'


def test_a_slow_run_leaves_others_a_thread(queue):
    slow, quick = Gate(), Gate()
    waits = queue.submit('one', slow)
    assert slow.entered.wait(20)
    quick.opened.set()
    job = queue.submit('two', quick)
    assert result(job) == 'through'
    assert waits.seconds > 0
    slow.opened.set()
    assert result(waits) == 'through'


def test_a_visitor_has_one_run_and_the_newest_counts(queue):
    first, second, third = Gate(), Gate(), Gate()
    jobs = [queue.submit('one', first)]
    assert first.entered.wait(20)
    jobs += [queue.submit('one', second), queue.submit('one', third)]
    third.opened.set()
    assert [job.cancelled for job in jobs] == [True, True, False]
    assert [result(job) for job in jobs[:2]] == [None, None], 'at once, though the first still runs'
    assert queue.position(jobs[2]) == 1, 'the other thread is left to other visitors'
    first.opened.set()
    assert result(jobs[2]) == 'through'
    assert not second.entered.is_set()


def test_places_and_the_end_of_the_queue(queue):
    gates = [Gate() for _ in range(4)]
    jobs = []
    for number, gate in enumerate(gates):
        jobs.append(queue.submit(number, gate))
        if number < 2:
            assert gate.entered.wait(20)
    assert [queue.position(job) for job in jobs] == [0, 0, 1, 2]
    with pytest.raises(UserError, match='2 runs of other visitors wait already'):
        queue.submit('another', Gate())
    queue.cancel(2)
    assert result(jobs[2]) is None
    assert queue.position(jobs[3]) == 1
    for gate in gates:
        gate.opened.set()
    assert [result(job) for job in jobs] == ['through', 'through', None, 'through']


def test_cancelling_ends_the_computation(queue):
    entered = threading.Event()
    ended = []

    def endless(job):
        try:
            job.report('counts', 1, 4, partial='some')
            while True:
                entered.set()
                ratio(1, 2, 3)  # any function of the project
        finally:
            ended.append(job.step)

    job = queue.submit('one', endless)
    assert entered.wait(20)
    assert (job.share, job.partial) == (0.25, 'some')
    job.cancel()
    assert result(job) is None
    assert result(queue.submit('one', lambda job: 'next')) == 'next'
    assert ended == ['counts']


def test_a_module_is_imported_as_a_whole(queue):
    """One that was registered by half would be refused ever after."""
    code = compile('def register(): done.append(1)\njob.cancelled = True\nregister()\nregister()', 'fake', 'exec')
    done, ended = [], threading.Event()

    def importing(job):
        try:
            exec(code, {'__name__': 'drpca.fake', 'job': job, 'done': done})
            ratio(1, 2, 3)
            done.append('went on')
        finally:
            ended.set()

    queue.submit('one', importing)
    assert ended.wait(20)
    assert done == [1, 1]


def test_what_goes_wrong_is_passed_on(queue):
    def wrong(job):
        raise UserError('no such thing')

    with pytest.raises(UserError, match='no such thing'):
        result(queue.submit('one', wrong))
    assert result(queue.submit('one', lambda job: 'next')) == 'next'
