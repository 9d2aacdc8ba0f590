//! pk-privs as a user meets it: the contract of every tool, then what is its own.

#[path = "cli/capabilities.rs"]
mod capabilities;
#[path = "../../pk/tests/contract/mod.rs"]
mod contract;
#[path = "cli/filter.rs"]
mod filter;
#[path = "cli/limits.rs"]
mod limits;

use contract::{Root, Tool, is_root, run};
use std::process::Command;

const TOOL: Tool = Tool {
    name: "pk-privs",
    program: env!("CARGO_BIN_EXE_pk-privs"),
    options: &["--no-new-privs"],
    valued: ["--rlimit", "RESOURCE=SOFT[:HARD]", "core=0"],
    root: Root::None,
    waits: false,
};

contract::promises!(TOOL);

/// The tool as root: of the machine, or of a user namespace.
fn as_root() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", TOOL.program]);
    if is_root() { Command::new(TOOL.program) } else { command }
}

/// The tool as root of a user namespace, whoever runs the tests.
fn in_user_namespace() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", TOOL.program]);
    command
}

/// What PROG prints.
fn output(command: &mut Command) -> String {
    let (status, stdout, stderr) = run(command);
    assert_eq!((status, stderr.as_str()), (0, ""), "{command:?}");
    stdout
}

/// A line of PROG's `/proc/self/status`.
fn field(command: &mut Command, name: &str) -> String {
    let text = output(command.args(["cat", "/proc/self/status"]));
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap().to_owned()
}

#[test]
fn wrong_values_are_named() {
    let nothing = "--caps, --user, …: nothing is to be given up\n\
        hint: --help lists the options; --standard is what Docker does";
    let table: &[(&[&str], &str)] = &[
        (&[], nothing),
        (&["--caps", "some"], "--caps \"some\": does not begin with default, none or all"),
        (&["--caps", "none,+NO"], "--caps \"none,+NO\": \"NO\" is no capability"),
        (&["--caps", "all,CHOWN"], "--caps \"all,CHOWN\": \"CHOWN\" is neither +NAME nor -NAME"),
        (&["--ambient", "x"], "--ambient \"x\": \"x\" is no capability"),
        (&["--caps", "none", "--ambient", "CHOWN"], "--ambient: --caps does not leave CAP_CHOWN"),
        (&["--user", ""], "--user \"\": is not USER[:GROUP[,GROUP...]]"),
        (&["--user", "no-such-user"], "--user \"no-such-user\": no such user in /etc/passwd"),
        (&["--user", "4294967295"], "--user \"4294967295\": no such user in /etc/passwd"),
        (&["--user", "0:no-such-group"], "--user \"no-such-group\": no such group in /etc/group"),
        (&["--rlimit", "nofile"], "--rlimit \"nofile\": is not RESOURCE=SOFT[:HARD]"),
        (
            &["--rlimit", "nofile=2:1"],
            "--rlimit \"nofile=2:1\": the soft limit is above the hard one",
        ),
        (
            &["--rlimit", "nofile=x"],
            "--rlimit \"nofile=x\": \"x\" is neither a number nor unlimited",
        ),
        (&["--seccomp", "/no/such"], "open(\"/no/such\"): No such file or directory"),
        (
            &["--seccomp", "/dev/null"],
            "--seccomp \"/dev/null\": EOF while parsing a value at line 1 column 0",
        ),
    ];
    for (options, complaint) in table {
        let outcome = run(Command::new(TOOL.program).args(*options).arg("true"));
        assert_eq!(
            outcome,
            (125, String::new(), format!("pk-privs: {complaint}\n")),
            "{options:?}"
        );
    }
}
