#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
"""commands.py CONFAB ROOT [NAME...]: the command from the outside, as a user has it: every command, every transport, errors, exit codes.

Each test is a function here, run in an empty folder of its own; what a test leaves in it of sockets and FIFOs fails the test.
PLANT in the environment plants a mistake between the command and the tests (a wrapper that changes what it answers), to see them fail.
"""
import base64, json, os, pathlib, re, shutil, signal, socket, stat, subprocess, sys, tempfile, threading, time

CONFAB = os.path.abspath(sys.argv[1])
ROOT = pathlib.Path(sys.argv[2]).resolve()
PLANT = os.environ.get("PLANT", "")
TESTS = []
LIMIT = 60  # seconds for what must happen: the machine may be busy
PORTS = iter(range(21000 + os.getpid() % 3000 * 10, 65000))


class Skip(Exception):
    pass


def test(function):
    TESTS.append(function)
    return function


def run(*words, input=None, code=0, timeout=LIMIT, env=None, **how):
    """Runs confab; checks the exit status; returns stdout as bytes. stderr is kept in run.words."""
    if input is None and "stdin" not in how:
        how["stdin"] = subprocess.DEVNULL
    done = subprocess.run([CONFAB, *words], input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                          env={**os.environ, **(env or {})}, **how)
    run.words = done.stderr.decode(errors="replace")
    result = done.returncode
    out = done.stdout
    if PLANT == "code" and result == 124:
        result = 1
    if PLANT == "data" and out:
        out = out[:-1] + bytes([out[-1] ^ 1])
    assert result == code, f"confab {' '.join(words)}: status {result}, not {code}: {run.words}{done.stdout[:200]}"
    return out


def start(*words, **how):
    how.setdefault("stdin", subprocess.DEVNULL)
    how.setdefault("stdout", tempfile.TemporaryFile())  # no pipe: nobody empties it before the end
    said = tempfile.TemporaryFile()
    process = subprocess.Popen([CONFAB, *words], stderr=said, **how)
    process.said = said
    process.printed = how["stdout"]
    return process


def end(process, code=0, timeout=LIMIT):
    process.wait(timeout)
    process.said.seek(0)
    err, out = process.said.read(), b""
    if process.printed.readable():
        process.printed.seek(0)
        out = process.printed.read()
    if PLANT == "data" and out:
        out = out[:-1] + bytes([out[-1] ^ 1])
    assert process.returncode == code, f"{process.args}: status {process.returncode}, not {code}: {err.decode()}"
    return out


def free_port(kind=socket.SOCK_STREAM):
    for port in PORTS:
        with socket.socket(socket.AF_INET, kind) as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def until(condition, what):
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit, f"waited {LIMIT} s for {what}"
        time.sleep(0.005)


def bound_inet(port, table):
    wanted = ":%04X" % port
    return any(line.split()[1].endswith(wanted) for line in open("/proc/net/" + table).readlines()[1:]
               if table == "udp" or line.split()[3] == "0A")


def listening(path):
    """A socket file is there before its listener listens: ask the kernel."""
    path = os.path.abspath(path)
    for line in open("/proc/net/unix").readlines()[1:]:
        fields = line.split()
        if fields[-1] == path and (int(fields[3], 16) & 0x10000 or fields[4] == "0002"):
            return True
    return False


def transports():
    """name -> (address, is it there already?)"""
    here = os.getcwd()
    tcp, udp, tcp6 = free_port(), free_port(socket.SOCK_DGRAM), free_port()
    name = f"confab-e2e-{os.getpid()}"
    yield "tcp", f"tcp://127.0.0.1:{tcp}", lambda: bound_inet(tcp, "tcp")
    yield "udp", f"udp://127.0.0.1:{udp}", lambda: bound_inet(udp, "udp")
    for kind in ("stream", "seqpacket", "datagram"):
        path = f"{here}/{kind}"
        yield f"unix {kind}", f"unix://{path}?type={kind}", lambda: listening(path)
    yield "unix abstract", f"unix://@{name}", lambda: any(line.endswith(f"@{name}\n") and int(line.split()[3], 16) & 0x10000 for line in open("/proc/net/unix").readlines()[1:])
    yield "fifo", f"fifo://{here}/fifo", lambda: os.path.exists(here + "/fifo")
    yield "mq", f"mq:///{name}", lambda: subprocess.run([CONFAB, "send", f"mq:///{name}?direction=send", "--deadline=1ns"],
                                                       stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL).returncode != 1 or True
    yield "shm", f"shm://{name}", lambda: listening(f"{os.environ['CONFAB_DIR']}/{name}.channel")
    key = 0x5E2E0000 + os.getpid()
    yield "sysv", f"sysv://{key}", lambda: any(line.split()[0] == str(key) for line in open("/proc/sysvipc/msg"))
    yield "tcp line", f"tcp://127.0.0.1:{tcp6}?frame=line", lambda: bound_inet(tcp6, "tcp")


def send_when_there(*words, **how):
    """mq has nothing to look at: try until the queue is there."""
    limit = time.monotonic() + LIMIT
    while True:
        try:
            return run("send", *words, **how)
        except AssertionError:
            if time.monotonic() > limit or not re.search("there is no|no queue|nobody|refused", run.words):
                raise
            time.sleep(0.02)


