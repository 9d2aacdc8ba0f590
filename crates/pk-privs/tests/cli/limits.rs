//! Resource limits.

use crate::contract::run;
use crate::{TOOL, output};
use std::process::Command;

fn limits(options: &[&str], name: &str) -> String {
    let text = output(Command::new(TOOL.program).args(options).args(["cat", "/proc/self/limits"]));
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn limits_are_set() {
    let table: &[(&[&str], &str, &str)] = &[
        (&["--rlimit", "nofile=77"], "Max open files", "77 77"),
        (&["--rlimit", "nofile=77:78"], "Max open files", "77 78"),
        (&["--rlimit", "nofile=77:78", "--rlimit", "nofile=70:71"], "Max open files", "70 71"),
        (&["--rlimit", "core=0", "--rlimit", "cpu=100:200"], "Max cpu time", "100 200"),
        (&["--rlimit", "fsize=4096:unlimited"], "Max file size", "4096 unlimited"),
        (&["--rlimit", "rttime=5"], "Max realtime timeout", "5 5"),
        (&["--rlimit", "msgqueue=6"], "Max msgqueue size", "6 6"),
        (&["--rlimit", "sigpending=6"], "Max pending signals", "6 6"),
        (&["--rlimit", "as=8000000000"], "Max address space", "8000000000 8000000000"),
        (&["--rlimit", "locks=9"], "Max file locks", "9 9"),
    ];
    for (options, name, expected) in table {
        assert_eq!(limits(options, name), *expected, "{options:?}");
        assert_ne!(limits(&["--no-new-privs"], name), *expected, "control: {name}");
    }
}

/// In a user namespace nobody has a right to the machine's limits.
#[test]
fn a_hard_limit_is_raised_only_by_who_may() {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", TOOL.program, "--rlimit", "nofile=77"]);
    command.args([TOOL.program, "--caps", "none"]);
    command.args([TOOL.program, "--rlimit", "nofile=78", "true"]);
    let line = "pk-privs: setrlimit(RLIMIT_NOFILE, {rlim_cur = 78, rlim_max = 78}): \
        Operation not permitted\n\
        hint: the hard limit is 77, and to raise it takes CAP_SYS_RESOURCE\n";
    assert_eq!(run(&mut command), (125, String::new(), line.to_owned()));
}
