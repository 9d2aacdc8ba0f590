//! The five sets, `no_new_privs`, the securebits and the user, as `/proc/self/status` tells them.

use crate::contract::{is_root, run, skip};
use crate::{TOOL, as_root, field, in_user_namespace, output};
use std::process::Command;

const NAMES: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
const DEFAULT: u64 = 0xa004_25fb;
const CHOWN: u64 = 1;
const NET_BIND_SERVICE: u64 = 1 << 10;

fn sets(mut command: Command) -> [u64; 5] {
    let text = output(command.args(["cat", "/proc/self/status"]));
    NAMES.map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim_start_matches([':', '\t']), 16).unwrap()
    })
}

fn with(mut command: Command, options: &[&str]) -> Command {
    command.args(options);
    command
}

/// All that there are to be had.
fn all(tool: Command) -> u64 {
    sets(with(tool, &["--rlimit", "core=0"]))[3]
}

#[test]
fn all_five_sets_are_set() {
    for tool in [as_root, in_user_namespace] {
        let all = all(tool());
        assert_ne!(all, DEFAULT, "control: there is something to drop");
        let table: &[(&[&str], [u64; 5])] = &[
            (&["--caps", "default"], [0, DEFAULT, DEFAULT, DEFAULT, 0]),
            (&["--standard"], [0, DEFAULT, DEFAULT, DEFAULT, 0]),
            (&["--caps", "none"], [0; 5]),
            (&["--caps", "all"], [0, all, all, all, 0]),
            (&["--caps", "all,-CHOWN"], [0, all - 1, all - 1, all - 1, 0]),
            (&["--caps", "none,+CHOWN"], [0, CHOWN, CHOWN, CHOWN, 0]),
            (
                &["--standard", "--caps", "default,-CHOWN"],
                [0, DEFAULT - 1, DEFAULT - 1, DEFAULT - 1, 0],
            ),
            (&["--caps", "none,+CHOWN", "--ambient", "CHOWN"], [CHOWN; 5]),
        ];
        for (options, expected) in table {
            assert_eq!(sets(with(tool(), options)), *expected, "{options:?}");
        }
    }
}

/// As with Docker: who is not root loses them at the exec, unless they are ambient.
#[test]
fn another_user_has_what_is_ambient() {
    if !is_root() {
        return skip("becoming another user needs root");
    }
    let keep = "none,+NET_BIND_SERVICE,+CHOWN";
    let both = NET_BIND_SERVICE | CHOWN;
    let table: &[(&[&str], [u64; 5])] = &[
        (&["--caps", keep], [0, 0, 0, both, 0]),
        (
            &["--caps", keep, "--ambient", "NET_BIND_SERVICE"],
            [NET_BIND_SERVICE, NET_BIND_SERVICE, NET_BIND_SERVICE, both, NET_BIND_SERVICE],
        ),
    ];
    for (options, expected) in table {
        let mut command = with(as_root(), options);
        command.args(["--user", "65534"]);
        assert_eq!(sets(command), *expected, "{options:?}");
    }
    // setpriv's way to the same.
    let mut setpriv = Command::new("setpriv");
    setpriv.args([
        "--bounding-set=-all,+net_bind_service,+chown",
        "--inh-caps=-all,+net_bind_service",
    ]);
    setpriv.args([
        "--reuid=65534",
        "--regid=0",
        "--clear-groups",
        "--ambient-caps=-all,+net_bind_service",
    ]);
    assert_eq!(sets(setpriv), table[1].1);
}

#[test]
fn what_is_not_there_is_not_given() {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", TOOL.program, "--caps", "all,-CHOWN"]);
    command.args([TOOL.program, "--caps", "none,+CHOWN", "true"]);
    let reason = "pk-privs: capset: this process does not have CAP_CHOWN\n";
    assert_eq!(run(&mut command), (125, String::new(), reason.to_owned()));
}

/// Starts what is behind it as an ordinary user.
fn ordinary() -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
    } else {
        command.arg("--inh-caps=-all");
    }
    command
}

/// The tool where other users find it; they may not go where it was built.
fn reachable() -> Option<(tempfile::TempDir, String)> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pk-privs");
    assert!(crate::contract::copy(TOOL.program, &path));
    let path = path.to_str().unwrap().to_owned();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&directory, open).unwrap();
    let runs = run(ordinary().args([&path, "--version"])).0 == 0;
    if !runs {
        skip("the temporary directory is closed to other users");
    }
    runs.then_some((directory, path))
}

