"""Where CPU time is modelled, what counts it expires: profiling timers, POSIX timers, the limit of CPU time."""

from __future__ import annotations

from tests.system.experiment import Laboratory, experiment, host, python

PROFILE = """
import os, signal, time
ticks = []
signal.signal(signal.SIGPROF, lambda *_: ticks.append(time.process_time_ns()))
start = time.process_time_ns()
signal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)
while time.process_time_ns() < start + 105_000_000:
    os.getppid()
signal.setitimer(signal.ITIMER_PROF, 0)
print(len(ticks), min(ticks) - start >= 10_000_000)
time.sleep(1)
print(time.process_time_ns() < start + 200_000_000)
"""

LIMIT = """
import os, resource, signal
used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
resource.setrlimit(resource.RLIMIT_CPU, (used + 1, used + 3))
signal.signal(signal.SIGXCPU, lambda *_: print("told", flush=True))
while True:
    os.getppid()
"""

KEPT = """
import os, resource, threading, time
spent = []
def work():
    for _ in range(300):
        os.getppid()
    spent.append(time.process_time_ns())
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(time.process_time_ns() >= spent[0], flush=True)
child = os.fork()
if not child:
    work()
    print(time.clock_gettime_ns(~os.getppid() << 3 | 2) >= spent[0], flush=True)
    os._exit(0)
used = os.wait4(child, 0)[2].ru_utime
print(used >= 0.03, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime == used, os.times().children_user >= 0.03)
"""


def test_timers_and_limits_of_cpu_time_expire_where_it_is_modelled(laboratory: Laboratory) -> None:
    hosts = {
        "profiled": host(python(PROFILE)),
        "limited": host(python(LIMIT, expected_final_state={"signaled": "SIGKILL"})),
    }
    configuration = experiment(
        hosts,
        model_unblocked_syscall_latency=True,
        experimental={"unblocked_syscall_latency": "100 us", "max_unapplied_cpu_latency": "100 us"},
    )
    run = laboratory.run(configuration)
    assert run.stdout("profiled").splitlines() == ["10 True", "True"]
    assert run.stdout("limited").splitlines() == ["told", "told"]


def test_cpu_time_of_threads_that_ended_and_of_children_is_kept_where_it_is_modelled(laboratory: Laboratory) -> None:
    configuration = experiment(
        {"worker": host(python(KEPT))},
        model_unblocked_syscall_latency=True,
        experimental={"unblocked_syscall_latency": "100 us", "max_unapplied_cpu_latency": "100 us"},
    )
    run = laboratory.run(configuration)
    assert run.stdout("worker").splitlines() == ["True", "True", "True True True"]
