//! pk-init PROG [ARG...]: be PID 1 for PROG: forward signals, reap orphans.
//!
//! The kernel gives two duties to the first process of a PID namespace, and two privileges to go
//! with them. Every orphan becomes its child, and stays a zombie until it is waited for; and a
//! signal that it has no handler for is not delivered. Few programs know that they may be PID 1,
//! so this one is, and PROG is an ordinary process. `pid_namespaces(7)`.
#![cfg_attr(not(test), no_main)]

use argh::{ArgsInfo, FromArgs};
use nix::sys::prctl;
use pk::{Prog, Result, Steps};
use std::ffi::OsString;

const TOOL: pk::Tool = pk::Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    operands: "PROG [ARG...]",
    kind: pk::Kind::Chain,
    words: &[],
    notes: "\
Ends as soon as PROG does, with its status, 128+n for a death by signal n. What PROG has left
running is killed by the kernel if pk-init is PID 1, and inherited by the next one above if not.",
    examples: &[
        (
            "pk-ns --mount --pid pk-mounts --standard --tools rootfs pk-chroot-exec rootfs /run/pk/pk-init sh",
            "as PID 1 of a container",
        ),
        ("pk-init make check", "on the host, as an ordinary process"),
    ],
    see_also: "tini(1), pid_namespaces(7), signal(7), pk-ns(1), pk-mounts(1)",
};
pk::main!(TOOL, steps);

/// Be PID 1 for PROG: forward signals, reap orphans.
#[derive(FromArgs, ArgsInfo)]
struct Options {}

fn steps(_: Options, operands: Vec<OsString>) -> Result<Steps> {
    let prog = Prog::find(operands)?;
    let mut steps = Steps::new(());
    steps.add(
        "orphans come to this process, as they do anyway if it is PID 1",
        "prctl(PR_SET_CHILD_SUBREAPER, 1)",
        ": # no command does it",
        |()| prctl::set_child_subreaper(true),
    );
    // The child is an ordinary process, on which every signal has its default action.
    steps.fork(
        "PROG is not to be PID 1; the parent forwards signals to it and reaps orphans",
        "sh; exit",
        false,
        |()| Ok(()),
    );
    steps.exec(prog);
    Ok(steps)
}