@test
def send_and_receive_on_every_transport():
    for name, address, there in transports():
        receiver = start("receive", "--listen", "--count", "1", "--deadline", f"{LIMIT}s", address)
        if name != "mq":
            until(there, name)
        send_when_there(address, "hello", "over", name, "--json")
        out = end(receiver)
        assert out == f"hello over {name} --json".encode(), (name, out)


@test
def standard_input_is_one_message():
    data = bytes(range(256)) * 16
    for name, address, there in transports():
        if name == "tcp line":
            continue
        receiver = start("receive", "--listen", "--count", "1", "--deadline", f"{LIMIT}s", address)
        if name != "mq":
            until(there, name)
        send_when_there(address, input=data)
        assert end(receiver) == data, name


@test
def a_large_stream_arrives_whole():
    data = os.urandom(5 << 20)
    for name, address, there in transports():
        if name not in ("tcp", "unix stream", "fifo"):
            continue
        receiver = start("receive", "--listen", "--count", "1", address)
        until(there, name)
        run("send", address, input=data)
        assert end(receiver) == data, name


@test
def lines():
    for name, address, there in transports():
        if name not in ("tcp", "unix seqpacket", "shm", "mq", "sysv"):
            continue
        receiver = start("receive", "--listen", "--lines", "--count", "3", "--deadline", f"{LIMIT}s", address)
        if name != "mq":
            until(there, name)
        send_when_there("--lines", address, input=b"one\n\nthree")
        assert end(receiver) == b"one\n\nthree\n", name


@test
def json_of_a_message():
    receiver = start("receive", "--listen", "--count=2", "--json", "sysv://%d" % (0x5E2E0000 + os.getpid()))
    send_when_there("--type=7", "sysv://%d" % (0x5E2E0000 + os.getpid()), "text \"é\"\n")
    run("send", "sysv://%d" % (0x5E2E0000 + os.getpid()), input=b"\xff\x00")
    first, second = map(json.loads, end(receiver).splitlines())
    assert (first["data"], first["encoding"], first["type"], first["size"]) == ('text "é"\n', "text", 7, 10), first
    assert (base64.b64decode(second["data"]), second["encoding"]) == (b"\xff\x00", "base64"), second


@test
def json_tells_the_peer():
    port = free_port(socket.SOCK_DGRAM)
    receiver = start("receive", "--listen", "--count=1", "--json", f"udp://127.0.0.1:{port}")
    until(lambda: bound_inet(port, "udp"), "udp")
    run("send", f"udp://127.0.0.1:{port}", "x")
    assert json.loads(end(receiver))["peer"].startswith("udp://127.0.0.1:")
    address = f"unix://{os.getcwd()}/s"
    receiver = start("receive", "--listen", "--count=1", "--json", address)
    until(lambda: listening("s"), "socket")
    run("send", address, "x")
    assert json.loads(end(receiver).splitlines()[0])["uid"] == os.getuid()


@test
def priorities_and_count():
    address = f"mq:///confab-e2e-p{os.getpid()}"
    receiver = start("receive", "--listen", "--count=1", f"--deadline={LIMIT}s", address + "?lifetime=persistent")
    send_when_there(address, "first")
    end(receiver)
    run("send", "--priority=1", "--count=3", address, "low")
    run("send", "--priority=5", address, "high")
    run("send", "--priority=40000", address, "too high", code=1)
    assert "priority 40000 is too high: 0 to 32767 there are" in run.words, run.words
    out = run("receive", "--lines", "--count=4", address)
    run("rm", address)
    assert out == b"high\nlow\nlow\nlow\n", out


@test
def exec_stdio_and_fd():
    assert run("receive", "exec://echo%20hi") == b"hi\n"
    assert run("send", "exec://cat", "word") == b"word"
    assert run("receive", "stdio://", input=b"through") == b"through"
    assert run("send", "stdio://", "word") == b"word"
    with open("file", "wb") as out:
        os.set_inheritable(out.fileno(), True)
        run("send", f"fd://{out.fileno()}", "kept", close_fds=False)
    assert open("file").read() == "kept"
    with open("file", "rb") as source:
        os.set_inheritable(source.fileno(), True)
        assert run("receive", f"fd://{source.fileno()}", close_fds=False) == b"kept"


@test
def the_status_of_a_command():
    for words in [("send", "exec://cat>kept;%20exit%203", "word"), ("receive", "exec://echo%20hi;%20exit%203"),
                  ("relay", "stdio://", "exec://cat>kept;%20exit%203")]:
        run(*words, code=1)
        assert "ended with status 3" in run.words, (words, run.words)
    run("send", "exec://cat>kept;%20kill%20-9%20$$", "word", code=1)
    assert "ended by signal 9" in run.words, run.words
    assert run("receive", "--count=1", "exec://yes?frame=line") == b"y"  # which had enough: its end is our doing


@test
def descriptors_travel():
    for address, path in [(f"unix://{os.getcwd()}/s?type=seqpacket", "s"), ("shm://s", os.environ["CONFAB_DIR"] + "/s.channel")]:
        receiver = start("receive", "--listen", "--count=1", "--json", address)
        until(lambda: listening(path), "socket")
        run("send", "--descriptor=0", address, "here", stdin=subprocess.DEVNULL)
        assert json.loads(end(receiver))["descriptors"] == 1, address


