//! The command line, the exit status, and what PROG is given.

use crate::group::{Group, mounts};
use crate::{pk_cgroup, run, status, text};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn a_wrong_command_line_is_one_clear_line() {
    let table: &[(&[&str], &str)] = &[
        (&["--memory", "12Q", "true"], r#"pk-cgroup: --memory "12Q": is no size"#),
        (&["--nonsense", "true"], "pk-cgroup: --nonsense: no such option"),
        (&["--pids", "0", "true"], r#"pk-cgroup: --pids "0": is no count"#),
        (&["--cpus", "0", "true"], r#"pk-cgroup: --cpus "0": is no number"#),
        (&["--cpu-weight", "x", "true"], r#"pk-cgroup: --cpu-weight "x": is no weight"#),
        (&["--cpuset", "1-0", "true"], r#"pk-cgroup: --cpuset "1-0": is no list"#),
        (&["--io-max", "8:0", "true"], r#"pk-cgroup: --io-max "8:0": names no device"#),
        (&["--memory-swap", "1M", "true"], "pk-cgroup: --memory-swap: is memory and swap"),
        (&["--name", "a/b", "true"], r#"pk-cgroup: --name "a/b": is no name"#),
        (&["--parent", "../x", "true"], r#"pk-cgroup: --parent "../x": is no path"#),
        (&["--memory", "1M"], "pk-cgroup: PROG: missing operand"),
        (&[], "pk-cgroup: PROG: missing operand"),
        (&["--stat"], "pk-cgroup: --stat: needs --name NAME"),
        (&["--name", "x", "--stat", "true"], "pk-cgroup: true: --stat takes no PROG"),
        (&["--name", "x", "--stat", "--kill"], "pk-cgroup: --kill: does not go together"),
        (&["--name", "x", "--kill", "--pids", "1"], "pk-cgroup: --pids: --kill sets no limit"),
        (&["--name", "pk-no-such", "--kill"], r#"pk-cgroup: --name "pk-no-such": no such group"#),
        (&["--parent", "/pk-no-such", "true"], "pk-cgroup: --parent: stat("),
    ];
    for (arguments, expected) in table {
        let output = run(arguments);
        assert_eq!(status(&output), 125, "{arguments:?}: {output:?}");
        let error = text(&output.stderr);
        assert!(error.starts_with(expected), "{arguments:?}: {error}");
        let is_hint = |line: &str| line.starts_with("hint: ");
        assert!(error.lines().skip(1).all(is_hint), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn explaining_needs_no_privilege_and_does_nothing() {
    let copy = tempfile::tempdir().unwrap();
    let binary = copy.path().join("pk-cgroup");
    fs::copy(env!("CARGO_BIN_EXE_pk-cgroup"), &binary).unwrap();
    let mut command = Command::new(binary);
    if rustix::process::getuid().is_root() {
        Command::new("chmod").arg("755").arg(copy.path()).status().unwrap();
        command.uid(65534).gid(65534);
    }
    command.args(["--explain", "--parent", "/", "--name", "pk-explained", "--pids", "3"]);
    let output = command.args(["sh", "-c", "echo ran"]).output().unwrap();
    let explained = text(&output.stdout);
    if text(&output.stderr).contains("no pids controller") {
        return println!("SKIP no pids controller");
    }
    assert_eq!(status(&output), 0, "{output:?}");
    for part in ["mkdir(", "pids.max\", \"3\")", "$ echo 3 > ", "cgroup.procs\", \"0\")", "execve("]
    {
        assert!(explained.contains(part), "{part} in {explained}");
    }
    assert!(!explained.contains("\nran"));
    assert!(mounts().iter().all(|point| !point.join("pk-explained").exists()));
}

#[test]
fn the_status_is_that_of_prog() {
    let Some(parent) = Group::new() else { return };
    let table: &[(&[&str], i32)] = &[
        (&["true"], 0),
        (&["false"], 1),
        (&["sh", "-c", "exit 42"], 42),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["pk-no-such-program"], 127),
        (&["/"], 126),
        (&["/etc/passwd"], 126),
    ];
    for (prog, expected) in table {
        let output = run(&[&["--parent", parent.path()], *prog].concat());
        assert_eq!(status(&output), *expected, "{prog:?}: {output:?}");
        assert_eq!(output.stderr.is_empty(), *expected != 126 && *expected != 127, "{output:?}");
    }
    assert_eq!(parent.children(), [""; 0]);
}

#[test]
fn arguments_and_descriptors_reach_prog_as_they_were() {
    let Some(parent) = Group::new() else { return };
    let odd = std::ffi::OsString::from_vec(b"caf\xe9 --pids".to_vec());
    let mut command = pk_cgroup();
    command.args([
        "--parent",
        parent.path(),
        "sh",
        "-c",
        "printf %s \"$1\"; ls /proc/self/fd",
        "sh",
    ]);
    let output = command.arg(&odd).output().unwrap();
    let rest = output.stdout.strip_prefix(odd.as_bytes()).expect("the argument unchanged");
    // What this test was given by its own parents reaches PROG too; compare with a plain run.
    let plain = Command::new("sh").args(["-c", "ls /proc/self/fd"]).output().unwrap();
    assert_eq!(text(rest), text(&plain.stdout));
}
