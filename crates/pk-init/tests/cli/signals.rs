//! Signals: to PROG, with what PROG makes of them; stopping and going on.

use crate::contract::{copy, is_root, run, skip};
use crate::running::{Running, eventually, is_gone, state, telling_its_pid};
use crate::{As, TOOL, parent};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Of a shell's commands, only `wait` is interrupted by a signal that it has a trap for.
const WAIT: &str = "while :; do sleep 60 & wait; kill -KILL $!; done";

/// All that can be caught, but for SIGCHLD, of which every process has its own, and those two
/// which the C library keeps for itself.
fn catchable() -> impl Iterator<Item = u32> {
    (1..=64).filter(|number| ![9, 17, 19, 32, 33].contains(number))
}

/// With a program, because rustix and nix have no names for real-time signals.
fn kill(signal: u32, pid: &str) {
    let outcome = run(Command::new("/bin/kill").args([&format!("-{signal}"), pid]));
    assert_eq!(outcome, (0, String::new(), String::new()), "{signal}");
}

#[test]
fn every_signal_reaches_prog() {
    let traps: Vec<String> = catchable().map(|n| format!("trap 'echo {n}' {n}")).collect();
    let traps = traps.join("; ");
    for mode in As::BOTH {
        let running = mode.start(&format!("{traps}; echo ready; {WAIT}"));
        running.expect("ready");
        let init = parent(&running.prog);
        for number in catchable() {
            kill(number, &init);
            running.expect(&number.to_string());
        }
        running.signal_prog(Signal::KILL);
    }
}

#[test]
fn prog_makes_of_a_signal_what_it_likes() {
    let table = [
        ("trap 'kill -KILL $!; exit 5' TERM", 5),
        ("trap '' TERM; trap 'kill -KILL $!; exit 6' USR1", 6),
        (":", 143),
    ];
    for mode in As::BOTH {
        for (trap, status) in table {
            let mut running = mode.start(&format!("{trap}; sleep 60 & echo ready; wait"));
            running.expect("ready");
            let init = parent(&running.prog);
            kill(15, &init);
            if status == 6 {
                kill(10, &init);
            }
            assert_eq!(running.status(), status, "{mode:?}: {trap}");
        }
    }
}

#[test]
fn prog_stops_and_goes_on() {
    for mode in As::BOTH {
        for stop in [19, 20] {
            let mut running = mode.start("read line; exit 6");
            let init = parent(&running.prog);
            kill(stop, if stop == 19 { &running.prog } else { &init });
            eventually("PROG stops", || state(&running.prog) == Some('T'));
            if mode == As::Subreaper {
                eventually("and pk-init with it", || state(&init) == Some('T'));
            } else {
                assert_ne!(state(&init), Some('T'), "PID 1 cannot stop itself");
            }
            kill(18, &init);
            eventually("PROG goes on", || state(&running.prog) != Some('T'));
            drop(running.tool.stdin.take());
            assert_eq!(running.status(), 6, "{mode:?}");
        }
    }
}

#[test]
fn killing_pk_init_takes_prog_along() {
    for mode in As::BOTH {
        let running = mode.start("exec cat");
        let init = parent(&running.prog).parse().ok().and_then(Pid::from_raw).unwrap();
        kill_process(init, Signal::KILL).unwrap();
        eventually("PROG is killed", || is_gone(&running.prog));
    }
}

#[test]
fn a_prog_out_of_reach_is_no_reason_to_end() {
    if !is_root() {
        return skip("making a setuid program needs root");
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    let [setpriv, pk_init] = ["setpriv", TOOL.name].map(|name| directory.path().join(name));
    assert!(copy("/usr/bin/setpriv", &setpriv) && copy(TOOL.program, &pk_init));
    fs::set_permissions(&setpriv, Permissions::from_mode(0o4755)).unwrap();
    let script = telling_its_pid("id -ru; trap 'echo heard' TERM; read line; exit 3");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(pk_init);
    command.arg(setpriv).args(["--reuid", "0", "sh", "-c", &script]).current_dir("/");
    let mut running = Running::start(command);
    if running.line() != "0" {
        return skip("the temporary directory is mounted nosuid");
    }
    running.signal(Signal::TERM);
    running.signal(Signal::USR1);
    drop(running.tool.stdin.take());
    assert_eq!(running.status(), 3);
}
