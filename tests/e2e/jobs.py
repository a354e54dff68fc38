#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
"""jobs.py CONFAB [NAME...]: confab run from the outside: pipelines, statuses, redirections, ends. (At a terminal: terminal.py.)

Each test is a function here, run in an empty folder of its own. PLANT=status changes each exit status, PLANT=data what is printed, to see
the tests fail.
"""
import json, os, pathlib, signal, socket, subprocess, sys, tempfile, time

CONFAB = os.path.abspath(sys.argv[1])
PLANT = os.environ.get("PLANT", "")
SCALE = float(os.environ.get("HARNESS_TIMEOUT_SCALE", "1"))
LIMIT = 60 * SCALE
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def run(*words, code=0, **how):
    """confab run WORDS in a session of its own, so never at somebody's terminal; its standard output, its words in run.words."""
    how.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([CONFAB, "run", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT, start_new_session=True, **how)
    run.words = done.stderr.decode(errors="replace")
    status, out = done.returncode, done.stdout
    if PLANT == "status":
        status += 1
    if PLANT == "data" and out:
        out = out[:-1] + bytes([out[-1] ^ 1])
    assert status == code, f"{words}: status {status}, not {code}: {run.words}"
    return out


def start(*words, **how):
    return subprocess.Popen([CONFAB, "run", *words], stdin=subprocess.DEVNULL, start_new_session=True, **how)


def until(condition, what):
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit, f"waited for {what}"
        time.sleep(0.02)


def written(name, n=1):
    """The numbers in the first @n lines of a file that programs write."""
    path = pathlib.Path(name)
    until(lambda: path.exists() and path.read_text().count("\n") >= n, f"{n} lines in {name}")
    return [int(line) for line in path.read_text().splitlines()]


def gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] in "ZX"
    except OSError:
        return True


def all_gone(pids):
    until(lambda: all(gone(pid) for pid in pids), f"{pids} to end")


@test
def pipelines():
    assert run("printf 'b\\na\\nb\\n' | cut -c1-8 | sort | uniq | wc -l").strip() == b"2"
    assert int(run("ps -ef | cut -c1-8 | sort | uniq | wc -l")) > 0
    assert run("cat | cat | cat", stdin=None, input=b"x" * 1_000_000) == b"x" * 1_000_000
    many = " | ".join(["cat"] * 60)
    assert run(f"echo through | {many}") == b"through\n"


@test
def one_operand_is_a_text_and_more_are_a_command():
    assert run("echo 'a  b' | cat") == b"a  b\n"
    assert run("echo", "a  b", "|", "cat") == b"a  b | cat\n"
    assert run("--", "true") == b""
    assert b"no such program" in (run("--", "true | true", code=127), run.words.encode())[1]
    assert run("printf", "%s", "--json") == b"--json"


@test
def statuses_as_shells_have_them():
    for text, code in (("true", 0), ("false", 1), ("sh -c 'exit 7' | true", 7), ("sh -c 'exit 7' | sh -c 'exit 8' | true", 8),
                       ("true | sh -c 'kill -TERM $$' | true", 128 + 15), ("sh -c 'kill -KILL $$'", 128 + 9)):
        run(text, code=code)
        if PLANT == "" and not code & 128:
            shell = subprocess.run(["bash", "-c", f"set -o pipefail; {text}"], stderr=subprocess.DEVNULL)
            assert shell.returncode == code
    run("nosuchprogram", code=127)
    assert "nosuchprogram: no such program in PATH" in run.words
    run("true | nosuchprogram | touch made", code=127)
    assert not os.path.exists("made")
    pathlib.Path("plain").write_text("x")
    run("./plain", code=126)
    run("cat < nosuchfile", code=1)
    assert "nosuchfile" in run.words
    run("echo a; echo b", code=2)
    assert "byte 7" in run.words and "sh -c" in run.words
    run("cat 'a", code=2)
    run(code=2)


@test
def redirections():
    run("echo one > out")
    run("sh -c 'echo two; echo bad >&2' >> out 2>&1")
    assert pathlib.Path("out").read_bytes() == b"one\ntwo\nbad\n"
    assert run("sort -r < out") == b"two\none\nbad\n"
    assert run("sh -c 'echo a; echo b >&2' |& sort") == b"a\nb\n"
    os.mkdir("sub")
    run("--cwd", "sub", "pwd > where")
    assert pathlib.Path("sub/where").read_text().endswith("/sub\n")


