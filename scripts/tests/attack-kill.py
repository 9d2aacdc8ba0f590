#!/usr/bin/env python3
"""attack-kill.py kill COUNT SECONDS CHAIN...: starts CHAIN so often, and kills one process of each.
attack-kill.py together COUNT SECONDS CHAIN...: starts them all at once, and ends them by their input.

PROG, which CHAIN is to become, says that it is ready and waits to be told its status. All processes
of a chain hold the other end of its standard output: where that ends they are all gone, for which
they are given so many seconds.
"""

import collections
import concurrent.futures
import os
import random
import select
import signal
import subprocess
import sys
import time

PROG = ["/bin/sh", "-c", 'echo ready; read status; exit "$status"']
WORKERS = 8
PATIENCE = float(sys.argv[3])


def start(chain):
    return subprocess.Popen(chain + PROG, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def has_ended(stream, seconds):
    """Whether all who hold the other end of a pipe are gone."""
    deadline = time.monotonic() + seconds
    while select.select([stream], [], [], max(0, deadline - time.monotonic()))[0]:
        if not os.read(stream.fileno(), 4096):
            return True
    return False


def line_of(pid):
    """A process, its child, the child of that, and so on."""
    line = [pid]
    while True:
        try:
            with open(f"/proc/{line[-1]}/task/{line[-1]}/children", encoding="ascii") as file:
                children = file.read().split()
        except OSError:
            return line
        if not children:
            return line
        line.append(int(children[0]))


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "gone"


def kill_one(line):
    """Kills one of the processes, if it still is what it was when the line was read."""
    index = random.randrange(len(line))
    try:
        victim = os.pidfd_open(line[index])
    except ProcessLookupError:
        return None
    try:
        # Its number is not another's by now, who may not be ours.
        if line_of(line[0])[: index + 1] != line[: index + 1]:
            return None
        name = name_of(line[index])
        signal.pidfd_send_signal(victim, signal.SIGKILL)
        return f"{index}:{name}"
    except ProcessLookupError:
        return None
    finally:
        os.close(victim)


def started_and_killed(chain, longest):
    """How far the chain had come, who was killed, and what was wrong with how it ended."""
    process = start(chain)
    time.sleep(random.uniform(0, longest))
    line = line_of(process.pid)
    stage = name_of(line[-1])
    killed = kill_one(line)
    # Who has not been killed is told to end only if nobody was: else it is to notice by itself.
    if killed is None:
        process.kill()
    wrong = None
    if not has_ended(process.stdout, PATIENCE):
        wrong = f"{stage}, killed {killed}: {[name_of(pid) for pid in line]} live on"
        process.stdin.close()
    status = process.wait(PATIENCE)
    first_was_killed = killed is None or killed.startswith("0:")
    if wrong is None and status != (-signal.SIGKILL if first_was_killed else 128 + signal.SIGKILL):
        wrong = f"{stage}, killed {killed}: status {status}, {process.stderr.read()}"
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
    return stage, killed, wrong


def time_to_start(chain):
    """Until PROG runs, while as many others start."""
    def one(_):
        begin = time.monotonic()
        process = start(chain)
        process.stdout.readline()
        taken = time.monotonic() - begin
        process.communicate(b"0\n")
        return taken

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return sorted(pool.map(one, range(4 * WORKERS)))[2 * WORKERS]


def kill(count, chain):
    longest = 1.3 * time_to_start(chain)
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(lambda _: started_and_killed(chain, longest), range(count)))
    for text, column in (("stage", 0), ("killed", 1)):
        counts = collections.Counter(result[column] for result in results)
        for name, number in counts.most_common():
            print(f"{text} {name} {number}")
    for _, _, wrong in results:
        if wrong:
            print(f"wrong {wrong}")


def together(count, chain):
    chains = [start(chain) for _ in range(count)]
    ready = sum(process.stdout.readline() == b"ready\n" for process in chains)
    print(f"ready {ready}")
    for number, process in enumerate(chains):
        try:
            process.stdin.write(b"%d\n" % (number % 100))
            process.stdin.close()
        except BrokenPipeError:
            pass
    ended = 0
    for number, process in enumerate(chains):
        right = has_ended(process.stdout, PATIENCE) and process.wait(PATIENCE) == number % 100
        errors = process.stderr.read()
        if right and not errors:
            ended += 1
        else:
            print(f"wrong {number}: status {process.returncode}, {errors}")
    print(f"ended {ended}")


{"kill": kill, "together": together}[sys.argv[1]](int(sys.argv[2]), sys.argv[4:])
