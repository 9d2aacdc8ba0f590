//! pk-show [OPTION...]: says which isolation a process has.
//!
//! A step for each thing that is read of the process, in a state (`state.rs`) whose sections are
//! the modules. Then the state is shown, saved, compared or asserted. It only reads: no system call
//! is tried to find out whether it is blocked.
#![cfg_attr(not(test), no_main)]

mod answer;
mod assertion;
mod boxes;
mod capabilities;
mod cause;
mod cgroup;
mod descriptors;
mod devices;
mod difference;
mod entry;
mod fact;
mod hostname;
mod limits;
mod mountinfo;
mod mounts;
mod namespaces;
mod output;
mod privileges;
mod process;
mod reading;
mod root;
mod state;
mod statmount;
mod sys;
mod table;
mod text;
mod tree;
mod user;

use argh::{ArgsInfo, FromArgs};
use assertion::Assertions;
use output::Output;
use pk::{Error, Result, Steps};
use process::Process;
use state::State;
use std::ffi::OsString;
use std::path::PathBuf;

const TOOL: pk::Tool = pk::Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    operands: "",
    kind: pk::Kind::Plain,
    notes: assertion::NAMES,
};
pk::main!(TOOL, steps);

/// Say which isolation this process has, or another one: namespaces, root, mounts, ids,
/// capabilities, limits. It only reads.
#[derive(FromArgs, ArgsInfo)]
struct Options {
    /// another process than this one
    #[argh(option, arg_name = "N")]
    pid: Option<u32>,
    /// print JSON, in the words of schema.json
    #[argh(switch)]
    json: bool,
    /// write that JSON to FILE, and print nothing unless asked to
    #[argh(option, arg_name = "FILE")]
    save: Option<PathBuf>,
    /// print what differs from what was saved in FILE, and what changes it; - is standard input
    #[argh(option, arg_name = "FILE")]
    diff: Option<PathBuf>,
    /// fail, saying what is not so, unless all of LIST holds
    #[argh(option, arg_name = "LIST")]
    assert: Option<Assertions>,
    /// draw the namespaces of this machine as boxes in boxes, with the processes in them
    #[argh(switch)]
    tree: bool,
}

/// What the steps share.
struct Seen {
    process: Process,
    state: State,
}

fn steps(options: Options, operands: Vec<OsString>) -> Result<Steps<Seen>> {
    if let Some(operand) = operands.into_iter().next() {
        return Err(Error::usage(format_args!("{operand:?}"), "takes no operands"));
    }
    if options.tree {
        let alone = [
            options.pid.is_some(),
            options.save.is_some(),
            options.diff.is_some(),
            options.assert.is_some(),
        ];
        if alone.contains(&true) {
            return Err(Error::usage("--tree", "goes with --json only"));
        }
        let mut steps = Steps::new(Seen { process: Process::own(), state: State::default() });
        output::add_tree_steps(&mut steps, options.json);
        return Ok(steps);
    }
    let process = options.pid.map_or_else(|| Ok(Process::own()), Process::open)?;
    let output =
        Output::settle(options.json, options.save, options.diff.as_deref(), options.assert)?;
    let mut steps = Steps::new(Seen { process, state: State::default() });
    reading::add_steps(&mut steps, options.pid);
    output.add_steps(&mut steps);
    Ok(steps)
}
