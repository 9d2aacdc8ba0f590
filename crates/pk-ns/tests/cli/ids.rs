//! Id maps, seen by PROG.

use crate::contract::{copy, is_root, run, skip};
use crate::{TOOL, output};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const SHOW: [&str; 3] = ["sh", "-c", "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map"];

/// The tool where other users find it, which where it was built they may not.
pub fn reachable(directory: &TempDir) -> PathBuf {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join(TOOL.name);
    assert!(copy(TOOL.program, &program));
    program
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn the_caller_is_mapped_to_root() {
    let user = if is_root() { "65534".to_owned() } else { own_id("-u") };
    let group = if is_root() { "65534".to_owned() } else { own_id("-g") };
    let directory = tempfile::tempdir().unwrap();
    let ordinary = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let run_as = |options: &[&str]| {
        let mut command = Command::new("env");
        command.args(ordinary.iter().filter(|_| is_root()));
        command.arg(reachable(&directory)).args(options);
        output(command.args(SHOW))
    };
    let mapped = run_as(&["--user", "--map-root"]);
    assert_eq!(words(&mapped), ["0", "0", "0", &user, "1", "0", &group, "1"]);
    assert_eq!(words(&run_as(&["--user"])), ["65534", "65534"], "without a map");
}

fn own_id(option: &str) -> String {
    output(Command::new("id").arg(option)).trim().to_owned()
}

#[test]
fn root_maps_any_ids() {
    if !is_root() {
        return skip("only root maps any ids");
    }
    let with_map = |options: &[&str]| {
        output(Command::new(TOOL.program).arg("--user").args(options).args(SHOW))
    };
    // The caller's 0 is not mapped: it becomes the root of the namespace.
    let map = "0:100000:65536";
    let shown = with_map(&["--uid-map", map, "--gid-map", map]);
    assert_eq!(words(&shown), words("0 0  0 100000 65536  0 100000 65536"));
    let shown = with_map(&["--uid-map=5:0:1", "--uid-map=6:100000:10", "--gid-map=7:0:1"]);
    assert_eq!(words(&shown), words("5 7  5 0 1  6 100000 10  7 0 1"));
}

#[test]
fn a_map_that_the_kernel_refuses_is_an_error() {
    if !is_root() {
        return skip("only root maps any ids");
    }
    let twice = ["--user", "--uid-map=0:0:2", "--uid-map=1:5:1", "--gid-map=0:0:1", "true"];
    let (status, stdout, stderr) = run(Command::new(TOOL.program).args(twice));
    assert_eq!((status, stdout.as_str()), (125, ""));
    assert!(stderr.starts_with("pk-ns: write(\"/proc/"), "{stderr}");
    assert!(stderr.ends_with("/uid_map\"): Invalid argument\n"), "{stderr}");
}

/// An ordinary user's name, user id and group id, and the first range granted to it.
fn granted() -> Option<([String; 3], [String; 2])> {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let (users, groups) = (text("/etc/subuid"), text("/etc/subgid"));
    text("/etc/passwd").lines().find_map(|line| {
        let user: Vec<&str> = line.split(':').collect();
        let range = |text: &str| {
            let mut of_user =
                text.lines().filter_map(|line| line.strip_prefix(user[0])?.strip_prefix(':'));
            let (first, count) = of_user.next()?.split_once(':')?;
            // More than one grant would be more than one line to expect.
            of_user.next().is_none().then(|| [first.to_owned(), count.to_owned()])
        };
        let granted = range(&users)?;
        let own = is_root() || user[2] == own_id("-u");
        let ids = [user[0], user[2], user[3]].map(str::to_owned);
        (own && user[2] != "0" && range(&groups)? == granted).then_some((ids, granted))
    })
}

#[test]
fn subordinate_ids_are_mapped_beside_the_callers() {
    let Some(([_, user, group], [first, count])) = granted() else {
        return skip("no ordinary user has subordinate ids in /etc/subuid and /etc/subgid");
    };
    if !Command::new("newuidmap").output().is_ok_and(|output| output.status.code() == Some(1)) {
        return skip("newuidmap is missing (Debian's package uidmap has it)");
    }
    let directory = tempfile::tempdir().unwrap();
    let become_user = ["setpriv", "--reuid", &user, "--regid", &group, "--clear-groups"];
    let mut command = Command::new("env");
    command.args(become_user.iter().filter(|_| is_root())).arg(reachable(&directory));
    let shown = output(command.args(["--user", "--map-auto"]).args(SHOW));
    let map = |own| format!("0 {own} 1  1 {first} {count}");
    assert_eq!(words(&shown), words(&format!("0 0  {}  {}", map(&user), map(&group))));
}

#[test]
fn a_user_without_subordinate_ids_is_told_so() {
    // This number has no name, and no grant.
    let nobody = "64999";
    if !is_root() {
        return skip("becoming a user without subordinate ids needs root");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", nobody, "--regid", nobody, "--clear-groups"]);
    command.arg(reachable(&directory)).args(["--user", "--map-auto", "true"]);
    let stderr = "pk-ns: --map-auto: /etc/subuid grants 64999 no ids\n\
        hint: root can grant some: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 64999\n";
    assert_eq!(run(&mut command), (125, String::new(), stderr.to_owned()));
}

/// Without its maps PROG would be nobody in the namespace, and would run all the same.
#[test]
fn a_helper_that_is_killed_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let program = reachable(&directory);
    let newuidmap = directory.path().join("newuidmap");
    let table = [
        ("$PPID", "pk-ns: waitpid(helper): it was killed before the maps were written\n"),
        ("$$", "pk-ns: newuidmap(0 65534 1): signal: 9 (SIGKILL)\n"),
    ];
    for (victim, expected) in table {
        fs::write(&newuidmap, format!("#!/bin/sh\nkill -KILL {victim}\n")).unwrap();
        fs::set_permissions(&newuidmap, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", directory.path().display());
        let ordinary = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let mut command = Command::new("env");
        command.args(ordinary.iter().filter(|_| is_root())).arg(&program).env("PATH", path);
        command.args(["--user", "--uid-map", "0:65534:1", "--gid-map", "0:65534:1", "true"]);
        assert_eq!(run(&mut command), (125, String::new(), expected.to_owned()), "{victim}");
    }
}

#[test]
fn nobody_is_told_of_the_helper_where_sigchld_is_ignored() {
    let (user, group) = (own_id("-u"), own_id("-g"));
    if !is_root() {
        return skip("mapping ids without newuidmap needs root");
    }
    let map = |id: &str| format!("0:{id}:1");
    let mut command = Command::new("env");
    command.args(["--ignore-signal=CHLD", TOOL.program, "--user"]);
    command.args(["--uid-map", &map(&user), "--gid-map", &map(&group), "id", "-u"]);
    assert_eq!(run(&mut command), (0, "0\n".to_owned(), String::new()));
}