@test
def a_text_means_what_it_means_in_sh():
    """Random texts: what is not refused prints the same as by dash."""
    random = __import__("random").Random(7)
    pieces = ["a", "b c", " ", "'", '"', "\\", "$", "\\\n", "x y", "'q r'", '"s t"', "\\'", '\\"', "#", "~", "=", "{}", "2>&1", "1>&2", ">&2", "| cat", "|cat ",
              "<in", "0<in", "2>/dev/null", "!", "]", "-", "\t", "%"]
    pathlib.Path("in").write_text("in\n")
    same = 0
    while same < 60:
        text = "printf '<%s>' " + "".join(random.choice(pieces) for _ in range(random.randrange(1, 9)))
        ours = subprocess.run([CONFAB, "run", text], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, start_new_session=True)
        if b"confab run: " in ours.stderr:
            continue  # refused, or a program's name that is none
        theirs = subprocess.run(["dash", "-c", text], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)
        assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr), (text, ours, theirs)
        same += 1


@test
def redirections_to_addresses():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        run(f"echo by tcp | cat > {address}")
        with listener.accept()[0] as peer:
            assert peer.makefile("rb").read() == b"by tcp\n"
        process = start(f"sort < {address}", stdout=subprocess.PIPE)
        with listener.accept()[0] as peer:
            peer.sendall(b"b\na\n")
        assert process.communicate(timeout=LIMIT)[0] == b"a\nb\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as box:
        box.bind("box")
        box.settimeout(LIMIT)
        run("printf 'one\\ntwo\\n' > 'unix://box?type=datagram'")
        assert [box.recv(100), box.recv(100)] == [b"one", b"two"]
    run("cat > tcp://127.0.0.1:1", code=1)
    assert "nobody listens there" in run.words


@test
def environment():
    os.environ["CONFAB_TEST_OLD"] = "old"
    assert run("--env", "A=1", "-e", "B=2", "-e", "CONFAB_TEST_OLD", "--", "sh", "-c", "echo $A$B$CONFAB_TEST_OLD.$PATH") == \
        f"12.{os.environ['PATH']}\n".encode()


@test
def json_of_every_stage():
    assert run("--json", "sh -c 'exit 3' | cat | sh -c 'cat; kill -9 $$'", code=137) == b""
    told = json.loads(run.words)
    with open("/dev/full", "w") as full: # a report that is lost is a failure; the programs' own goes before
        for command, code in (("true", 1), ("exit 7", 7)):
            done = subprocess.run([CONFAB, "run", "--json", "--", "sh", "-c", command], stdin=subprocess.DEVNULL, stderr=full, timeout=LIMIT)
            assert done.returncode == code, (command, done.returncode)
    assert told["status"] == 137 and told["timed_out"] is False and told["wall_ns"] > 0
    assert [stage["command"] for stage in told["stages"]] == ["sh", "cat", "sh"]
    assert [(stage["status"], stage["signal"]) for stage in told["stages"]] == [(3, None), (0, None), (None, 9)]
    for stage in told["stages"]:
        assert stage["pid"] > 0 and 0 < stage["wall_ns"] <= told["wall_ns"] and stage["memory_max"] > 0
    assert told["stages"][0]["arguments"] == ["-c", "exit 3"]


TREE = """\
setsid sh -c 'trap "" TERM; echo $$ >>pids; sleep 1000 & echo $! >>pids; wait; sleep 1000' &
sh -c 'setsid sh -c "echo \\$\\$ >>pids; sleep 1000; :" & '
trap '' TERM
echo $$ >>pids
while :; do sleep 1; done
"""


@test
def the_deadline_ends_the_whole_tree():
    pathlib.Path("tree").write_text(TREE)
    began = time.monotonic()
    # The deadline may come before the tree has grown: then again.
    seconds = 1.0
    while True:
        run("--json", "--deadline", f"{seconds}s", "--kill-after", "100ms", "--", "sh", "tree", code=124)
        assert json.loads(run.words)["timed_out"]
        pids = [int(line) for line in pathlib.Path("pids").read_text().split()] if os.path.exists("pids") else []
        all_gone(pids)
        if len(pids) == 4:
            break
        seconds *= 2
        pathlib.Path("pids").unlink(missing_ok=True)
        assert time.monotonic() - began < LIMIT
    run("--deadline", "1m", "true")
    run("-t", "1m", "-d", "1m", "true", code=2)


@test
def the_deadline_and_signals_hold_while_it_is_started():
    os.mkfifo("fifo")  # nobody is at its other end
    run("--deadline", "100ms", "cat < fifo", code=124)
    run("--deadline", "100ms", "echo > fifo", code=124)
    run("--deadline", "10ms", f"echo > fifo://{os.getcwd()}/fifo", code=124)  # waits as long as for any address
    assert "nobody reads it" in run.words, run.words
    process = start("cat < fifo", stderr=subprocess.PIPE)
    while process.poll() is None:
        process.terminate()
        time.sleep(0.01)
    assert (process.returncode, process.stderr.read()) == (-signal.SIGTERM, b""), process.returncode
    process.stderr.close()
    run("--deadline", "300ms", "yes > 'exec://sleep 1000'", code=124)
    assert run.words == "", run.words
    os.unlink("fifo")