@test
def deadlines_end_with_124():
    here = os.getcwd()
    begin = time.monotonic()
    run("receive", "--listen", "--deadline=100ms", f"unix://{here}/s", code=124)
    assert "deadline passed: nothing came" in run.words, run.words
    queue = f"mq:///confab-e2e-d{os.getpid()}"
    run("receive", "--listen", "--deadline=10ms", queue + "?capacity=1&lifetime=persistent", code=124)
    run("send", queue, "fits")
    run("send", "--deadline=100ms", queue, "does not", code=124)
    said = run.words
    run("rm", queue)
    assert "deadline passed: there was no room" in said, said
    run("receive", "--listen", "-d", "0.1", f"fifo://{here}/f", code=124)
    run("receive", "--listen", "-d", "100ms", f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}", code=124)
    run("receive", "--listen", "-d", "0", f"unix://{here}/s", code=124)
    run("listen", "--deadline=100ms", f"unix://{here}/s", code=124)
    run("relay", "--listen", "--deadline=100ms", f"unix://{here}/s", "stdio://", code=124)
    assert time.monotonic() - begin < LIMIT


@test
def failures_in_words():
    here = os.getcwd()
    for words, says in [
        (("send", f"unix://{here}/none", "x"), "none"),
        (("send", f"tcp://127.0.0.1:{free_port()}", "x"), "refused|nobody"),
        (("send", "nothing://x", "x"), "nothing"),
        (("send", "tcp://127.0.0.1:1?fraem=line", "x"), "fraem"),
        (("receive", "pipe://"), "pipe"),
        (("send", "mq:///confab-e2e-not-there", "x"), "confab-e2e-not-there"),
        (("rm", f"fifo://{here}/none"), "none"),
        (("properties", "tcp://"), "tcp"),
    ]:
        assert run(*words, code=1) == b""
        assert run.words.startswith(f"confab {words[0]}: ") and re.search(says, run.words), run.words
        assert run.words.count("\n") == 1, run.words


@test
def wrong_usage_ends_with_2():
    for words in [(), ("nothing",), ("--nothing",), ("send",), ("send", "--nothing", "stdio://"), ("receive", "--count"),
                  ("receive", "--count=x", "stdio://"), ("receive", "--count=-1", "stdio://"), ("receive", "a", "b"),
                  ("receive", "--deadline=soon", "stdio://"), ("send", "--type=0", "stdio://", "x"), ("relay", "stdio://"),
                  ("relay", "--count=1", "stdio://", "stdio://"), ("completion", "csh"), ("help", "nothing"),
                  ("properties", "-o", "nothing"), ("properties", "--json", "--raw"), ("send", "--lines", "stdio://", "x"),
                  ("receive", "--json=x", "stdio://"), ("receive", "--l", "stdio://"),
                  *[("receive", "--deadline=" + text, "stdio://") for text in
                    ("", "1.", ".5", "5 s", "1e3", "-1", "0x10", "99999999999999999999", "9999999999h", "1ss", "1m1s")]]:
        assert run(*words, code=2) == b"", words
        assert run.words.startswith(("confab", "Usage: confab")), run.words


@test
def what_was_mistyped_is_named():
    for words, said in [(("sned", "stdio://"), "perhaps confab send is meant"), (("recieve",), "perhaps confab receive is meant"),
                        (("frobnicate",), "there is no command 'frobnicate'\n"),
                        (("send", "--dedline=1s", "stdio://"), "perhaps --deadline is meant"),
                        (("send", "--de", "stdio://"), "several options: --descriptor, --deadline"),
                        (("send", "--timeout", "1", "stdio://"), "there is no option '--timeout'; perhaps --deadline is meant"),
                        (("send", "--absurd", "1", "stdio://"), "there is no option '--absurd'\n"),
                        (("version", "more"), "'more' is too much: confab version\n"),
                        (("help", "nothing"), "Try: confab help\n")]:
        run(*words, code=2)
        assert said in run.words, (words, run.words)


@test
def what_the_kernel_chose_is_told():
    for words in [("listen", "tcp://127.0.0.1:0"), ("receive", "--listen", "udp://127.0.0.1:0"),
                  ("listen", "unix://@?type=seqpacket"), ("receive", "--listen", "signal://self?signal=USR1"), ("relay", "--listen", "tcp://127.0.0.1:0?frame=line", "stdio://")]:
        run(*words, "--deadline=100ms", code=124)
        told = re.search(r"listening on (\S+)\n", run.words)
        assert told and not re.search(r":0(\?|$)|@(\?|$)|self", told[1]), (words, run.words)
    run("listen", f"tcp://127.0.0.1:{free_port()}", "--deadline=100ms", code=124)
    assert "listening" not in run.words, run.words


