"""Work in parts, in this process and on real Dask workers, some of which are killed."""

import os
import signal
import threading

import pytest

from covid_tfds.common import parts
from covid_tfds.common.errors import UsageError
from covid_tfds.common.parts import run_parts
from tests.fakes.cluster import cluster_of
from tests.fakes.part_tasks import Part


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "logs").mkdir()
    with cluster_of(tmp_path / "logs", workers=2) as cluster:
        yield cluster


@pytest.fixture
def calls(tmp_path):
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


def of_numbers(folder, count, **faults):
    return {number: Part(folder, number, **faults) for number in range(count)}


def test_parts_run_in_order_in_this_process(calls):
    results = list(run_parts(of_numbers(calls, 3)))
    assert [(result.number, result.values["pid"], result.error) for result in results] == [
        (number, os.getpid(), None) for number in range(3)
    ]


@pytest.mark.parametrize(("failures", "fails"), [(1, False), (2, True)])
def test_a_part_that_raises_is_tried_twice_and_the_others_go_on(calls, failures, fails):
    work = of_numbers(calls, 3) | {1: Part(calls, 1, failures=failures)}
    results = {result.number: result for result in run_parts(work)}
    assert len(list(calls.glob("1-*"))) == 2
    assert (results[1].error is not None) == fails
    assert results[0].error is None
    assert results[2].error is None


def test_an_error_that_the_user_can_mend_ends_the_work():
    def full() -> dict:
        raise UsageError("the disk is full")

    with pytest.raises(UsageError, match="disk is full"):
        list(run_parts({0: full}))


@pytest.mark.slow
def test_both_workers_take_part_and_a_failing_part_does_not_stop_the_others(cluster, calls):
    work = of_numbers(calls, 12, seconds=0.3) | {5: Part(calls, 5, failures=2)}
    results = {result.number: result for result in run_parts(work, cluster.address)}
    assert sorted(results) == list(range(12))
    assert [number for number, result in results.items() if result.error] == [5]
    assert "part 5" in results[5].error
    pids = {result.values["pid"] for result in results.values() if not result.error}
    assert pids == {worker.pid for worker in cluster.workers}


@pytest.mark.slow
def test_a_part_whose_worker_is_killed_goes_to_the_other_worker(cluster, calls):
    work = of_numbers(calls, 6) | {0: Part(calls, 0, failures=1, kills=True)}
    results = {result.number: result for result in run_parts(work, cluster.address)}
    assert sorted(results) == list(range(6))
    assert not any(result.error for result in results.values())
    assert len(list(calls.glob("0-*"))) == 2
    assert sum(worker.poll() is None for worker in cluster.workers) == 1


@pytest.mark.slow
def test_without_workers_it_waits_with_a_line_and_goes_on_when_one_comes(cluster, calls, capfd):
    for worker in cluster.workers:
        worker.kill()
    results = run_parts(of_numbers(calls, 2), cluster.address, patience=120)
    timer = threading.Timer(4, cluster.add_worker)
    timer.start()
    try:
        assert {result.number for result in results} == {0, 1}
    finally:
        timer.join()
    assert cluster.address in capfd.readouterr().err


@pytest.mark.slow
def test_patience_ends_the_wait_for_a_worker(cluster, calls, capfd):
    for worker in cluster.workers:
        worker.kill()
    with pytest.raises(UsageError, match="2 parts"):
        list(run_parts(of_numbers(calls, 2), cluster.address, patience=2))
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_a_lost_scheduler_is_one_line(cluster, calls, capfd):
    results = run_parts(of_numbers(calls, 40, seconds=0.5), cluster.address, patience=5)
    next(results)
    cluster.scheduler.send_signal(signal.SIGKILL)
    with pytest.raises(UsageError, match="scheduler"):
        list(results)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_a_worker_with_other_code_is_named(cluster, calls, monkeypatch):
    monkeypatch.setattr(parts, "code_version", lambda: "another")
    with pytest.raises(UsageError, match=r"worker \S+:\d+"):
        list(run_parts(of_numbers(calls, 2), cluster.address))


@pytest.mark.slow
def test_a_worker_without_the_packages_is_one_line(tmp_path, calls):
    (tmp_path / "logs").mkdir()
    (tmp_path / "empty").mkdir()
    with cluster_of(tmp_path / "logs", workers=0) as cluster:
        cluster.add_worker(PYTHONPATH=str(tmp_path / "empty"), PYTHONSAFEPATH="1")
        cluster.wait_for_workers(1)
        with pytest.raises(UsageError, match="package"):
            list(run_parts(of_numbers(calls, 1), cluster.address))


def test_no_scheduler_there_is_one_line(calls, monkeypatch):
    monkeypatch.setattr(parts, "CONNECT_SECONDS", 0.5)
    with pytest.raises(UsageError, match=r"tcp://127\.0\.0\.1:9"):
        list(run_parts(of_numbers(calls, 1), "tcp://127.0.0.1:9"))
