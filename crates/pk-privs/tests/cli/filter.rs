//! Seccomp filters, by what they refuse.

use crate::contract::{run, skip};
use crate::{TOOL, field, in_user_namespace, output};
use std::fs;
use std::process::Command;
use tempfile::TempDir;

fn profile(text: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profile.json");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

fn filtered(seccomp: &str) -> Command {
    let mut command = Command::new(TOOL.program);
    command.args(["--no-new-privs", "--seccomp", seccomp]);
    command
}

#[test]
fn a_call_that_is_refused_fails() {
    let (_directory, refused) = profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#,
    );
    let target = tempfile::tempdir().unwrap();
    let directory = target.path().join("new");
    let (status, _, stderr) = run(filtered(&refused).arg("mkdir").arg(&directory));
    assert_eq!(status, 1);
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert!(!directory.exists());
    let mut control = Command::new(TOOL.program);
    output(control.args(["--no-new-privs", "mkdir"]).arg(&directory));
    assert!(directory.exists());
}

#[test]
fn a_call_that_kills_kills() {
    for (action, signal) in
        [("SCMP_ACT_KILL", 31), ("SCMP_ACT_KILL_PROCESS", 31), ("SCMP_ACT_TRAP", 31)]
    {
        let (_directory, path) = profile(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {{"names": ["uname"], "action": "{action}"}}]}}"#
        ));
        let mut command = filtered(&path);
        assert_eq!(run(command.args(["--rlimit", "core=0", "uname"])).0, -signal, "{action}");
        assert_eq!(run(filtered(&path).arg("true")).0, 0, "control");
    }
}

#[test]
fn the_default_profile_is_loaded() {
    assert_eq!(field(&mut filtered("default"), "Seccomp"), "2");
    let mut command = Command::new(TOOL.program);
    let without = field(command.arg("--no-new-privs"), "Seccomp");
    assert!(["0", "2"].contains(&without.as_str()));
    let standard = field(in_user_namespace().arg("--standard"), "Seccomp_filters");
    let none = field(in_user_namespace().args(["--caps", "default"]), "Seccomp_filters");
    let count = |text: String| text.parse::<u32>().unwrap();
    assert_eq!(count(standard), count(none) + 1);
}

/// Without `no_new_privs` the filter comes before the capabilities go, with it after all else.
#[test]
fn the_filter_comes_where_it_is_allowed() {
    let order = |options: &[&str]| {
        let mut command = Command::new(TOOL.program);
        let text = output(command.args(options).args([
            "--explain",
            "--standard",
            "--user",
            "1:1",
            "true",
        ]));
        let calls = text.lines().filter_map(|line| line.trim_start().split_once("  "));
        let calls = calls.filter(|(number, _)| number.parse::<u32>().is_ok());
        let call = |(_, call): (_, &str)| call.split(['(', ',']).next().unwrap().to_owned();
        calls.map(call).collect::<Vec<_>>()
    };
    let early = ["seccomp", "prctl", "prctl", "capset", "execve"];
    let late = ["prctl", "prctl", "prctl", "capset", "seccomp", "execve"];
    let bounded =
        !order(&[]).starts_with(&["seccomp".to_owned(), "prctl".to_owned(), "capset".to_owned()]);
    if !bounded {
        return skip("the bounding set is Docker's already");
    }
    assert_eq!(order(&[]), early);
    assert_eq!(order(&["--no-new-privs"]), late);
}

/// A profile is for what PROG will be, not for what the tool is.
#[test]
fn conditions_are_about_the_capabilities_that_are_left() {
    let (_directory, path) = profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["uname"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#,
    );
    for (capabilities, status) in [("all", 0), ("default", 1), ("default,+SYS_ADMIN", 0)] {
        let mut command = in_user_namespace();
        command.args(["--caps", capabilities, "--seccomp", &path, "uname"]);
        assert_eq!(run(&mut command).0, status, "{capabilities}");
    }
}
