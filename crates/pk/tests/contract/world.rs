//! The world in which PROG wakes up.

use super::{Root, Stage, Tool, run};
use std::process::Command;

pub fn variables_of_pk_go_no_further_than_pk(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    // A tool is known by its name; this one shows its environment.
    let link = stage.file("pk-ns", "#!/bin/sh\nexec env\n", 0o755);
    let variables = |prog: &str| {
        let mut command = stage.command(&[], &[prog]);
        let (status, stdout, _) = run(command.env("PK_TEST", "1").env("TEST", "2"));
        assert_eq!(status, 0);
        ["PK_TEST=1", "TEST=2"].map(|line| stdout.lines().any(|other| other == line))
    };
    assert_eq!(variables("env"), [false, true]);
    assert_eq!(variables(&link), [true, true]);
}

pub fn signals_are_as_they_were_found(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let show = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    let found = [
        "--default-signal=PIPE",
        "--ignore-signal=PIPE",
        "--ignore-signal=CHLD",
        "--block-signal=USR1",
    ];
    // Signals from 32 on are the C library's own.
    let masks = |command: &mut Command| -> Vec<u32> {
        let (status, stdout, _) = run(command);
        assert_eq!(status, 0);
        let mask = |line: &str| u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap();
        stdout.lines().map(|line| u32::try_from(mask(line) & 0x7fff_ffff).unwrap()).collect()
    };
    let mut seen = Vec::new();
    for arrangement in found {
        // Right before the tool: a link of somebody else's may do as it likes.
        let inside =
            masks(stage.before().args(["env", arrangement]).args(stage.line(&[])).args(show));
        let outside = masks(Command::new("env").arg(arrangement).args(show));
        assert_eq!(inside, outside, "{arrangement}");
        seen.push(inside);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), found.len(), "each arrangement is to be seen: {seen:?}");
}

pub fn descriptors_are_not_leaked(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let list = ["ls", "/proc/self/fd"];
    for script in ["exec \"$@\"", "exec 5< /; exec \"$@\""] {
        let inside = run(&mut stage.by_shell(script, &[], &list));
        let outside = match tool.root {
            // 3 is that of ls itself.
            Root::Entered => (0, "0\n1\n2\n3\n".to_owned(), String::new()),
            _ => run(Command::new("sh").args(["-c", script, "sh"]).args(list)),
        };
        assert_eq!(inside, outside, "{script}");
    }
}

pub fn a_pipe_that_closes_ends_prog(tool: &Tool) {
    let Some(stage) = Stage::set(tool) else { return };
    let outcome = run(&mut stage.by_shell("\"$@\" | head -n 1", &[], &["yes"]));
    assert_eq!(outcome, (0, "y\n".to_owned(), String::new()));
}
