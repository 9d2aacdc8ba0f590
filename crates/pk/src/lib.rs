//! What the pk tools share: arguments, errors and exit status, steps, exec, staying as a parent.
//!
//! A tool is one function from its options and operands to a list of [`Steps`]: it settles policy
//! and registers what can be checked, and has no side effects. [`run`] then explains the list,
//! or traces it, or just carries it out, so that what `--explain` prints is what runs.
//!
//! The command that a step names as its equivalent is one for a shell that has run those of the
//! steps before it, in `sh`, line by line. So it is one line and reads no standard input, and
//! - where it is a program that executes another one, that is a new shell in place of this one,
//!   `exec unshare --uts sh`;
//! - a fork is `sh; exit`: the child goes on with the lines, the parent waits;
//! - what no command does is `: # the reason`.
//!
//! `scripts/tests/equivalents` pastes them, and compares where they lead.

mod accounts;
mod args;
mod bystander;
mod completion;
mod error;
mod exec;
mod fork;
mod help;
mod ids;
mod interpreter;
mod look;
mod manual;
mod mode;
mod namespace;
mod paint;
mod parent;
mod proc;
mod program;
mod sealed;
mod search;
mod step;
mod stepping;
mod sys;
mod tool;
mod trace;

pub use accounts::{Account, Accounts};
pub use args::{bytes, quote};
pub use error::{Attempt, Error, Result};
pub use exec::{CONSOLE_FD, Prog};
pub use fork::{fork_helper, keep_parent_death_signal, wait_for_helper};
pub use ids::Ids;
pub use namespace::{IdRange, in_initial_user_namespace, not_root};
pub use paint::Paint;
pub use parent::{Child, News, Received, stop_with_the_child};
pub use proc::unescaped;
pub use sealed::become_sealed_copy;
pub use step::Steps;
pub use sys::{listmount, statmount};
pub use tool::{Kind, Tool, Words};

use argh::{ArgsInfo, FromArgs};
use args::Request;
use std::ffi::OsString;
use std::io::Write;

/// Defines a tool's `main`: a [`Tool`] and the function from options and operands to steps.
///
/// It is the C `main`, for two reasons. Rust's own start-up sets SIGPIPE to be ignored before any
/// code of ours runs, and a tool that execs must leave SIGPIPE as it found it. And it reads
/// `/proc/self/maps` and installs handlers, which costs more than some of the tools' work.
/// A tool's `main.rs` therefore starts with `#![cfg_attr(not(test), no_main)]`.
#[macro_export]
macro_rules! main {
    ($tool:expr, $steps:path) => {
        #[cfg(not(test))]
        #[unsafe(no_mangle)]
        extern "C" fn main() -> i32 {
            $crate::run(&$tool, $steps)
        }
        // Unit tests bring a main of their own.
        #[cfg(test)]
        const _: fn() -> ! = || $crate::run(&$tool, $steps);
    };
}

/// Parses the arguments, builds the steps and carries them out; never returns.
///
/// Exits with the status of [`Error::status`], or with that of a child that was waited for.
pub fn run<O, S>(tool: &Tool, steps: fn(O, Vec<OsString>) -> Result<Steps<S>>) -> !
where
    O: FromArgs + ArgsInfo,
{
    let status = go(tool, steps).unwrap_or_else(|error| {
        error.print(tool.name);
        error.status(tool.kind)
    });
    std::process::exit(status.into())
}

fn go<O, S>(tool: &Tool, steps: fn(O, Vec<OsString>) -> Result<Steps<S>>) -> Result<u8>
where
    O: FromArgs + ArgsInfo,
{
    if sys::is_secure_execution() {
        return Err(Error::new(
            "execve",
            "this program is setuid or has file capabilities, and is not made for that",
        ));
    }
    let mut arguments = std::env::args_os();
    arguments.next();
    match args::parse(tool, arguments)? {
        Request::Print(text) => {
            // A reader that has gone away has seen what it wanted of a help text.
            sys::ignore_sigpipe()?;
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(0)
        }
        Request::Run { options, operands, mode } => steps(options, operands)?.run(tool, mode),
    }
}
