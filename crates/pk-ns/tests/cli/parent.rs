//! Staying as PROG's parent: signals, stops, and dying together.

use crate::contract::run;
use crate::pk_ns;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// How long something that has to happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// pk-ns with a PROG that is known to run. PROG ends with its standard input.
pub struct Running {
    tool: Child,
    lines: Receiver<String>,
    /// PROG's PID as it is seen from here.
    pub prog: String,
}

impl Running {
    /// Starts a shell `script`, and waits for its first command to be done.
    pub fn start(options: &[&str], script: &str) -> Self {
        // /proc is the one from here, and shows the PID from here.
        let script = format!("read pid rest < /proc/self/stat; echo $pid; {script}");
        let mut command = pk_ns(options, &["sh", "-c", &script]);
        let mut tool = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(tool.stdout.take().unwrap());
        let (sender, lines) = channel();
        spawn(move || stdout.lines().try_for_each(|line| sender.send(line.ok()?).ok()));
        let prog = lines.recv_timeout(PATIENCE).unwrap();
        Self { tool, lines, prog }
    }

    /// Waits for PROG to say this.
    pub fn expect(&self, expected: &str) {
        assert_eq!(self.lines.recv_timeout(PATIENCE).as_deref(), Ok(expected));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.tool), signal).unwrap();
    }

    fn signal_prog(&self, signal: Signal) {
        let pid = self.prog.parse().ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The status, or minus the signal, with which pk-ns ends.
    fn status(&mut self) -> i32 {
        let mut ended = None;
        eventually("pk-ns ends", || {
            // Unlike wait, this leaves PROG's standard input open: it is to end of something else.
            ended = self.tool.try_wait().unwrap();
            ended.is_some()
        });
        let status = ended.unwrap();
        status.code().or(status.signal().map(|signal| -signal)).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.tool.kill();
        let _ = self.tool.wait();
    }
}

/// The letter of `proc_pid_stat(5)`, or nothing for a process that is gone.
fn state(pid: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Looks again and again until it holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(5));
    }
}

fn is_gone(pid: &str) -> bool {
    // Whoever inherits an orphan may be slow to reap it.
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// Of a shell's commands, only `wait` is interrupted by a signal that it has a trap for.
const WAIT: &str = "sleep 60 & echo ready; wait";

#[test]
fn a_signal_reaches_the_handler_of_prog() {
    let table = [(Signal::TERM, "TERM", 7), (Signal::USR1, "USR1", 3), (Signal::INT, "INT", 4)];
    for (signal, name, status) in table {
        for option in ["--pid", "--time"] {
            let script = format!("trap 'kill -KILL $!; echo got; exit {status}' {name}; {WAIT}");
            let mut running = Running::start(&[option], &script);
            running.expect("ready");
            running.signal(signal);
            running.expect("got");
            assert_eq!(running.status(), status, "{option} {name}");
        }
    }
}

#[test]
fn a_signal_without_a_handler_ends_even_a_pid_1() {
    for option in ["--pid", "--time"] {
        // Not SIGINT: some shells catch it until they exec.
        for (signal, number) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::USR1, 10)] {
            let mut running = Running::start(&[option], "exec cat");
            running.signal(signal);
            assert_eq!(running.status(), 128 + number, "{option}");
            eventually("PROG ends", || is_gone(&running.prog));
        }
    }
}

#[test]
fn a_signal_that_prog_ignores_stays_ignored() {
    for option in ["--pid", "--time"] {
        let script = format!("trap '' TERM; trap 'kill -KILL $!; exit 5' USR1; {WAIT}");
        let mut running = Running::start(&[option], &script);
        running.expect("ready");
        running.signal(Signal::TERM);
        running.signal(Signal::USR1);
        assert_eq!(running.status(), 5, "{option}");
    }
}

#[test]
fn a_pid_1_that_is_killed_is_reported() {
    for (signal, status) in [(Signal::KILL, 137), (Signal::TERM, 143)] {
        for option in ["--pid", "--time"] {
            // Of all signals from outside, an init without handlers gets SIGKILL only.
            if (signal, option) == (Signal::TERM, "--pid") {
                continue;
            }
            let mut running = Running::start(&[option], "exec cat");
            running.signal_prog(signal);
            assert_eq!(running.status(), status, "{option}");
        }
    }
}

#[test]
fn killing_the_parent_takes_prog_along() {
    for option in ["--pid", "--time"] {
        let mut running = Running::start(&[option], "exec cat");
        assert!(!is_gone(&running.prog));
        running.signal(Signal::KILL);
        assert_eq!(running.status(), -9);
        eventually("PROG is killed", || is_gone(&running.prog));
    }
}

#[test]
fn an_ignored_sigchld_does_not_hide_the_status() {
    for option in ["--pid", "--time"] {
        for (script, status) in [("exit 42", 42), ("exit 0", 0)] {
            let tool = pk_ns(&[option], &["sh", "-c", script]);
            let mut command = Command::new("env");
            command.arg("--ignore-signal=CHLD").arg(tool.get_program()).args(tool.get_args());
            assert_eq!(run(&mut command), (status, String::new(), String::new()), "{option}");
        }
    }
}

#[test]
fn a_stopped_prog_stops_its_parent_too() {
    for option in ["--pid", "--time"] {
        let mut running = Running::start(&[option], "read line; exit 6");
        let tool = running.tool.id().to_string();
        running.signal_prog(Signal::STOP);
        eventually("pk-ns stops", || state(&tool) == Some('T'));
        assert_eq!(state(&running.prog), Some('T'));
        running.signal(Signal::CONT);
        eventually("pk-ns goes on", || state(&tool) != Some('T'));
        eventually("PROG goes on", || state(&running.prog) != Some('T'));
        drop(running.tool.stdin.take());
        assert_eq!(running.status(), 6, "{option}");
    }
}
