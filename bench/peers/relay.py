#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
"""confab relay against socat with its best buffer, and confab send against socat -u: interleaved pairs in one run.

usage: relay.py CONFAB [--size MIB] [--rounds N] [unix] [tcp-file] [send]

Prints one JSON object a figure: {"figure", "peer", "value", "unit", "ours", "ratio", "interval"}; ratio above 1: ours is better. The interval
is that of the paired ratios' median by bootstrap. In each round socat runs once with every buffer size; the size with the best median is
the one compared with (taking the best of each round would compare one of ours with the luckiest of four).
"""
import argparse, json, os, random, socket, statistics, subprocess, sys, tempfile, time

BUFFERS = [8192, 65536, 262144, 1048576]
CHUNK = 256 << 10
# Source and sink copy nothing (sendfile from memory, splice to /dev/null), so that it is the relay that is measured.
PAGES = os.memfd_create("pages")
os.write(PAGES, os.urandom(CHUNK))


def source(connect, size):
    """A child that sends size bytes and closes."""
    pid = os.fork()
    if pid:
        return pid
    try:
        sock = connect()
        while size > 0:
            size -= os.sendfile(sock.fileno(), PAGES, 0, min(size, CHUNK))
        sock.close()
    finally:
        os._exit(0)


def sink(listener, size):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        sock, _ = listener.accept()
        (read, write), nothing, got = os.pipe(), os.open("/dev/null", os.O_WRONLY), 0
        while n := os.splice(sock.fileno(), write, CHUNK):
            got += n
            while n > 0:
                n -= os.splice(read, nothing, n)
        code = 0 if got == size else 1
    finally:
        os._exit(code)


def wait_for(test):
    end = time.monotonic() + 10
    while not test():
        if time.monotonic() > end:
            sys.exit("relay.py: the relay does not listen")
        time.sleep(0.002)


def listens_tcp(port):
    wanted = ":%04X" % port
    return any(line.split()[1].endswith(wanted) and line.split()[3] == "0A" for line in open("/proc/net/tcp") if ":" in line.split()[1])


def unix_to_unix(command, size, folder):
    a, b = folder + "/a", folder + "/b"
    for path in (a, b):
        if os.path.exists(path):
            os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(b)
    listener.listen()
    relay = subprocess.Popen(command(a, b))
    wait_for(lambda: os.path.exists(a))

    def connect():
        sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                sock.connect(a)
                return sock
            except ConnectionRefusedError:
                time.sleep(0.002)

    to = sink(listener, size)
    begin = time.monotonic()
    source(connect, size)
    good = os.waitpid(to, 0)[1] == 0
    seconds = time.monotonic() - begin
    relay.wait()
    os.wait()
    listener.close()
    if not good:
        sys.exit("relay.py: bytes are missing after " + " ".join(command(a, b)))
    return size / seconds / 2**20


PORT = [random.randrange(20000, 30000)]


def tcp_to_file(command, size, folder):
    PORT[0] += 1
    port, path = PORT[0], folder + "/out"
    if os.path.exists(path):
        os.unlink(path)
    os.sync()
    with open(path, "wb") as out:
        relay = subprocess.Popen(command(port), stdin=subprocess.DEVNULL, stdout=out)
        wait_for(lambda: listens_tcp(port))
        begin = time.monotonic()
        source(lambda: socket.create_connection(("127.0.0.1", port)), size)
        relay.wait()
        seconds = time.monotonic() - begin
        os.wait()
    if os.path.getsize(path) != size:
        sys.exit("relay.py: bytes are missing after " + " ".join(command(port)))
    os.unlink(path)
    return size / seconds / 2**20


def one_send(command, folder, times=50):
    path = folder + "/s"
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(times)
    begin = time.monotonic()
    for _ in range(times):
        subprocess.run(command(path), input=b"one message", check=True)
        sock, _ = listener.accept()
        if sock.recv(100) != b"one message":
            sys.exit("relay.py: the message did not arrive")
        sock.close()
    listener.close()
    return (time.monotonic() - begin) / times * 1e6


def best(rounds):
    """Of rounds of one figure per buffer size: the best size and its figures."""
    columns = list(zip(*rounds))
    i = max(range(len(BUFFERS)), key=lambda i: statistics.median(columns[i]))
    return "socat -b %d" % BUFFERS[i], columns[i]


def report(figure, peer, unit, theirs, ours, more_is_better):
    ratios = [o / t if more_is_better else t / o for o, t in zip(ours, theirs)]
    medians = sorted(statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(1000))
    print(json.dumps({"figure": figure, "peer": peer, "value": round(statistics.median(theirs)), "unit": unit,
                      "ours": round(statistics.median(ours)), "ratio": round(statistics.median(ratios), 2),
                      "interval": [round(medians[25], 2), round(medians[974], 2)]}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("confab")
    parser.add_argument("what", nargs="*", default=["unix", "tcp-file", "send"])
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", default=None)
    args = parser.parse_intermixed_args()
    size = args.size << 20
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        if "unix" in args.what:
            ours, theirs = [], []
            for _ in range(args.rounds):
                ours.append(unix_to_unix(lambda a, b: [args.confab, "relay", "--listen", "--count=1", "unix://" + a, "unix://" + b], size, folder))
                each = [unix_to_unix(lambda a, b: ["socat", "-b", str(n), "UNIX-LISTEN:" + a, "UNIX-CONNECT:" + b], size, folder) for n in BUFFERS]
                theirs.append(each)
            name, theirs = best(theirs)
            report("relay unix to unix", name, "MiB/s", theirs, ours, True)
        if "tcp-file" in args.what:
            ours, theirs = [], []
            for _ in range(args.rounds):
                ours.append(tcp_to_file(lambda port: [args.confab, "relay", "--listen", "--count=1", "tcp://127.0.0.1:%d" % port, "stdio://"], size, folder))
                each = [tcp_to_file(lambda port: ["socat", "-u", "-b", str(n), "TCP-LISTEN:%d" % port, "STDOUT"], size, folder) for n in BUFFERS]
                theirs.append(each)
            name, theirs = best(theirs)
            report("relay tcp to a file", name + " -u", "MiB/s", theirs, ours, True)
        if "send" in args.what:
            ours, theirs = [], []
            for _ in range(args.rounds):
                ours.append(one_send(lambda path: [args.confab, "send", "unix://" + path], folder))
                theirs.append(one_send(lambda path: ["socat", "-u", "STDIN", "UNIX-CONNECT:" + path], folder))
            report("send one message", "socat -u", "us", theirs, ours, False)


main()
