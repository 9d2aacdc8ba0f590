//! Orphans: reaped as long as PROG runs, and gone or handed on with it.

use crate::running::{Running, eventually, is_gone, state, telling_its_pid};
use crate::{As, parent};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

/// A PROG that never waits for anything, beside a process that makes orphans until it is done.
fn orphans(count: u32) -> String {
    let make = format!("i=0; while [ $i -lt {count} ]; do (true &); i=$((i + 1)); done; echo made");
    format!("({{ {make}; }} &); exec cat")
}

/// How many children of a process have ended and were not waited for.
fn zombies_of(pid: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let zombies = pids.filter(|child| {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(&format!("Z {pid} ")))
    });
    zombies.count()
}

#[test]
fn a_thousand_orphans_are_reaped() {
    for mode in As::BOTH {
        let mut running = mode.start(&orphans(1000));
        let init = parent(&running.prog);
        running.expect("made");
        eventually("all are reaped", || zombies_of(&init) == 0);
        drop(running.tool.stdin.take());
        assert_eq!(running.status(), 0, "{mode:?}");
    }
}

/// The control: the same PROG as PID 1 collects them.
#[test]
fn without_an_init_orphans_stay_zombies() {
    let mut command = As::Pid1.command();
    command.args(["sh", "-c", &telling_its_pid(&orphans(200))]);
    let running = Running::start(command);
    running.expect("made");
    // The shell that becomes PROG may reap the first ones.
    eventually("they pile up", || zombies_of(&running.prog) > 100);
}

#[test]
fn a_prog_that_leaves_a_daemon_behind_ends_at_once() {
    let script = "sh -c 'read pid rest < /proc/self/stat; echo $pid; exec sleep 60' & \
        read line; exit 4";
    for mode in As::BOTH {
        let mut running = mode.start(script);
        let daemon = running.line();
        drop(running.tool.stdin.take());
        assert_eq!(running.status(), 4, "{mode:?}");
        if mode == As::Pid1 {
            eventually("the kernel ends it with its namespace", || is_gone(&daemon));
        } else {
            assert!(state(&daemon).is_some() && !is_gone(&daemon));
            kill_process(Pid::from_raw(daemon.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
        }
    }
}

#[test]
fn an_orphan_comes_to_pk_init() {
    for mode in As::BOTH {
        // In a session of its own, as a daemon is.
        let script = "(setsid sh -c 'read pid rest < /proc/self/stat; echo $pid; exec sleep 60' &);
            read line; exit 0";
        let mut running = mode.start(script);
        let orphan = running.line();
        let init = parent(&running.prog);
        eventually("it is adopted", || parent(&orphan) == init);
        kill_process(Pid::from_raw(orphan.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
        eventually("it is reaped", || state(&orphan).is_none());
        drop(running.tool.stdin.take());
        assert_eq!(running.status(), 0, "{mode:?}");
    }
}
