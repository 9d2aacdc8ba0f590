//! Nothing is left behind: neither by PROG, nor by many runs, nor by one that was killed.

use crate::group::{Group, mounts, v2};
use crate::{is_alive, pk_cgroup, run, status, text};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn groups_that_prog_made_are_removed_too() {
    let Some(parent) = Group::new() else { return };
    let makes = "d=$(sed -n 's/^0:://p' /proc/self/cgroup)
        for m in \"$@\"; do mkdir -p $m$d/a/b && echo made; done
        for m in \"$@\"; do (echo 0 > $m$d/a/b/cgroup.procs; sleep 60 & ) ; done";
    let v2 = v2().map(|point| point.display().to_string());
    let Some(v2) = v2 else { return println!("SKIP no v2 hierarchy") };
    let output = run(&["--parent", parent.path(), "sh", "-c", makes, "sh", &v2]);
    assert_eq!(text(&output.stdout), "made\n", "{output:?}");
    assert_eq!(parent.children(), [""; 0]);
}

#[test]
fn without_v2_processes_are_killed_one_by_one() {
    let Some(parent) = Group::new() else { return };
    let Some(v2) = v2() else { return println!("SKIP no v2 hierarchy to hide") };
    if mounts().len() < 2 {
        return println!("SKIP no v1 hierarchy");
    }
    // In a mount namespace of its own, the v2 hierarchy is not mounted.
    let hide = "umount \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", hide, "sh"]).arg(v2);
    command.args([env!("CARGO_BIN_EXE_pk-cgroup"), "--parent", parent.path(), "--pids", "40"]);
    let forks = "for i in 1 2 3 4 5 6 7 8 9; do (sleep 60 & sleep 60) & done; echo $!; exit 9";
    let output = command.args(["sh", "-c", forks]).output().unwrap();
    assert_eq!(status(&output), 9, "{output:?}");
    assert!(!is_alive(text(&output.stdout).trim()), "the last of them");
    assert_eq!(parent.children(), [""; 0]);
}

/// A run whose PROG has said that it is there, and the process that this one left behind.
fn start(parent: &Group) -> (Child, String) {
    let script = "sleep 60 >&- 2>&- & echo $!; sleep 60";
    let mut command = pk_cgroup();
    command.args(["--parent", parent.path(), "--pids", "9", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    let Some(parent) = Group::new() else { return };
    let (mut live, of_live) = start(&parent);
    let (mut child, left) = start(&parent);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_alive(&left), "nobody is there to kill it");
    assert_eq!(status(&run(&["--parent", parent.path(), "true"])), 0);
    assert!(!is_alive(&left));
    assert!(is_alive(&of_live), "a run that is alive keeps its group");
    assert_eq!(parent.children().len(), 1);
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&live),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert_eq!(live.wait().unwrap().code(), Some(143));
    eventually("its sleep is gone", || !is_alive(&of_live));
    assert_eq!(parent.children(), [""; 0]);
}

#[test]
fn two_hundred_at_once() {
    let Some(parent) = Group::new() else { return };
    let children: Vec<Child> = (0..200)
        .map(|index| {
            let script = format!("sleep 60 >&- 2>&- & sleep 0.1; exit {}", index % 100);
            let mut command = pk_cgroup();
            command.args(["--parent", parent.path(), "--pids", "9", "--memory", "64M"]);
            command.args(["sh", "-c", &script]).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (index, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert_eq!(usize::try_from(status(&output)).unwrap(), index % 100, "{output:?}");
        assert_eq!(text(&output.stderr), "");
    }
    assert_eq!(parent.children(), [""; 0]);
}

/// Waits until something holds, for ten seconds at most.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
