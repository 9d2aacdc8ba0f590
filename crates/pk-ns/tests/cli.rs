//! pk-ns as a user meets it: the contract of every tool, then what is its own.

#[path = "../../pk/tests/contract/mod.rs"]
mod contract;
#[path = "cli/ids.rs"]
mod ids;
#[path = "cli/join.rs"]
mod join;
#[path = "cli/namespaces.rs"]
mod namespaces;
#[path = "cli/parent.rs"]
mod parent;
#[path = "../../pk/tests/contract/running.rs"]
mod running;

use contract::{Root, Tool, is_root, run};
use std::process::Command;

const TOOL: Tool = Tool {
    name: "pk-ns",
    program: env!("CARGO_BIN_EXE_pk-ns"),
    options: &["--uts"],
    valued: ["--hostname", "NAME", "box"],
    root: Root::None,
    waits: false,
};

mod becomes_prog {
    crate::contract::promises!(crate::TOOL);
}

/// A time namespace takes in only children, as a PID namespace does, but makes no init of them,
/// so that they can die of a signal of their own.
mod waits_for_prog {
    use crate::contract::{Tool, promises};
    const TOOL: Tool = Tool { options: &["--uts", "--time"], waits: true, ..crate::TOOL };
    promises!(TOOL);
}

/// The tool, with the right to its namespaces.
fn pk_ns(options: &[&str], prog: &[&str]) -> Command {
    let mut command = Command::new(TOOL.program);
    if !is_root() {
        command.args(["--user", "--map-root"]);
    }
    command.args(options).args(prog);
    command
}

/// What PROG prints.
fn output(command: &mut Command) -> String {
    let (status, stdout, stderr) = run(command);
    assert_eq!((status, stderr.as_str()), (0, ""), "{command:?}");
    stdout
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let map = "0:0:1";
    let table: &[(&[&str], &str)] = &[
        (&["--hostname", "box", "--pid"], "--hostname: needs --uts"),
        (&["--map-root", "--pid"], "--map-root: needs --user"),
        (&["--map-auto", "--pid"], "--map-auto: needs --user"),
        (&["--uid-map", map, "--pid"], "--uid-map: needs --user"),
        (&["--gid-map", map, "--pid"], "--gid-map: needs --user"),
        (&["--propagation", "slave", "--pid"], "--propagation: needs --mount"),
        (&["--monotonic", "1", "--pid"], "--monotonic: needs --time"),
        (&["--boottime", "1", "--pid"], "--boottime: needs --time"),
        (&["--user", "--uid-map", map], "--uid-map, --gid-map: go together"),
        (
            &["--user", "--map-root", "--uid-map", map, "--gid-map", map],
            "--map-root, --map-auto, --uid-map: exclude each other",
        ),
        (
            &["--user", "--uid-map", "0:1", "--gid-map", map],
            "--uid-map \"0:1\": is not INNER:OUTER:COUNT, three numbers",
        ),
        (
            &["--mount", "--propagation", "rprivate"],
            "--propagation \"rprivate\": is not private, slave, shared or unchanged",
        ),
        (&["--uts", "--environment"], "--credentials, --environment, --directory: need --join"),
        (&["--join", "0", "--uts"], "--join 0: is no PID"),
        (
            &["--join", "1", "--uts", "--hostname", "box"],
            "--join: takes namespaces as they are: no maps, host name, propagation or offsets",
        ),
        (
            &[],
            "--mount, --pid, …: no namespace is named\nhint: --help lists them; --all is all of them",
        ),
    ];
    for (options, complaint) in table {
        let outcome = run(Command::new(TOOL.program).args(*options).arg("true"));
        assert_eq!(outcome, (125, String::new(), format!("pk-ns: {complaint}\n")), "{options:?}");
    }
}
