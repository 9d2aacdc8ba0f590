//! New namespaces, each compared with the one that it was copied from.

use crate::contract::{is_root, private_mounts, run};
use crate::{TOOL, output, pk_ns};
use std::fs;
use std::process::Command;

/// The names in `/proc/PID/ns`, and the options for them.
pub const KINDS: [(&str, &str); 8] = [
    ("cgroup", "--cgroup"),
    ("ipc", "--ipc"),
    ("mnt", "--mount"),
    ("net", "--net"),
    ("pid", "--pid"),
    ("time", "--time"),
    ("user", "--user"),
    ("uts", "--uts"),
];

/// A PROG that prints its own namespaces, one a line.
pub fn show_own() -> Vec<String> {
    let paths = KINDS.map(|(name, _)| format!("/proc/self/ns/{name}"));
    [&["readlink".to_owned()], &paths[..]].concat()
}

/// The namespaces of a process, as `show_own` prints them.
pub fn of_process(pid: &str) -> String {
    let link = |(name, _)| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
    KINDS.map(|kind| format!("{}\n", link(kind).display())).concat()
}

/// The kinds in which two lists differ.
pub fn differing(ours: &str, theirs: &str) -> Vec<&'static str> {
    assert_eq!([ours, theirs].map(|list| list.lines().count()), [KINDS.len(); 2]);
    let pairs = ours.lines().zip(theirs.lines()).zip(KINDS);
    pairs.filter(|((ours, theirs), _)| ours != theirs).map(|(_, (name, _))| name).collect()
}

#[test]
fn each_option_gives_that_namespace_and_no_other() {
    let ours = of_process("self");
    for (name, option) in KINDS {
        // Without root, a user namespace has to give the right to the others.
        let mut expected = vec![name];
        if !is_root() && name != "user" {
            expected.push("user");
            expected.sort_unstable();
        }
        let theirs = output(pk_ns(&[option], &[]).args(show_own()));
        assert_eq!(differing(&ours, &theirs), expected, "{option}");
    }
    let theirs = output(Command::new(TOOL.program).arg("--all").args(show_own()));
    assert_eq!(differing(&ours, &theirs), KINDS.map(|(name, _)| name));
}

#[test]
fn a_host_name_is_given_without_renaming_the_host() {
    let host = || fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let before = host();
    let show = ["uname", "-n"];
    assert_eq!(output(&mut pk_ns(&["--uts", "--hostname", "pk-test-box"], &show)), "pk-test-box\n");
    assert_eq!(output(&mut pk_ns(&["--uts"], &show)), before);
    assert_eq!(host(), before);
}

#[test]
fn lo_is_all_there_is_and_up() {
    let devices = output(&mut pk_ns(&["--net"], &["cat", "/proc/net/dev"]));
    let names: Vec<&str> =
        devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert_eq!(names, ["lo"]);
    // The kernel makes routes to a device's addresses when it comes up.
    let routes = ["cat", "/proc/net/fib_trie"];
    assert!(output(&mut pk_ns(&["--net"], &routes)).contains("127.0.0.1"));
    let down = output(private_mounts().arg("--net").args(routes));
    assert!(!down.contains("127.0.0.1"), "{down}");
}

#[test]
fn prog_is_pid_1() {
    let show = ["sh", "-c", "echo $$"];
    assert_eq!(output(&mut pk_ns(&["--pid"], &show)), "1\n");
    assert_ne!(output(&mut pk_ns(&["--time"], &show)), "1\n");
}

/// The optional fields of the root mount: `shared:N`, `master:N`, or none.
fn propagation_of_root(mountinfo: &str) -> String {
    let root = mountinfo.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    let fields = root.split(' ').skip(6).take_while(|&field| field != "-");
    fields.collect::<Vec<_>>().join(" ")
}

#[test]
fn mounts_travel_as_they_are_told_to() {
    let show = ["cat", "/proc/self/mountinfo"];
    let table: &[(&str, &[&str], &[&str])] = &[
        ("shared", &[], &[]),
        ("shared", &["--propagation", "private"], &[]),
        ("shared", &["--propagation", "slave"], &["master"]),
        ("shared", &["--propagation", "unchanged"], &["shared"]),
        ("private", &["--propagation", "shared"], &["shared"]),
        ("private", &["--propagation", "unchanged"], &[]),
        ("private", &["--propagation", "slave"], &[]),
    ];
    for (outside, options, expected) in table {
        // The shell stays: a namespace without a process is gone, and nobody's master.
        let stay = ["sh", "-c", "\"$@\"; exit $?", "sh"];
        let mut command = private_mounts();
        command.args(["--propagation", outside]).args(stay);
        command.args([TOOL.program, "--mount"]).args(*options);
        let found = propagation_of_root(&output(command.args(show)));
        let kinds: Vec<&str> =
            found.split(' ').filter_map(|field| Some(field.split_once(':')?.0)).collect();
        assert_eq!(kinds, *expected, "{options:?} where mounts are {outside}");
    }
}

#[test]
fn clocks_are_moved() {
    let seconds = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
    let outside = || seconds(&fs::read_to_string("/proc/uptime").unwrap());
    let day = 86_400;
    let before = outside();
    let inside = seconds(&output(&mut pk_ns(
        &["--time", "--boottime", &day.to_string()],
        &["cat", "/proc/uptime"],
    )));
    assert!((before + day..=outside() + day).contains(&inside), "{before} {inside}");

    let offsets = ["cat", "/proc/self/timens_offsets"];
    let text = output(&mut pk_ns(&["--time", "--monotonic=-5", "--boottime", "7"], &offsets));
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "-5", "0", "boottime", "7", "0"]);
}

#[test]
fn an_ordinary_user_is_told_what_to_add() {
    let ordinary = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    // A user namespace of one's own has no say in the host's network.
    let mut command = Command::new("env");
    command.args(ordinary.iter().filter(|_| is_root()));
    let directory = tempfile::tempdir().unwrap();
    command.arg(crate::ids::reachable(&directory)).args(["--uts", "true"]);
    let hint = "hint: you are not root: add --user --map-root to own the namespaces\n";
    let stderr = format!("pk-ns: unshare(CLONE_NEWUTS): Operation not permitted\n{hint}");
    assert_eq!(run(&mut command), (125, String::new(), stderr));
}
