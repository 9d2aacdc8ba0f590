//! pk-init as a user meets it: the contract of every tool, then the duties of an init, both as
//! PID 1 of a namespace made by unshare(1) and as an ordinary process.

#[path = "../../pk/tests/contract/mod.rs"]
mod contract;
#[path = "cli/orphans.rs"]
mod orphans;
#[path = "../../pk/tests/contract/running.rs"]
mod running;
#[path = "cli/signals.rs"]
mod signals;

use contract::{Root, Tool, copy, is_root, run, skip};
use running::{Running, telling_its_pid};
use std::fs;
use std::process::Command;

const TOOL: Tool = Tool {
    name: "pk-init",
    program: env!("CARGO_BIN_EXE_pk-init"),
    options: &[],
    valued: ["", "", ""],
    root: Root::None,
    waits: true,
};

mod promises {
    crate::contract::promises!(crate::TOOL);
}

/// What pk-init is for the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum As {
    Pid1,
    Subreaper,
}

impl As {
    const BOTH: [Self; 2] = [Self::Pid1, Self::Subreaper];

    /// What goes before pk-init, or before a PROG that has to do without it.
    fn command(self) -> Command {
        let mut command = Command::new(if self == Self::Pid1 { "unshare" } else { "env" });
        if self == Self::Pid1 && !is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        if self == Self::Pid1 {
            command.args(["--pid", "--fork", "--kill-child"]);
        }
        command
    }

    fn pk_init(self, prog: &[&str]) -> Command {
        let mut command = self.command();
        command.arg(TOOL.program).args(prog);
        command
    }

    /// pk-init with a shell `script` as PROG.
    fn start(self, script: &str) -> Running {
        Running::start(self.pk_init(&["sh", "-c", &telling_its_pid(script)]))
    }
}

/// The parent of a process: pk-init, if that was given PROG's PID.
fn parent(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn the_status_is_that_of_prog_fifty_times_over() {
    for mode in As::BOTH {
        for round in 0..50 {
            for (end, status) in [("exit 7", 7), ("kill -TERM $$", 143), ("kill -40 $$", 168)] {
                // Orphans end before, while and after PROG does.
                let script = format!("(exit 3 &); (sleep 0.01 &); {end}");
                let outcome = run(&mut mode.pk_init(&["sh", "-c", &script]));
                let expected = (status, String::new(), String::new());
                assert_eq!(outcome, expected, "{mode:?}, round {round}: {end}");
            }
        }
    }
}

#[test]
fn prog_is_not_pid_1_and_its_parent_is() {
    let outcome = run(&mut As::Pid1.pk_init(&["sh", "-c", "echo $$ $PPID"]));
    assert_eq!(outcome, (0, "2 1\n".to_owned(), String::new()));
}

#[test]
fn it_runs_in_a_root_that_has_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    for (from, name) in [(TOOL.program, "pk-init"), ("/bin/busybox", "busybox")] {
        if !copy(from, root.path().join(name)) {
            return skip("/bin/busybox is missing");
        }
    }
    let mut command = As::Pid1.command();
    command.arg("--root").arg(root.path()).args(["/pk-init", "/busybox", "sh", "-c", "exit 9"]);
    let outcome = run(&mut command);
    assert_eq!(outcome, (9, String::new(), String::new()));
}
