#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
"""terminal.py CONFAB [NAME...]: confab run at a real terminal (tmux) under a real shell (bash -i): keys, stops, foreground and background.

Each test is a function here; nothing is waited for by time, everything by what is to be seen on the screen, in files or in /proc.
PLANT=same runs the pipelines beside confab (sh -c) instead of by it, to see the tests fail.
"""
import os, pathlib, shutil, signal, subprocess, sys, tempfile, time

CONFAB = os.path.abspath(sys.argv[1])
PLANT = os.environ.get("PLANT", "")
SCALE = float(os.environ.get("HARNESS_TIMEOUT_SCALE", "1"))
TESTS = []

# Says when it is there, and notes SIGINT. Not a shell that starts something in a loop: a child stopped between vfork and exec would keep
# its parent from stopping (it waits for the exec in the kernel), under every shell.
NOTING = """\
import os, signal, sys
def note(number, frame):
    with open("got", "a") as got:
        got.write(sys.argv[1] + " INT\\n")
    sys.exit(3)
signal.signal(signal.SIGINT, note)
with open("ready", "a") as ready:
    ready.write(f"{sys.argv[1]} {os.getpid()}\\n")
while True:
    signal.pause()
"""


def test(function):
    TESTS.append(function)
    return function


class Terminal:
    """A tmux server of its own with one pane, in which @command runs; an empty working directory."""

    def __init__(self, command):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="confab-terminal."))
        (self.folder / "noting.py").write_text(NOTING)
        (self.folder / "bashrc").write_text("PS1='now> '\nunset PROMPT_COMMAND HISTFILE\n")
        bin = self.folder / "bin"
        bin.mkdir()
        if PLANT == "same":
            (bin / "confab").write_text('#!/bin/sh\nshift\nexec sh -c "$@"\n')
            (bin / "confab").chmod(0o755)
        else:
            (bin / "confab").symlink_to(CONFAB)
        env = {key: value for key, value in os.environ.items() if key not in ("TMUX", "TMUX_PANE", "PROMPT_COMMAND")}
        env.update(TMUX_TMPDIR=str(self.folder), TERM="xterm", LC_ALL="C.UTF-8", PATH=f"{bin}:{env['PATH']}")
        self.env = env
        self.pane = self.terminal = 0
        try:
            self.begin(command)
        except BaseException:
            self.close()
            raise

    def begin(self, command):
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "150", "-y", "50", command)
        self.pane = int(self.tmux("display-message", "-p", "#{pane_pid}"))
        self.until(lambda: stat(self.pane)[4] > 0, "the pane to have its terminal")  # 0: none, as most processes
        self.terminal = stat(self.pane)[4]

    def tmux(self, *words):
        return subprocess.run(["tmux", *words], env=self.env, cwd=self.folder, check=True, stdout=subprocess.PIPE, text=True).stdout

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def type(self, line):
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def until(self, condition, what):
        limit = time.monotonic() + 30 * SCALE
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < limit, f"waited for {what}; the screen:\n{self.screen().rstrip()}"
            time.sleep(0.02)

    def shows(self, text):
        self.until(lambda: text in self.screen(), f"'{text}' on the screen")

    def prompt(self):
        self.until(lambda: self.screen().rstrip().endswith("now>"), "a prompt")

    def lines(self, name, n):
        """The first @n lines of a file that programs write."""
        path = self.folder / name
        return self.until(lambda: path.exists() and len(path.read_text().splitlines()) >= n and path.read_text(), f"{n} lines in {name}").splitlines()

    def processes(self):
        """Everything on this terminal, but the shell: {pid: (name, state, group, foreground group)}."""
        found = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != self.pane:
                try:
                    name, state, _, group, tty, foreground = stat(int(entry))
                except (OSError, ValueError):
                    continue
                if tty == self.terminal != 0:
                    found[int(entry)] = (name, state, group, foreground)
        return found

    def close(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        try:
            subprocess.run(["tmux", "kill-server"], env=self.env, stderr=subprocess.DEVNULL, check=True)
        except subprocess.CalledProcessError:
            pass  # the pane has ended, and with it the server
        shutil.rmtree(self.folder, ignore_errors=True)


def stat(pid):
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
    return name, rest[0], int(rest[1]), int(rest[2]), int(rest[4]), int(rest[5])


def stages(terminal, n):
    """The pids of the @n noting programs."""
    return [int(line.split()[1]) for line in terminal.lines("ready", n)]


def all_in_state(terminal, pids, states):
    def look():
        try:
            return all(stat(pid)[1] in states for pid in pids)
        except OSError:
            return False
    terminal.until(look, f"{pids} in one of the states {states}")


def confab_of(terminal):
    found = [pid for pid, (name, _, _, _) in terminal.processes().items() if name == "confab"]
    assert len(found) == 1, found
    return found[0]


def typed(command):
    """At a prompt of an interactive bash."""
    terminal = Terminal("bash --rcfile bashrc -i")
    terminal.prompt()
    terminal.type(command)
    return terminal


TWO = "confab run '/usr/bin/python3 noting.py a | /usr/bin/python3 noting.py b'"


@test
def the_stages_have_a_group_of_their_own():
    terminal = typed(TWO)
    try:
        pids = stages(terminal, 2)
        assert all(stat(pid)[3] != stat(stat(pids[0])[2])[3] for pid in pids), "the parent's group is theirs"
    finally:
        terminal.close()


@test
def ctrl_c_reaches_every_stage_and_nothing_else():
    terminal = typed(f"{TWO}; echo status=$?")
    try:
        pids = stages(terminal, 2)
        confab = confab_of(terminal)
        groups = {stat(pid)[3] for pid in pids}
        assert len(groups) == 1, groups  # one group, and it has the terminal
        assert groups == {stat(pids[0])[5]}, (groups, stat(pids[0]))
        assert stat(confab)[3] not in groups
        terminal.keys("C-c")
        terminal.shows("status=3")
        assert sorted(terminal.lines("got", 2)) == ["a INT", "b INT"]
    finally:
        terminal.close()


@test
def a_pipeline_that_ctrl_c_ends():
    terminal = typed("confab run 'sleep 1000 | sleep 1000'; echo status=$?")
    try:
        terminal.until(lambda: [p[0] for p in terminal.processes().values()].count("sleep") == 2, "two sleeping stages")
        terminal.keys("C-c")
        terminal.shows("^C")
        terminal.prompt()
        terminal.type("echo then=$?")  # as bash does after a command that SIGINT ended: the list is given up
        terminal.shows("then=130")
        terminal.until(lambda: not terminal.processes(), "everything to end")
    finally:
        terminal.close()


@test
def ctrl_z_stops_all_and_fg_goes_on():
    terminal = typed(TWO)
    try:
        pids = stages(terminal, 2)
        confab = confab_of(terminal)
        for _ in range(2):
            terminal.keys("C-z")
            terminal.shows("Stopped")
            terminal.prompt()
            all_in_state(terminal, pids + [confab], "T")
            terminal.type("clear; fg")
            all_in_state(terminal, pids + [confab], "SR")
            terminal.until(lambda: stat(confab)[5] == stat(pids[0])[3], "the pipeline to have the terminal again")
        terminal.keys("C-c")
        terminal.prompt()
        assert sorted(terminal.lines("got", 2)) == ["a INT", "b INT"]
    finally:
        terminal.close()


@test
def bg_goes_on_behind():
    terminal = typed(TWO)
    try:
        pids = stages(terminal, 2)
        terminal.keys("C-z")
        terminal.shows("Stopped")
        terminal.prompt()
        terminal.type("bg; echo behind")
        terminal.shows("behind")
        all_in_state(terminal, pids, "SR")
        terminal.until(lambda: stat(terminal.pane)[5] == terminal.pane, "the shell to have the terminal")
        terminal.keys("C-c")  # the shell's, not the pipeline's
        terminal.type("echo alive")
        terminal.shows("alive")
        all_in_state(terminal, pids, "SR")
        assert not (terminal.folder / "got").exists()
        terminal.type("kill %1; wait; echo ended")
        terminal.until(lambda: not terminal.processes(), "everything to end")
    finally:
        terminal.close()


@test
def fg_of_one_that_runs_hands_it_the_terminal():
    """The shell gives the terminal to our group without a word to us: no signal comes to one that runs."""
    for command in (TWO, TWO + " &"):
        terminal = typed(command)
        try:
            pids = stages(terminal, 2)
            if not command.endswith("&"):
                terminal.keys("C-z")
                terminal.shows("Stopped")
                terminal.prompt()
                terminal.type("bg")
                all_in_state(terminal, pids, "SR")
            terminal.type("clear; echo status=$?; fg")
            terminal.shows("status=0")
            terminal.until(lambda: stat(pids[0])[5] == stat(pids[0])[3], "the pipeline to have the terminal")
            terminal.keys("C-z")
            terminal.shows("Stopped")
            all_in_state(terminal, pids + [confab_of(terminal)], "T")
            terminal.type("clear; fg")
            all_in_state(terminal, pids, "SR")
            terminal.until(lambda: stat(pids[0])[5] == stat(pids[0])[3], "the pipeline to have the terminal again")
            terminal.keys("C-c")
            terminal.prompt()
            assert sorted(terminal.lines("got", 2)) == ["a INT", "b INT"]
        finally:
            terminal.close()


@test
def reading_in_the_background_stops_until_fg():
    terminal = typed("confab run 'cat > typed' &")
    try:
        terminal.until(lambda: "T" in [p[1] for p in terminal.processes().values() if p[0] == "confab"], "confab to be stopped")
        terminal.prompt()
        terminal.type("echo the shell reads")
        terminal.shows("\nthe shell reads")
        terminal.type("fg; echo status=$?")
        terminal.until(lambda: any(p[0] == "cat" and p[2] == p[3] and p[1] != "T" for p in terminal.processes().values()), "cat to have the terminal")
        terminal.type("for cat")
        terminal.keys("C-d")
        terminal.shows("status=0")
        assert (terminal.folder / "typed").read_text() == "for cat\n"
    finally:
        terminal.close()


@test
def writing_in_the_background_stops_where_tostop_says_so():
    terminal = typed("stty tostop")
    try:
        terminal.prompt()
        terminal.type("confab run 'echo written | cat' &")
        terminal.until(lambda: "T" in [p[1] for p in terminal.processes().values() if p[0] == "confab"], "confab to be stopped")
        assert "\nwritten" not in terminal.screen()
        terminal.type("fg; echo status=$?")
        terminal.shows("status=0")
        assert "\nwritten" in terminal.screen()
    finally:
        terminal.close()


@test
def in_a_script_it_stays_in_the_scripts_group():
    terminal = Terminal("bash --rcfile bashrc -i")
    try:
        (terminal.folder / "script").write_text(f"{TWO}\necho after >>got\n")
        terminal.prompt()
        terminal.type("dash script; echo status=$?")
        pids = stages(terminal, 2)
        confab = confab_of(terminal)
        assert {stat(pid)[3] for pid in pids} == {stat(confab)[3]} == {stat(confab)[5]}
        terminal.keys("C-c")
        terminal.prompt()
        terminal.until(lambda: not terminal.processes(), "everything to end")
        assert sorted(terminal.lines("got", 2)) == ["a INT", "b INT"]
    finally:
        terminal.close()


@test
def with_nobody_to_continue_it_a_stop_is_none():
    terminal = Terminal(TWO)
    try:
        pids = stages(terminal, 2)
        terminal.keys("C-z")
        terminal.shows("^Z")
        all_in_state(terminal, pids, "SR")
        terminal.keys("C-c")
        assert sorted(terminal.lines("got", 2)) == ["a INT", "b INT"]
    finally:
        terminal.close()


def main():
    failed = 0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # the terminals are closed on the way
    for function in TESTS:
        if sys.argv[2:] and function.__name__ not in sys.argv[2:]:
            continue
        try:
            function()
            print("pass", function.__name__, flush=True)
        except Exception as fault:
            failed += 1
            where = fault.__traceback__
            while where.tb_next:
                where = where.tb_next
            print(f"FAIL {function.__name__}: {type(fault).__name__}: {fault}, line {where.tb_lineno}", flush=True)
    if shutil.which("tmux") is None:
        print("tmux is missing")
        return 1
    return failed > 0


sys.exit(main())
