//! pk-chroot-exec as a user meets it: the contract of every tool, then what is its own. ROOT is a
//! static busybox, entered in mount namespaces made by unshare(1).

#[path = "../../pk/tests/contract/mod.rs"]
mod contract;
#[path = "cli/environment.rs"]
mod environment;
#[path = "cli/switch.rs"]
mod switch;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/user.rs"]
mod user;

use contract::{Root, Stage, Tool, run};

const TOOL: Tool = Tool {
    name: "pk-chroot-exec",
    program: env!("CARGO_BIN_EXE_pk-chroot-exec"),
    options: &[],
    valued: ["--workdir", "PATH", "/"],
    root: Root::Entered,
    waits: false,
};

/// The pivot, which is what it does unless told otherwise.
mod pivots {
    crate::contract::promises!(crate::TOOL);
}

mod changes_root {
    use crate::contract::{Tool, promises};
    const TOOL: Tool = Tool { options: &["--chroot"], ..crate::TOOL };
    promises!(TOOL);
}

/// What PROG, with these options, prints; it and the tool complain of nothing.
fn output(stage: &Stage, options: &[&str], prog: &[&str]) -> String {
    let (status, stdout, stderr) = run(&mut stage.command(options, prog));
    assert_eq!((status, stderr.as_str()), (0, ""), "{options:?} {prog:?}");
    stdout
}

/// The one line with which the tool fails.
fn complaint(stage: &Stage, options: &[&str], prog: &[&str]) -> String {
    let (status, stdout, stderr) = run(&mut stage.command(options, prog));
    assert_eq!((status, stdout.as_str()), (125, ""), "{options:?} {prog:?}");
    stderr.strip_prefix("pk-chroot-exec: ").unwrap().to_owned()
}
