//! `--join`: into the groups of a running process.

use crate::group::Group;
use crate::limits::HOG;
use crate::{pk_cgroup, run, status, text};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

/// A process in a named group of every hierarchy, as soon as it is there.
fn sleeper(parent: &Group) -> Child {
    let mut command = pk_cgroup();
    command.args([
        "--parent",
        parent.path(),
        "--name",
        "box",
        "--pids",
        "20",
        "--memory",
        "64M",
        "--memory-swap",
        "64M",
    ]);
    command.args(["sh", "-c", "echo there; exec sleep 60"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "there\n");
    child
}

fn end(parent: &Group, mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
    let output = run(&["--parent", parent.path(), "--name", "box", "--remove"]);
    assert_eq!(status(&output), 0, "{output:?}");
}

#[test]
fn prog_is_in_every_group_of_the_process() {
    let Some(parent) = Group::new() else { return };
    let child = sleeper(&parent);
    let pid = child.id().to_string();
    let theirs = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(theirs.contains(&format!("{}/box\n", parent.path())), "{theirs}");
    let ours = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_ne!(ours, theirs, "control: it is not so without");
    let mut command = pk_cgroup();
    command.args(["--join", &pid, "sh", "-c", "echo $$; cat /proc/self/cgroup; exit 7"]);
    let joined = command.stdout(Stdio::piped()).spawn().unwrap();
    let own = joined.id();
    let output = joined.wait_with_output().unwrap();
    assert_eq!(status(&output), 7);
    assert_eq!(text(&output.stdout), format!("{own}\n{theirs}"), "exec'd in place");
    end(&parent, child);
}

#[test]
fn the_limits_of_the_process_hold() {
    let Some(parent) = Group::new() else { return };
    let child = sleeper(&parent);
    let pid = child.id().to_string();
    let killed = pk_cgroup().args(["--join", &pid]).args(HOG).status().unwrap();
    assert_eq!(killed.signal(), Some(9), "there is no parent that would make 137 of it");
    let output = run(&[&["--parent", parent.path()], &HOG[..]].concat());
    assert_eq!(status(&output), 0, "control: {output:?}");
    end(&parent, child);
}

#[test]
fn ones_own_groups_are_left_as_they_are() {
    let pid = std::process::id().to_string();
    let output = run(&["--join", &pid, "cat", "/proc/self/cgroup"]);
    assert_eq!(text(&output.stdout), fs::read_to_string("/proc/self/cgroup").unwrap());
    let output = run(&["--join", &pid, "--explain", "true"]);
    assert!(!text(&output.stdout).contains("write("), "{output:?}");
}

#[test]
fn a_process_that_is_gone_cannot_be_joined() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id().to_string();
    crate::cleaning::eventually("it has ended", || !crate::is_alive(&pid));
    let output = run(&["--join", &pid, "true"]);
    assert_eq!(status(&output), 125);
    assert!(text(&output.stderr).contains("it is a zombie"), "{output:?}");
    child.wait().unwrap();
    let output = run(&["--join", "4194304", "true"]);
    let error = text(&output.stderr);
    assert_eq!(error, "pk-cgroup: open(\"/proc/4194304/cgroup\"): No such file or directory\n");
}

#[test]
fn nothing_else_can_be_asked_for() {
    let table: &[(&[&str], &str)] = &[
        (&["--name", "x", "true"], "--name: --join takes"),
        (&["--parent", "/", "true"], "--parent: --join takes"),
        (&["--pids", "3", "true"], "--pids: --join takes"),
        (&["--stat"], "--stat: --join takes"),
        (&[], "PROG: missing operand"),
    ];
    for (arguments, expected) in table {
        let output = run(&[&["--join", "1"], *arguments].concat());
        assert_eq!(status(&output), 125);
        let error = text(&output.stderr);
        assert!(error.starts_with(&format!("pk-cgroup: {expected}")), "{error}");
    }
}
