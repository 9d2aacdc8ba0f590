//! Staying as PROG's parent: signals, stops, and dying together.

use crate::contract::run;
use crate::pk_ns;
use crate::running::{Running, eventually, is_gone, state, telling_its_pid};
use rustix::process::Signal;
use std::process::Command;

/// pk-ns with a shell `script` as PROG.
pub fn start(options: &[&str], script: &str) -> Running {
    Running::start(pk_ns(options, &["sh", "-c", &telling_its_pid(script)]))
}

/// Of a shell's commands, only `wait` is interrupted by a signal that it has a trap for.
const WAIT: &str = "sleep 60 & echo ready; wait";

#[test]
fn a_signal_reaches_the_handler_of_prog() {
    let table = [(Signal::TERM, "TERM", 7), (Signal::USR1, "USR1", 3), (Signal::INT, "INT", 4)];
    for (signal, name, status) in table {
        for option in ["--pid", "--time"] {
            let script = format!("trap 'kill -KILL $!; echo got; exit {status}' {name}; {WAIT}");
            let mut running = start(&[option], &script);
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
            let mut running = start(&[option], "exec cat");
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
        let mut running = start(&[option], &script);
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
            let mut running = start(&[option], "exec cat");
            running.signal_prog(signal);
            assert_eq!(running.status(), status, "{option}");
        }
    }
}

#[test]
fn killing_the_parent_takes_prog_along() {
    for option in ["--pid", "--time"] {
        let mut running = start(&[option], "exec cat");
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
        let mut running = start(&[option], "read line; exit 6");
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