@test
def standard_output_that_fails():
    for words in [("help",), ("properties",), ("receive", "exec://echo%20x"), ("version",), ("completion", "bash"),
                  ("receive", "--json", "exec://echo%20x")]:
        done = subprocess.run([CONFAB, *words], stdout=open("/dev/full", "w"), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert done.returncode == 1 and b"No space left" in done.stderr, (words, done)
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([CONFAB, *words], stdout=write, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        os.close(write)
        assert done.returncode == 1 and b"Broken pipe" in done.stderr, (words, done)


@test
def a_signal_takes_the_names_along():
    here = os.getcwd()
    for words in [("receive", "--listen", f"unix://{here}/n"), ("receive", "--listen", f"fifo://{here}/n"),
                  ("listen", f"unix://{here}/n"), ("listen", f"fifo://{here}/n"),
                  ("relay", "--listen", f"unix://{here}/n", "exec://cat")]:
        for number in (signal.SIGINT, signal.SIGTERM):
            process = start(*words)
            until(lambda: os.path.exists("n"), words)
            process.send_signal(number)  # at once: it may not be waiting yet
            process.wait(LIMIT)
            assert process.returncode == -number, (words, process.returncode)
            assert not os.path.exists("n"), words


@test
def listen_echoes_to_many():
    address = f"unix://{os.getcwd()}/s"
    server = start("listen", "--echo", "--quiet", address)
    until(lambda: listening("s"), "socket")
    clients = [socket.socket(socket.AF_UNIX) for _ in range(50)]
    for i, client in enumerate(clients):
        client.connect("s")
        client.sendall(b"client %d" % i)
    for i, client in enumerate(clients):
        assert client.recv(100) == b"client %d" % i
    # one that does not read its answers holds up nobody
    stuck = socket.socket(socket.AF_UNIX)
    stuck.connect("s")
    stuck.setblocking(False)
    sent = 0
    try:
        while True:
            sent += stuck.send(bytes(65536))
    except BlockingIOError:
        pass
    clients[0].sendall(b"still there")
    clients[0].settimeout(LIMIT)
    assert clients[0].recv(100) == b"still there"
    stuck.setblocking(True)
    stuck.settimeout(LIMIT)
    got = 0
    while got < sent:
        got += len(stuck.recv(1 << 20))
    server.terminate()
    end(server, -signal.SIGTERM)


@test
def listen_prints_who_sent_what():
    port = free_port(socket.SOCK_DGRAM)
    server = start("listen", "--echo", "--count=2", f"udp://127.0.0.1:{port}")
    until(lambda: bound_inet(port, "udp"), "udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(LIMIT)
        own = client.getsockname()[1]
        for data in (b"a\x1b\nb", b"\\"):
            client.sendto(data, ("127.0.0.1", port))
            assert client.recv(100) == data
    assert end(server).decode() == f"udp://127.0.0.1:{own}: a\\x1b\\nb\nudp://127.0.0.1:{own}: \\\\\n"


@test
def relay_between_streams():
    here, data = os.getcwd(), os.urandom(8 << 20)
    port, port2 = free_port(), free_port()
    for a, there_a, b, there_b in [
        (f"unix://{here}/a", lambda: listening("a"), f"unix://{here}/b", lambda: listening("b")),
        (f"tcp://127.0.0.1:{port}", lambda: bound_inet(port, "tcp"), f"unix://{here}/b", lambda: listening("b")),
        (f"unix://{here}/a", lambda: listening("a"), f"tcp://127.0.0.1:{port2}", lambda: bound_inet(port2, "tcp")),
    ]:
        receiver = start("receive", "--listen", "--count=1", b)
        until(there_b, b)
        relay = start("relay", "--listen", "--count=1", a, b)
        until(there_a, a)
        run("send", a, input=data)
        assert end(receiver) == data, (a, b)
        end(relay)


@test
def relay_into_files_and_pipes():
    data = os.urandom(8 << 20)
    for how in ("wb", "ab"):
        port = free_port()
        with open("out", how) as out:
            relay = start("relay", "--listen", "--count=1", f"tcp://127.0.0.1:{port}", "stdio://", stdout=out)
            until(lambda: bound_inet(port, "tcp"), "tcp")
            run("send", f"tcp://127.0.0.1:{port}", input=data)
            end(relay)
    assert open("out", "rb").read() == data * 2
    port = free_port()
    with open("out4", "wb") as out:
        reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=out)
    relay = start("relay", "--listen", "--count=1", f"tcp://127.0.0.1:{port}", "stdio://", stdout=reader.stdin)
    reader.stdin.close()
    relay.printed = open("/dev/null", "rb")
    until(lambda: bound_inet(port, "tcp"), "tcp")
    run("send", f"tcp://127.0.0.1:{port}", input=data)
    end(relay)
    assert reader.wait(5) == 0 and open("out4", "rb").read() == data
    with open("out", "rb") as source, open("out2", "wb") as out:
        run("relay", "--one-way", "stdio://", "exec://cat%20>out3", stdin=source)
    assert open("out3", "rb").read() == data * 2


@test
def relay_between_commands():
    """The first has long ended when the second ends: nothing was meant for it any more, so nothing failed."""
    assert run("relay", "exec://printf%20hello", "exec://cat%20>out") == b"" and run.words == ""
    assert open("out").read() == "hello"
    process = start("relay", "stdio://", "exec://echo%20answer", stdin=subprocess.PIPE)
    time.sleep(0.2)
    process.stdin.close()
    assert end(process) == b"answer\n"
    reader = subprocess.Popen(["head", "-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process = start("relay", "--one-way", "exec://yes", "stdio://", stdout=reader.stdin)
    reader.stdin.close()
    assert reader.stdout.read() == b"y\n" and reader.wait(LIMIT) == 0
    assert process.wait(LIMIT) == 1
    process.printed = open("/dev/null", "rb")


@test
def relay_both_ways_and_half_close():
    """The server answers only after the end of the question: a relay that closes both ways at the first end loses the answer."""
    address = f"unix://{os.getcwd()}/a"
    port = free_port()
    server = socket.create_server(("127.0.0.1", port))
    relay = start("relay", "--listen", "--count=3", address, f"tcp://127.0.0.1:{port}")
    until(lambda: listening("a"), "socket")
    for size in (0, 10, 3 << 20):
        client = socket.socket(socket.AF_UNIX)
        client.connect("a")
        client.settimeout(LIMIT)
        thread = threading.Thread(target=lambda: (client.sendall(b"q" * size), client.shutdown(socket.SHUT_WR)))
        thread.start()
        peer, _ = server.accept()
        question = b"".join(iter(lambda: peer.recv(1 << 20), b""))
        thread.join()
        assert question == b"q" * size
        threading.Thread(target=lambda: (peer.sendall(question[::-1] + b"answer"), peer.close())).start()
        answer = b"".join(iter(lambda: client.recv(1 << 20), b""))
        assert answer == question + b"answer", (size, len(answer))
        client.close()
    end(relay)


@test
def relay_full_in_both_directions():
    """Both peers write before they read: neither direction may wait for the other."""
    address, size = f"unix://{os.getcwd()}/a", 4 << 20
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("b")
    listener.listen()
    relay = start("relay", "--listen", "--count=1", address, f"unix://{os.getcwd()}/b")
    until(lambda: listening("a"), "socket")
    one = socket.socket(socket.AF_UNIX)
    one.connect("a")
    two, _ = listener.accept()
    got = {}

    def play(sock, name, letter):
        writer = threading.Thread(target=lambda: (sock.sendall(letter * size), sock.shutdown(socket.SHUT_WR)))
        writer.start()
        time.sleep(0.3)
        got[name] = b"".join(iter(lambda: sock.recv(65536), b""))
        writer.join()

    players = [threading.Thread(target=play, args=a) for a in ((one, "one", b"1"), (two, "two", b"2"))]
    [p.start() for p in players]
    [p.join(LIMIT) for p in players]
    assert got["one"] == b"2" * size and got["two"] == b"1" * size
    listener.close()
    os.unlink("b")
    end(relay)


@test
def relay_keeps_messages():
    here = os.getcwd()
    pairs = [("unix stream line", f"unix://{here}/a?frame=line", f"unix://{here}/b?type=seqpacket")]
    pairs += [("seqpacket", f"unix://{here}/a?type=seqpacket", f"unix://{here}/b?type=seqpacket")]
    for name, a, b in pairs:
        receiver = start("receive", "--listen", "--json", b)
        until(lambda: listening("b"), b)
        relay = start("relay", "--listen", "--count=1", a, b)
        until(lambda: listening("a"), a)
        run("send", "--lines", a, input=b"one\ntwo\nthree\n")
        messages = [json.loads(line)["data"] for line in end(receiver).splitlines()]
        assert messages == ["one", "two", "three"], (name, messages)
        end(relay)


@test
def relay_answers_who_asked():
    port, echo = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    server = start("listen", "--echo", "--quiet", f"udp://127.0.0.1:{echo}")
    relay = start("relay", "--listen", f"udp://127.0.0.1:{port}", f"udp://127.0.0.1:{echo}")
    until(lambda: bound_inet(port, "udp") and bound_inet(echo, "udp"), "udp")
    time.sleep(0.1)
    for i in range(3):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(LIMIT)
            client.sendto(b"ask %d" % i, ("127.0.0.1", port))
            assert client.recv(100) == b"ask %d" % i
    for process in (relay, server):
        process.terminate()
        end(process, -signal.SIGTERM)


@test
def relay_through_queues():
    key = 0x5E2F0000 + os.getpid()
    receiver = start("receive", "--listen", "--lines", "--count=2", f"sysv://{key}?lifetime=persistent")
    until(lambda: any(line.split()[0] == str(key) for line in open("/proc/sysvipc/msg")), "queue")
    run("relay", "exec://printf%20'a\\nb\\n'?frame=line", f"sysv://{key}")
    out = end(receiver)
    run("rm", f"sysv://{key}")
    assert out == b"a\nb\n", out


@test
def relay_descriptors():
    address = f"unix://{os.getcwd()}/a"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("b")
    listener.listen()
    relay = start("relay", "--listen", "--descriptors", "--count=1", address, f"unix://{os.getcwd()}/b")
    until(lambda: listening("a"), "socket")
    client = socket.socket(socket.AF_UNIX)
    client.connect("a")
    peer, _ = listener.accept()
    read, write = os.pipe()
    socket.send_fds(client, [b"x"], [write])
    data, fds, _, _ = socket.recv_fds(peer, 10, 4)
    assert data == b"x" and len(fds) == 1
    os.write(fds[0], b"through")
    assert os.read(read, 10) == b"through"
    client.close(), peer.close(), listener.close()
    os.unlink("b")
    end(relay)


@test
def relay_survives_a_peer_that_vanishes():
    """A client that resets, and a second address nobody listens on: told, and the next client is served."""
    address = f"unix://{os.getcwd()}/a"
    relay = start("relay", "--listen", address, f"unix://{os.getcwd()}/b")
    until(lambda: listening("a"), "socket")
    lost = socket.socket(socket.AF_UNIX)
    lost.connect("a")
    assert lost.recv(10) == b""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("b")
    listener.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("a")
    peer, _ = listener.accept()
    peer.close()
    client.settimeout(LIMIT)
    try:
        for _ in range(100):
            client.send(bytes(100000))
    except (BrokenPipeError, ConnectionResetError):
        pass
    client = socket.socket(socket.AF_UNIX)
    client.connect("a")
    peer, _ = listener.accept()
    client.sendall(b"served")
    assert peer.recv(10) == b"served"
    relay.terminate()
    end(relay, -signal.SIGTERM)
    listener.close()
    os.unlink("b")


@test
def removing():
    here = os.getcwd()
    os.mkfifo("f")
    run("rm", "--verbose", f"fifo://{here}/f")
    assert not os.path.exists("f")
    run("rm", f"fifo://{here}/f", code=1)
    run("rm", "--force", f"fifo://{here}/f")
    run("rm", f"unix://{here}/none", code=1)
    assert "there is no socket file of that name\n" in run.words, run.words
    open("file", "w").close()
    run("rm", f"fifo://{here}/file", code=1)
    assert os.path.exists("file")


@test
def properties_of_all():
    rows = [json.loads(line) for line in run("properties", "--json").splitlines()]
    schemes = {row["address"].split(":")[0] for row in rows}
    mechanisms = set(run("version").decode().splitlines()[1].split()[1:])
    assert schemes == mechanisms, schemes ^ mechanisms
    kinds = {}
    for row in rows:
        kinds.setdefault(row["address"], []).append(row["property"])
    assert len({tuple(names) for names in kinds.values()}) == 1, "not every mechanism has every property"
    raw = run("properties", "--raw", "-o", "value,property", "tcp://127.0.0.1:1").decode().splitlines()
    assert "stream\tboundaries" in raw, raw
    plain = run("properties", "tcp://127.0.0.1:1").decode().splitlines()
    assert plain[0].split() == ["address", "property", "value", "meaning"] and "\033" not in "".join(plain)


@test
def signals_are_listed():
    rows = {row["name"]: row for row in map(json.loads, run("signal", "--json").splitlines())}
    assert len(rows) == 31 + signal.SIGRTMAX - signal.SIGRTMIN + 1
    assert rows["SIGINT"]["number"] == 2 and rows["SIGINT"]["action"] == "terminate" and rows["SIGINT"]["caught"]
    assert not rows["SIGKILL"]["caught"] and rows["SIGRTMIN+3"]["queued"] and not rows["SIGUSR1"]["queued"]
    assert run("signal", "--raw", "-o", "number,action", "chld").split() == [b"17", b"ignore"]
    assert run("signal").split()[:3] == [b"number", b"name", b"action"]


@test
def signals_are_sent():
    process = subprocess.Popen(["sleep", "100"], start_new_session=True)
    run("signal", "0", str(process.pid))
    run("signal", "STOP", f"-{process.pid}")
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    run("signal", "--group", "cont", str(process.pid))
    assert os.WIFCONTINUED(os.waitpid(process.pid, os.WCONTINUED)[1])
    run("signal", "15", "--", f"-{process.pid}")
    assert process.wait(10) == -signal.SIGTERM
    run("signal", "0", str(process.pid), code=1)
    assert f"there is no process {process.pid}" in run.words, run.words
    for words, said in ((["NONE", "1"], "there is no such signal"), (["TREM", "1"], "perhaps TERM is meant"), (["sigtrem"], "perhaps TERM"),
                        (["1234", "TERM"], "the signal comes first: confab signal TERM 1234"), (["-9", "1234"], "TERM 1234"),
                        (["-l"], "confab signal alone lists them"), (["--queue=5", "TERM", "1"], "--value"),
                        (["TERM", "--group", "1"], "options come before"), (["0"], "a target is missing"),
                        (["--group", "TERM"], "a target is missing"), (["--value=1", "RTMIN"], "a target is missing"), (["TERM", "x"], "is no process"),
                        (["--value", "1", "TERM", "-77"], "a value cannot go to a group"), (["TERM", "--"], "no target")):
        run("signal", *words, code=2)
        assert said in run.words, run.words
    for target in ("0", "-0", "-1"):
        run("signal", "TERM", target, code=1)


@test
def signals_are_received():
    receiver = start("receive", "--listen", "--count", "3", "--json", "--deadline", "10s", "signal://self?signal=USR1,RTMIN+1")
    until(lambda: said(receiver).endswith("\n"), "the address")
    address = said(receiver).split()[-1]
    assert address == f"signal://{receiver.pid}?signal=USR1,RTMIN+1", address
    run("signal", "--value", "-5", "RTMIN+1", str(receiver.pid))
    run("send", "--type", str(signal.SIGRTMIN + 1), address, "42")
    os.kill(receiver.pid, signal.SIGUSR1)
    got = sorted(json.loads(line)["data"] for line in end(receiver).splitlines())
    assert got == ["", "-5", "42"], got
    receiver = start("receive", "--deadline", "200ms", "signal://self?signal=USR1")
    end(receiver, code=124)
    run("send", "signal://self?signal=USR1", "one", code=1)
    assert "one number" in run.words, run.words


def said(process):
    process.said.seek(0)
    return process.said.read().decode()


def commands():
    return re.findall(r"^  (\w+)  ", run("help").decode().split("Commands\n")[1], re.M)


@test
def help_of_everything():
    assert run("--help") == run("help")
    assert run("--version") == run("version")
    for command in commands():
        text = run("help", command).decode()
        assert text == run(command, "--help").decode() == run(command, "-h").decode()
        assert text.startswith(f"Usage: confab {command} ") and "\033" not in text
        assert all(len(line) <= 130 for line in text.splitlines()), command
    for scheme in run("version").decode().splitlines()[1].split()[1:]:
        assert run("help", f"{scheme}://").decode().startswith(f"{scheme}://"), scheme
        assert scheme in commands() or run("help", scheme) == run("help", f"{scheme}://"), scheme
    assert b"tcp://" in run("help", "addresses")


def table(command):
    """(options with letters and values, usage) as --help has them."""
    text = run("help", command).decode()
    options = re.findall(r"^  (?:-(\w), |    )--([\w-]+)(?: ([A-Z][A-Z,.]*))?  ", text, re.M)
    return {name: (letter, value) for letter, name, value in options}, text.splitlines()[0]


@test
def manual_agrees_with_the_table():
    for command in commands():
        page = ROOT / f"man/confab-{command}.1.scd"
        assert page.exists(), page
        text = page.read_text()
        options, usage = table(command)
        synopsis = re.search(r"^# SYNOPSIS\n\n(.*?)\n\n", text, re.M | re.S)[1]
        plain = re.sub(r"[*_\\]", "", synopsis)
        for word in re.findall(r"[A-Z]{2,}|\.\.\.", usage.split("[OPTION...]")[1]):
            assert word in plain, f"{page.name}: {word} is not in the SYNOPSIS"
        described = re.search(r"^# OPTIONS\n(.*?)(?=^# )", text, re.M | re.S)
        described = described[1] if described else ""
        found = {}
        for line in ";".join(re.findall(r"^(\*-.*)$", described, re.M)).split(";"):
            plain = re.sub(r"[*_\\]", "", line)
            letter = re.search(r"(?:^|\s)-(\w)\b", plain)
            name = re.search(r"--([\w-]+)(?:[ =]([A-Z][A-Z,.]*))?", plain)
            if not name:
                continue  # no options described
            found[name[1]] = (letter[1] if letter else "", name[2] or "")
        del options["help"]
        found.pop("help", None)
        assert found == options, f"{page.name}: {set(found.items()) ^ set(options.items())}"


@test
def completion_agrees_with_the_table():
    for shell in ("bash", "zsh", "fish"):
        script = run("completion", shell)
        for command in commands():
            for name in table(command)[0]:
                assert (f"-l {name}" if shell == "fish" and name != "help" else name).encode() in script, (shell, command, name)
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=script, check=True)
    open("completion", "wb").write(run("completion", "bash"))

    def complete(*words):
        line = "source ./completion; COMP_WORDS=(%s); COMP_CWORD=%d; _confab; printf '%%s\\n' \"${COMPREPLY[@]}\"" % (
            " ".join(f"'{w}'" for w in words), len(words) - 1)
        return subprocess.run(["bash", "-c", line], stdout=subprocess.PIPE, check=True, text=True).stdout.split()

    assert complete("confab", "rec") == ["receive"]
    assert "--count" in complete("confab", "receive", "--c")
    assert "tcp://" in complete("confab", "send", "t")
    assert complete("confab", "completion", "z") == ["zsh"]
    assert complete("confab", "run", "--model", "p") == complete("confab", "run", "-m", "p") == ["prefork"]


def held(file, command, **how):
    """A command that runs under the lock of @file until its standard input ends."""
    process = start("lock", "--create", file, "--", "sh", "-c", f"echo $$ >{file}.pid; {command}", stdin=subprocess.PIPE, **how)
    until(lambda: os.path.exists(f"{file}.pid") and open(f"{file}.pid").read().strip(), "the command")
    return process, int(open(f"{file}.pid").read())


@test
def lock_ends_with_the_status_of_its_command():
    assert run("lock", "--create", "file", "--", "echo", "-n", "--json") == b"--json"
    for command, code in (("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill $$", 143)):
        run("lock", "file", "--", "sh", "-c", command, code=code)
    run("lock", "file", "--", "no-such-program", code=127)
    assert "no-such-program" in run.words
    open("script", "w").close()
    run("lock", "file", "--", "./script", code=126)
    for words, said in ((["missing", "--", "true"], "--create"), (["/", "--", "true"], "a directory")):
        run("lock", *words, code=1)
        assert said in run.words, run.words
    for words in (["file"], ["--json", "file", "--", "true"], ["--show", "file", "--", "true"], ["--show", "--create", "other"], ["--show", "--range=1", "file"], ["--range=9-5", "file", "--", "true"],
                  ["--range=x", "file", "--", "true"], ["--range=1-2,", "file", "--", "true"], ["--range=" + "9" * 30, "file", "--", "true"]):
        run("lock", *words, code=2)
    # what is the command's is never taken for ours
    for words, said in ((["file", "cp", "-s", "file", "copy"], "put -- before the command"), (["file", "ls", "-l"], "stands behind --"),
                        (["-n", "file", "--", "true"], "--deadline 0"), (["--nonblock", "file", "--", "true"], "--deadline 0"),
                        (["-E", "5", "file", "--", "true"], "124"), (["--shraed", "file", "--", "true"], "perhaps --shared")):
        run("lock", *words, code=2)
        assert said in run.words, run.words
    run("lock", "--create", "no/file", "--", "true", code=1)
    assert "the folder it would be in is not there" in run.words, run.words
    os.symlink("file", "link")
    run("lock", "link", "--", "true", code=1)
    assert "--follow" in run.words
    run("lock", "--follow", "link", "--", "true")


@test
def lock_excludes_and_names_the_holder():
    holder, _ = held("file", "read x; exit 0")
    run("lock", "file", "--deadline", "0", "--", "true", code=124)
    assert f"pid {holder.pid} (confab) holds it" in run.words, run.words
    run("lock", "file", "--shared", "--deadline=10ms", "--", "true", code=124)
    waiter = start("lock", "file", "--range", "5-9", "--", "echo", "mine")
    until(lambda: sum(json.loads(line)["waits"] for line in run("lock", "--show", "--json", "file").splitlines()), "the wait")
    shown = [json.loads(line) for line in run("lock", "--show", "--json", "file").splitlines()]
    assert {"pid": holder.pid, "command": "confab", "mode": "exclusive", "kind": "description", "first": 0, "last": None,
            "waits": False} in [{k: v for k, v in one.items() if k != "seconds"} for one in shown], shown
    assert [(one["pid"], one["first"], one["last"]) for one in shown if one["waits"]] == [(waiter.pid, 5, 9)], shown
    assert all(one["seconds"] >= 0 for one in shown)
    holder.stdin.close()
    end(holder)
    assert end(waiter) == b"mine\n"
    assert run("lock", "--show", "--raw", "file") == b""
    # shared beside shared, ranges beside ranges
    holder = start("lock", "--shared", "file", "--", "sh", "-c", "echo >shared; read x", stdin=subprocess.PIPE)
    until(lambda: os.path.exists("shared"), "the shared lock")
    run("lock", "--shared", "file", "--", "true")
    holder.stdin.close()
    end(holder, code=1)  # read found no line
    holder = start("lock", "--range", "20-29,0-9,5-12", "file", "--", "sh", "-c", "echo >ranges; read x", stdin=subprocess.PIPE)
    until(lambda: os.path.exists("ranges"), "the ranges")
    run("lock", "--range", "13-19,30-", "file", "--", "true")
    for taken in ("0", "12", "20-", "29"):
        run("lock", "--range", taken, "--deadline=0", "file", "--", "true", code=124)
    assert run("lock", "--show", "--raw", "-o", "last,first", "file").split() and sorted(
        run("lock", "--show", "--raw", "-o", "first,last", "file").decode().splitlines()) == ["0\t12", "20\t29"]
    holder.stdin.close()
    end(holder, code=1)


@test
def lock_lasts_as_long_as_its_command():
    # confab is killed: the command goes on and keeps the lock
    holder, pid = held("file", "read x; exit 0")
    holder.kill()
    holder.wait()
    run("lock", "--deadline=0", "file", "--", "true", code=124)
    assert f"pid {pid} (sh)" in run.words, run.words
    holder.stdin.close()
    run("lock", "--deadline=10s", "file", "--", "true")
    # the command ends, and leaves something behind: the lock is free at once
    run("lock", "file", "--", "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $! >left")
    try:
        run("lock", "--deadline=0", "file", "--", "true")
    finally:
        os.kill(int(open("left").read()), signal.SIGKILL)


@test
def lock_hands_signals_on():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        holder, _ = held("file", "trap 'exit 5' TERM HUP INT; echo >file.ready; while :; do sleep 0.01; done")
        until(lambda: os.path.exists("file.ready"), "the trap")
        holder.send_signal(number)
        holder.stdin.close()
        end(holder, code=5)
        os.unlink("file.pid")
        os.unlink("file.ready")
    # two at once, as after a stop, are two
    holder, _ = held("file", "trap 'echo >>file.hup' HUP; trap 'echo >>file.term' TERM; trap 'exit 5' INT; echo >file.ready; while :; do sleep 0.01; done")
    until(lambda: os.path.exists("file.ready"), "the traps")
    holder.send_signal(signal.SIGSTOP)
    until(lambda: open(f"/proc/{holder.pid}/stat").read().split(") ")[1][0] == "T", "the stop")
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGCONT):
        holder.send_signal(number)
    until(lambda: os.path.exists("file.hup") and os.path.exists("file.term"), "both signals")
    holder.send_signal(signal.SIGINT)
    holder.stdin.close()
    end(holder, code=5)
    os.unlink("file.pid")
    # while it waits, it is it that ends
    holder, _ = held("file", "read x; exit 0")
    waiter = start("lock", "file", "--", "true")
    until(lambda: b'"waits": true' in run("lock", "--show", "--json", "file"), "the wait")
    waiter.send_signal(signal.SIGTERM)
    end(waiter, code=-signal.SIGTERM)
    holder.stdin.close()
    end(holder)


@test
def colours_only_for_terminals():
    if not shutil.which("script"):
        raise Skip("script is missing")

    def on_a_terminal(**env):
        return subprocess.run(["script", "-qec", f"{CONFAB} help send", "/dev/null"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                              env={**os.environ, "TERM": "xterm", **env}, check=True).stdout

    assert b"\033[1m" in on_a_terminal(NO_COLOR="")
    assert b"\033" not in on_a_terminal(NO_COLOR="1")
    assert b"\033" not in on_a_terminal(TERM="dumb")


def main():
    wanted = sys.argv[3:]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for function in TESTS:
        name = function.__name__
        if wanted and name not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="confab-") as folder:
            os.chdir(folder)
            os.environ["CONFAB_DIR"] = folder + "/shared"
            try:
                function()
                left = [f for f in os.listdir(folder) if stat.S_ISSOCK(os.lstat(f).st_mode) or stat.S_ISFIFO(os.lstat(f).st_mode)]
                assert not left, f"left behind: {left}"
                counts["passed"] += 1
                print(f"pass {name}")
            except Skip as reason:
                counts["skipped"] += 1
                print(f"skip {name}: {reason}")
            except Exception as error:
                counts["failed"] += 1
                print(f"FAIL {name}: {type(error).__name__}: {error}, line {error.__traceback__.tb_next and error.__traceback__.tb_next.tb_lineno}")
            sys.stdout.flush()
            os.chdir("/")
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return counts["failed"] > 0


sys.exit(main())
