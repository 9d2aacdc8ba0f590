//! Entering the namespaces of a running process.

use crate::contract::{is_root, run, skip};
use crate::namespaces::{KINDS, differing, of_process, show_own};
use crate::parent::start;
use crate::{TOOL, output, pk_ns};
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
fn what_is_asked_for_is_taken_over_from_the_process() {
    let script = "cd /usr; exec env TAKEN=over PK_TEST=1 sh -c 'echo ready; exec cat'";
    let target = start(&["--all"], script);
    target.expect("ready");
    let show = ["sh", "-c", "echo $TAKEN; pwd"];
    let joined = |options: &[&str]| output(join(&target.prog, options).args(show));
    assert_eq!(joined(&["--all"]), "\n/\n");
    assert_eq!(joined(&["--all", "--environment"]), "over\n/\n");
    assert_eq!(joined(&["--all", "--directory"]), "\n/usr\n");
    // Also where no namespace is another one.
    let own = std::process::id().to_string();
    let here = format!("\n{}\n", std::env::current_dir().unwrap().display());
    assert_eq!(output(join(&own, &["--uts", "--directory"]).args(show)), here);
    // The process's word for a tool of ours is not taken.
    let environment = ["--all", "--environment", TOOL.program, "--uts", "env"];
    let variables = output(&mut join(&target.prog, &environment));
    assert!(variables.contains("TAKEN=over") && !variables.contains("PK_TEST"), "{variables}");
}

#[test]
fn the_user_and_the_limits_of_the_process_are_taken_over() {
    if !is_root() {
        return skip("becoming another user needs root");
    }
    let limited = "exec setpriv --reuid 7 --regid 8 --groups 9,10 --bounding-set -sys_admin \
        --no-new-privs sh -c 'echo ready; exec cat'";
    let target = start(&["--mount", "--pid"], limited);
    target.expect("ready");
    let show = ["grep", "-E", "^(Uid|Gid|Groups|Cap|NoNewPrivs)", "/proc/self/status"];
    let joined = |options: &[&str]| output(join(&target.prog, options).args(show));
    // cat shows its own: that of the process, seen from outside.
    let theirs = output(
        Command::new(show[0]).args([show[1], show[2]]).arg(format!("/proc/{}/status", target.prog)),
    );
    assert_eq!(joined(&["--all", "--credentials"]), theirs);
    assert_ne!(joined(&["--all"]), theirs);
}

#[test]
fn a_tool_of_the_chain_is_taken_along_as_a_copy() {
    let target = start(&["--all"], "exec cat");
    let show = ["sh", "-c", "readlink /proc/$(ps -o ppid= -p $$ | tr -d ' ')/exe"];
    assert_eq!(output(&mut pk_ns(&["--time"], &show)).trim_end(), TOOL.program);
    let mut command = join(&target.prog, &["--user", TOOL.program, "--time"]);
    assert_eq!(output(command.args(show)), "/memfd:pk-ns (deleted)\n");
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