#[test]
fn an_ordinary_user_does_what_the_kernel_allows() {
    let Some((_directory, program)) = reachable() else { return };
    let tool = |options: &[&str]| {
        let mut command = ordinary();
        command.arg(&program).args(options);
        command
    };
    assert_eq!(field(&mut tool(&["--no-new-privs"]), "NoNewPrivs"), "1");
    assert_eq!(field(&mut tool(&["--no-new-privs", "--seccomp", "default"]), "Seccomp"), "2");
    assert_eq!(output(tool(&["--rlimit", "nofile=77"]).args(["sh", "-c", "ulimit -n"])), "77\n");
    let needs_setpcap = "hint: this needs CAP_SETPCAP, which this process does not have: \
        put pk-ns --user --map-root in front\n";
    let table: &[(&[&str], &str, &str)] = &[
        (
            &["--seccomp", "default"],
            "Permission denied",
            "hint: without CAP_SYS_ADMIN a filter needs --no-new-privs: \
             a setuid program could be misled by it\n",
        ),
        (&["--caps", "none"], "Operation not permitted", needs_setpcap),
        (&["--standard", "--no-new-privs"], "Operation not permitted", needs_setpcap),
        (&["--securebits", "noroot"], "Operation not permitted", needs_setpcap),
        (
            &["--user", "1"],
            "Operation not permitted",
            "hint: you are not root: put pk-ns --user --map-root --mount in front\n",
        ),
    ];
    for (options, reason, hint) in table {
        let (status, stdout, stderr) = run(tool(options).arg("true"));
        assert_eq!((status, stdout.as_str()), (125, ""), "{options:?}");
        assert!(stderr.ends_with(&format!(": {reason}\n{hint}")), "{options:?}: {stderr}");
    }
    // The same in a user namespace of theirs.
    let mut command = ordinary();
    command.args(["unshare", "--user", "--map-root-user", &program, "--standard"]);
    assert_eq!(sets(command), [0, DEFAULT, DEFAULT, DEFAULT, 0]);
}

#[test]
fn no_new_privs_is_off_unless_asked_for() {
    for (options, expected) in [
        (&["--no-new-privs"][..], "1"),
        (&["--standard"], "0"),
        (&["--standard", "--no-new-privs"], "1"),
    ] {
        assert_eq!(field(with(in_user_namespace(), options).arg("--"), "NoNewPrivs"), expected);
    }
}

#[test]
fn securebits_take_from_root_what_it_is() {
    let options = ["--caps", "all", "--securebits", "noroot,noroot_locked"];
    let [_, permitted, effective, bounding, _] = sets(with(in_user_namespace(), &options));
    assert_eq!([permitted, effective, bounding], [0, 0, all(in_user_namespace())]);
    let shown = output(with(in_user_namespace(), &options).args(["setpriv", "--dump"]));
    assert!(shown.contains("Securebits: noroot,noroot_locked"), "{shown}");
    let shown = output(with(in_user_namespace(), &options[..2]).args(["setpriv", "--dump"]));
    assert!(shown.contains("Securebits: [none]"), "control: {shown}");
}

#[test]
fn a_user_comes_with_groups() {
    if !is_root() {
        return skip("becoming another user needs root");
    }
    let of = |user: &str| {
        output(with(as_root(), &["--user", user]).args(["sh", "-c", "id -u; id -g; id -G"]))
    };
    assert_eq!(of("65534:7"), "65534\n7\n7\n");
    assert_eq!(of("4242"), "4242\n0\n0\n");
    assert_eq!(
        of("daemon:7,8,9"),
        format!("{}\n7\n7 8 9\n", output(Command::new("id").args(["-u", "daemon"])).trim())
    );
    assert_eq!(of("0:0"), "0\n0\n0\n");
    let saved = field(&mut with(as_root(), &["--user", "65534:7"]), "Uid");
    assert_eq!(saved, "65534\t65534\t65534\t65534", "real, effective, saved and of files");
}

#[test]
fn an_id_that_is_not_mapped_is_told() {
    let (status, _, stderr) = run(with(in_user_namespace(), &["--user", "77:0"]).arg("true"));
    assert_eq!(status, 125);
    let hint =
        "hint: an id is not mapped in this user namespace: pk-ns --map-auto maps more than one\n";
    assert!(stderr.ends_with(&format!(": Invalid argument\n{hint}")), "{stderr}");
}
