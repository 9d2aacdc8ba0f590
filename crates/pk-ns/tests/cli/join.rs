//! Entering the namespaces of a running process.

use crate::contract::{is_root, run};
use crate::namespaces::{KINDS, differing, of_process, show_own};
use crate::parent::start;
use crate::{TOOL, output};
use std::process::Command;

fn join(pid: &str, options: &[&str]) -> Command {
    let mut command = Command::new(TOOL.program);
    command.args(["--join", pid]).args(options);
    command
}

#[test]
fn all_namespaces_of_a_process_are_entered() {
    let target = start(&["--all"], "exec cat");
    let theirs = of_process(&target.prog);
    let ours = of_process("self");
    assert_eq!(differing(&ours, &theirs).len(), KINDS.len());
    let joined = output(join(&target.prog, &["--all"]).args(show_own()));
    assert_eq!(differing(&joined, &theirs), [""; 0]);
    // The user namespace gives the right to the others, where the caller is not root.
    let some = if is_root() { vec!["uts", "net"] } else { vec!["uts", "user", "net"] };
    let options: Vec<String> = some.iter().map(|name| format!("--{name}")).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let joined = output(join(&target.prog, &options).args(show_own()));
    assert_eq!(differing(&joined, &ours).len(), some.len());
    assert_eq!(differing(&joined, &theirs).len(), KINDS.len() - some.len());
}

#[test]
fn the_status_is_that_of_prog_inside() {
    let target = start(&["--all"], "exec cat");
    for (script, status) in [("exit 42", 42), ("kill -KILL $$", 137), ("exit 0", 0)] {
        let outcome = run(join(&target.prog, &["--all", "sh", "-c"]).arg(script));
        assert_eq!(outcome, (status, String::new(), String::new()), "{script}");
    }
    let (status, _, stderr) = run(&mut join(&target.prog, &["--all", "pk-no-such"]));
    assert_eq!(status, 127, "{stderr}");
}

#[test]
fn what_cannot_be_joined_is_an_error() {
    // Beyond the largest PID that the kernel gives: PID_MAX_LIMIT, proc(5).
    let outcome = run(&mut join("4194305", &["--uts", "true"]));
    let stderr = "pk-ns: pidfd_open(4194305): No such process\n".to_owned();
    assert_eq!(outcome, (125, String::new(), stderr));

    let own = std::process::id().to_string();
    let outcome = run(&mut join(&own, &["--uts", "--user", "true"]));
    let stderr = format!("pk-ns: setns({own}): already in the namespaces that are named\n");
    assert_eq!(outcome, (125, String::new(), stderr));
}