@test
def signals_are_passed_on():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        process = start("sh", "-c", "trap 'echo got >>got; exit 0' TERM INT HUP; echo $$ >pids; while :; do sleep 0.05; done")
        pids = written("pids")
        process.send_signal(number)
        assert process.wait(LIMIT) == -number, process.returncode
        assert pathlib.Path("got").read_text() == "got\n"
        all_gone(pids)
        os.unlink("got")
        os.unlink("pids")
    # Who does not want to end is killed by the second one.
    process = start("sh", "-c", "trap 'echo >heard' TERM; echo $$ >pids; while :; do sleep 0.05; done")
    pids = written("pids")
    process.send_signal(signal.SIGTERM)
    until(lambda: os.path.exists("heard"), "the first signal to be heard")
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT) == -signal.SIGTERM
    all_gone(pids)
    # Also where both came at once.
    os.unlink("pids")
    process = start("sh", "-c", "trap 'echo >heard' TERM HUP; echo $$ >pids; while :; do sleep 0.05; done")
    pids = written("pids")
    process.send_signal(signal.SIGSTOP)
    until(lambda: pathlib.Path(f"/proc/{process.pid}/stat").read_text().split(") ")[1][0] == "T", "the stop")
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGCONT):
        process.send_signal(number)
    assert process.wait(LIMIT) == -signal.SIGTERM
    all_gone(pids)


@test
def what_nobody_takes_holds_up_no_end():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as box:
        box.bind("box")
        line = "sh -c 'echo $$ >pids; exec yes' > 'unix://box?type=datagram'"
        run("--deadline", "500ms", line, code=124)
        pathlib.Path("pids").unlink(missing_ok=True)
        process = start("--kill-after", "100ms", line)
        written("pids")
        process.terminate()
        assert process.wait(LIMIT) == -signal.SIGTERM
        os.unlink("pids")
        process = start("--kill-after", "1h", line)
        pids = written("pids")
        process.terminate()
        all_gone(pids)
        process.terminate()  # the second one
        assert process.wait(LIMIT) == -signal.SIGTERM


@test
def nothing_outlives_a_killed_supervisor_that_promised_it():
    for option in ((), ("--new-session",)):
        # a stage, its child, its grandchild, in two stages
        process = start("--die-with-parent", *option,
                        "sh -c 'sleep 1000 & echo $! >>pids; sh -c \"sleep 1000 & echo \\$! >>pids; wait\" & echo $! >>pids; echo $$ >>pids; wait' | "
                        "sh -c 'echo $$ >>pids; sleep 1000; :'")
        pids = written("pids", 5)
        process.kill()
        process.wait(LIMIT)
        all_gone(pids)
        os.unlink("pids")
    process = start("--", "sh", "-c", "echo $$ >pids; exec sleep 1000")  # not promised: it lives on
    pids = written("pids")
    process.kill()
    process.wait(LIMIT)
    assert not gone(pids[0])
    os.kill(pids[0], signal.SIGKILL)


@test
def a_new_session():
    lines = run("--new-session", "sh -c 'ps -o sid=,pgid= -p $$' | sh -c 'cat; ps -o sid=,pgid= -p $$'").split()
    assert len(set(lines)) == 1 and len(lines) == 4, lines
    run("--foreground", "true", code=1)
    assert "/dev/tty" in run.words and "no terminal" in run.words, run.words
    run("--foreground", "--new-session", "true", code=2)


@test
def nothing_of_ours_is_in_a_program():
    read, write = os.pipe()
    out = run("sh -c 'exec ls /proc/self/fd' | sh -c 'cat; exec ls /proc/self/fd'", pass_fds=(read, write))
    assert out.split() == [b"0", b"1", b"2", b"3"] * 2, out
    os.close(read)
    os.close(write)
    status = dict(line.split(":\t") for line in run("cat /proc/self/status").decode().splitlines() if line.startswith("Sig"))
    assert int(status["SigBlk"], 16) == 0 and int(status["SigCgt"], 16) == 0
    assert int(status["SigIgn"], 16) & (1 << 12 | 1 << 16) == 0  # SIGPIPE, SIGCHLD
    assert run("sh -c 'umask; ulimit -n'") == subprocess.check_output(["sh", "-c", "umask; ulimit -n"])


def main():
    failed = 0
    for function in TESTS:
        if sys.argv[2:] and function.__name__ not in sys.argv[2:]:
            continue
        with tempfile.TemporaryDirectory(prefix="confab-jobs.") as folder:
            os.chdir(folder)
            try:
                function()
                print("pass", function.__name__, flush=True)
            except Exception as fault:
                failed += 1
                where = fault.__traceback__
                while where.tb_next:
                    where = where.tb_next
                print(f"FAIL {function.__name__}: {type(fault).__name__}: {fault}, line {where.tb_lineno}", flush=True)
            os.chdir("/")
    return failed > 0


sys.exit(main())
