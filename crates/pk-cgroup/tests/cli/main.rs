//! Runs the binary: status, standard error and effect, on this machine's own hierarchies.
//!
//! Every test has a group of its own at the top of them, and checks that nothing is left in it.

mod cleaning;
mod group;
mod join;
mod limits;
mod named;
mod ordinary;
mod usage;

use std::fs;
use std::process::{Command, Output};

fn pk_cgroup() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pk-cgroup"));
    for variable in ["PK_EXPLAIN", "PK_TRACE", "PK_TRACE_FD"] {
        command.env_remove(variable);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    pk_cgroup().args(arguments).output().unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
