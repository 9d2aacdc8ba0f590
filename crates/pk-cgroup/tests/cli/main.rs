//! Runs the binary: status, standard error and effect, on this machine's own hierarchies.
//!
//! Every test has a group of its own at the top of them, and checks that nothing is left in it.

mod group;

use group::Group;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

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

/// Waits until something holds, for ten seconds at most.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_wrong_command_line_is_one_clear_line() {
    let table: &[(&[&str], &str)] = &[
        (&["--memory", "12Q", "true"], r#"pk-cgroup: --memory "12Q": is no size"#),
        (&["--nonsense", "true"], "pk-cgroup: --nonsense: no such option"),
        (&["--pids", "0", "true"], r#"pk-cgroup: --pids "0": is no count"#),
        (&["--cpus", "0", "true"], r#"pk-cgroup: --cpus "0": is no number"#),
        (&["--cpu-weight", "x", "true"], r#"pk-cgroup: --cpu-weight "x": is no weight"#),
        (&["--cpuset", "1-0", "true"], r#"pk-cgroup: --cpuset "1-0": is no list"#),
        (&["--io-max", "8:0", "true"], r#"pk-cgroup: --io-max "8:0": names no device"#),
        (&["--memory-swap", "1M", "true"], "pk-cgroup: --memory-swap: is memory and swap"),
        (&["--name", "a/b", "true"], r#"pk-cgroup: --name "a/b": is no name"#),
        (&["--parent", "../x", "true"], r#"pk-cgroup: --parent "../x": is no path"#),
        (&["--memory", "1M"], "pk-cgroup: PROG: missing operand"),
        (&[], "pk-cgroup: PROG: missing operand"),
        (&["--stat"], "pk-cgroup: --stat: needs --name NAME"),
        (&["--name", "x", "--stat", "true"], "pk-cgroup: true: --stat takes no PROG"),
        (&["--name", "x", "--stat", "--kill"], "pk-cgroup: --kill: does not go together"),
        (&["--name", "x", "--kill", "--pids", "1"], "pk-cgroup: --pids: --kill sets no limit"),
        (&["--name", "pk-no-such", "--kill"], r#"pk-cgroup: --name "pk-no-such": no such group"#),
        (&["--parent", "/pk-no-such", "true"], "pk-cgroup: --parent: stat("),
    ];
    for (arguments, expected) in table {
        let output = run(arguments);
        assert_eq!(status(&output), 125, "{arguments:?}: {output:?}");
        let error = text(&output.stderr);
        assert!(error.starts_with(expected), "{arguments:?}: {error}");
        let is_hint = |line: &str| line.starts_with("hint: ");
        assert!(error.lines().skip(1).all(is_hint), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn explaining_needs_no_privilege_and_does_nothing() {
    let copy = tempfile::tempdir().unwrap();
    let binary = copy.path().join("pk-cgroup");
    fs::copy(env!("CARGO_BIN_EXE_pk-cgroup"), &binary).unwrap();
    let mut command = Command::new(binary);
    if rustix::process::getuid().is_root() {
        Command::new("chmod").arg("755").arg(copy.path()).status().unwrap();
        command.uid(65534).gid(65534);
    }
    command.args(["--explain", "--parent", "/", "--name", "pk-explained", "--pids", "3"]);
    let output = command.args(["sh", "-c", "echo ran"]).output().unwrap();
    let explained = text(&output.stdout);
    if text(&output.stderr).contains("no pids controller") {
        return println!("SKIP no pids controller");
    }
    assert_eq!(status(&output), 0, "{output:?}");
    for part in ["mkdir(", "pids.max\", \"3\")", "$ echo 3 > ", "cgroup.procs\", \"0\")", "execve("]
    {
        assert!(explained.contains(part), "{part} in {explained}");
    }
    assert!(!explained.contains("\nran"));
    assert!(group::mounts().iter().all(|point| !point.join("pk-explained").exists()));
}

#[test]
fn an_ordinary_user_is_told_what_was_not_permitted() {
    let Some(parent) = Group::new() else { return };
    let copy = tempfile::tempdir().unwrap();
    let binary = copy.path().join("pk-cgroup");
    fs::copy(env!("CARGO_BIN_EXE_pk-cgroup"), &binary).unwrap();
    Command::new("chmod").arg("755").arg(copy.path()).status().unwrap();
    let mut command = Command::new(binary);
    command.uid(65534).gid(65534).args(["--parent", parent.path(), "true"]);
    let output = command.output().unwrap();
    assert_eq!(status(&output), 125);
    let error = text(&output.stderr);
    assert!(error.starts_with("pk-cgroup: mkdir(\"/"), "{error}");
    assert!(error.contains("Permission denied\nhint: "), "{error}");
    assert!(error.contains("belongs to user 0, and this is user 65534"), "{error}");
}

#[test]
fn the_status_is_that_of_prog() {
    let Some(parent) = Group::new() else { return };
    let table: &[(&[&str], i32)] = &[
        (&["true"], 0),
        (&["false"], 1),
        (&["sh", "-c", "exit 42"], 42),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["pk-no-such-program"], 127),
        (&["/"], 126),
        (&["/etc/passwd"], 126),
    ];
    for (prog, expected) in table {
        let output = run(&[&["--parent", parent.path()], *prog].concat());
        assert_eq!(status(&output), *expected, "{prog:?}: {output:?}");
        assert_eq!(output.stderr.is_empty(), *expected != 126 && *expected != 127, "{output:?}");
    }
    assert_eq!(parent.children(), [""; 0]);
}

#[test]
fn arguments_and_descriptors_reach_prog_as_they_were() {
    let Some(parent) = Group::new() else { return };
    let odd = std::ffi::OsString::from_vec(b"caf\xe9 --pids".to_vec());
    let mut command = pk_cgroup();
    command.args([
        "--parent",
        parent.path(),
        "sh",
        "-c",
        "printf %s \"$1\"; ls /proc/self/fd",
        "sh",
    ]);
    let output = command.arg(&odd).output().unwrap();
    let rest = output.stdout.strip_prefix(odd.as_bytes()).expect("the argument unchanged");
    // What this test was given by its own parents reaches PROG too; compare with a plain run.
    let plain = Command::new("sh").args(["-c", "ls /proc/self/fd"]).output().unwrap();
    assert_eq!(text(rest), text(&plain.stdout));
}

#[test]
fn memory_is_limited() {
    let Some(parent) = Group::new() else { return };
    // The shell itself keeps the 100 MB.
    let hog = r"x=$(head -c 100M /dev/zero | tr '\0' x); echo ${#x}";
    let limit = ["--memory", "32M", "--memory-swap", "32M"];
    let output = run(&[&["--parent", parent.path()], &limit[..], &["sh", "-c", hog]].concat());
    assert_eq!((status(&output), text(&output.stdout).as_str()), (137, ""));
    let output = run(&["--parent", parent.path(), "sh", "-c", hog]);
    assert_eq!((status(&output), text(&output.stdout).as_str()), (0, "104857600\n"));
    assert_eq!(parent.children(), [""; 0]);
}

#[test]
fn tasks_are_limited_and_what_is_left_is_killed() {
    let Some(parent) = Group::new() else { return };
    let forks = "for i in 1 2 3 4 5 6 7 8 9; do sleep 60 & done; echo $!";
    let output = run(&["--parent", parent.path(), "--pids", "5", "sh", "-c", forks]);
    assert_ne!(status(&output), 0, "a fork has failed: {output:?}");
    let output = run(&["--parent", parent.path(), "sh", "-c", forks]);
    assert_eq!(status(&output), 0, "without the limit none fails: {output:?}");
    assert!(!is_alive(text(&output.stdout).trim()), "the last sleep was left and is killed");
    assert_eq!(parent.children(), [""; 0]);
}

#[test]
fn groups_that_prog_made_are_removed_too() {
    let Some(parent) = Group::new() else { return };
    let makes = "d=$(sed -n 's/^0:://p' /proc/self/cgroup)
        for m in \"$@\"; do mkdir -p $m$d/a/b && echo made; done
        for m in \"$@\"; do (echo 0 > $m$d/a/b/cgroup.procs; sleep 60 & ) ; done";
    let v2 = group::v2().map(|point| point.display().to_string());
    let Some(v2) = v2 else { return println!("SKIP no v2 hierarchy") };
    let output = run(&["--parent", parent.path(), "sh", "-c", makes, "sh", &v2]);
    assert_eq!(text(&output.stdout), "made\n", "{output:?}");
    assert_eq!(parent.children(), [""; 0]);
}

#[test]
fn without_v2_processes_are_killed_one_by_one() {
    let Some(parent) = Group::new() else { return };
    let Some(v2) = group::v2() else { return println!("SKIP no v2 hierarchy to hide") };
    if group::mounts().len() < 2 {
        return println!("SKIP no v1 hierarchy");
    }
    // In a mount namespace of its own, the v2 hierarchy is not mounted.
    let hide = "umount \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", hide, "sh"]).arg(v2);
    command.args([env!("CARGO_BIN_EXE_pk-cgroup"), "--parent", parent.path(), "--pids", "40"]);
    let forks = "for i in 1 2 3 4 5 6 7 8 9; do (sleep 60 & sleep 60) & done; echo $!; exit 9";
    let output = command.args(["sh", "-c", forks]).output().unwrap();
    assert_eq!(status(&output), 9, "{output:?}");
    assert!(!is_alive(text(&output.stdout).trim()), "the last of them");
    assert_eq!(parent.children(), [""; 0]);
}

#[test]
fn processors_are_limited() {
    let Some(parent) = Group::new() else { return };
    let show = "grep Cpus_allowed_list /proc/self/status";
    let output = run(&["--parent", parent.path(), "--cpuset", "0", "sh", "-c", show]);
    assert_eq!(text(&output.stdout), "Cpus_allowed_list:\t0\n", "{output:?}");
    let name = ["--parent", parent.path(), "--name", "box"];
    let output = run(&[&name[..], &["--cpus", "1.5", "--cpu-weight", "200", "true"]].concat());
    assert_eq!(status(&output), 0, "{output:?}");
    let stat: serde_json::Value =
        serde_json::from_slice(&run(&[&name[..], &["--stat"]].concat()).stdout).unwrap();
    assert_eq!((&stat["cpu"]["cpus"], &stat["cpu"]["weight"]), (&1.5.into(), &200.into()));
    let output = run(&[&name[..], &["--remove"]].concat());
    assert_eq!(status(&output), 0, "{output:?}");
}

#[test]
fn what_cannot_be_set_leaves_nothing_behind() {
    let Some(parent) = Group::new() else { return };
    let wrong = ["--parent", parent.path(), "--pids", "5", "--cpuset", "9999"];
    for name in [&[][..], &["--name", "box"]] {
        let output = run(&[&wrong[..], name, &["sh", "-c", "echo ran"]].concat());
        assert_eq!(status(&output), 125, "{output:?}");
        assert!(output.stdout.is_empty(), "PROG is not run");
        let error = text(&output.stderr);
        assert!(error.starts_with("pk-cgroup: write(\"/"), "{error}");
        assert!(error.contains("cpuset.cpus\", \"9999\"): "), "{error}");
        assert_eq!(parent.children(), [""; 0]);
    }
    // A group that is joined gets back what it had.
    let name = ["--parent", parent.path(), "--name", "box"];
    assert_eq!(status(&run(&[&name[..], &["--pids", "7", "true"]].concat())), 0);
    assert_eq!(status(&run(&[&name[..], &wrong[2..], &["true"]].concat())), 125);
    let stat: serde_json::Value =
        serde_json::from_slice(&run(&[&name[..], &["--stat"]].concat()).stdout).unwrap();
    assert_eq!(stat["pids"]["limit"], 7);
    assert_eq!(status(&run(&[&name[..], &["--remove"]].concat())), 0);
}

#[test]
fn a_named_group_is_kept_and_managed_by_its_name() {
    let Some(parent) = Group::new() else { return };
    let name = ["--parent", parent.path(), "--name", "box"];
    let manage = |verb: &str| run(&[&name[..], &[verb]].concat());
    let limits = ["--memory", "64M", "--pids", "10"];
    let script = "sleep 60 >&- 2>&- & echo $!; echo $$";
    let mut command = pk_cgroup();
    command.args(name).args(limits).args(["sh", "-c", script]).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    let own = child.id().to_string();
    let output = child.wait_with_output().unwrap();
    let printed = text(&output.stdout);
    let (sleeper, shell) = printed.trim().split_once('\n').unwrap();
    assert_eq!(shell, own, "PROG is exec'd in place");

    let stat = |key: &str| -> serde_json::Value {
        let output = manage("--stat");
        assert_eq!(status(&output), 0, "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()[key].take()
    };
    assert_eq!(stat("processes"), serde_json::json!([sleeper.parse::<u32>().unwrap()]));
    assert_eq!(stat("memory")["limit"], 64 << 20);
    assert_eq!(stat("pids"), serde_json::json!({"usage": 1, "limit": 10}));
    assert_eq!(stat("frozen"), false);
    assert_eq!(status(&manage("--freeze")), 0);
    assert_eq!(stat("frozen"), true);
    let output = manage("--remove");
    assert_eq!(status(&output), 125);
    assert!(text(&output.stderr).contains("processes are in it"), "{output:?}");
    assert!(is_alive(sleeper));
    assert_eq!(status(&manage("--thaw")), 0);
    assert_eq!(stat("frozen"), false);

    let joined = run(&[&name[..], &["--pids", "20", "cat", "/proc/self/cgroup"]].concat());
    assert!(text(&joined.stdout).contains(&format!("{}/box\n", parent.path())), "{joined:?}");
    assert_eq!(stat("pids")["limit"], 20);
    assert_eq!(stat("memory")["limit"], 64 << 20, "what is not said stays");

    assert_eq!(status(&manage("--freeze")), 0);
    assert_eq!(status(&manage("--kill")), 0, "also a frozen group");
    assert!(!is_alive(sleeper));
    assert_eq!(status(&manage("--remove")), 0);
    assert_eq!(parent.children(), [""; 0]);
    assert_eq!(status(&manage("--remove")), 125);
}

/// A run whose PROG has said that it is there, and the process that this one left behind.
fn start(parent: &Group) -> (Child, String) {
    let script = "sleep 60 >&- 2>&- & echo $!; sleep 60";
    let mut command = pk_cgroup();
    command.args(["--parent", parent.path(), "--pids", "9", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    let Some(parent) = Group::new() else { return };
    let (mut live, of_live) = start(&parent);
    let (mut child, left) = start(&parent);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_alive(&left), "nobody is there to kill it");
    assert_eq!(status(&run(&["--parent", parent.path(), "true"])), 0);
    assert!(!is_alive(&left));
    assert!(is_alive(&of_live), "a run that is alive keeps its group");
    assert_eq!(parent.children().len(), 1);
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&live),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert_eq!(live.wait().unwrap().code(), Some(143));
    eventually("its sleep is gone", || !is_alive(&of_live));
    assert_eq!(parent.children(), [""; 0]);
}

#[test]
fn two_hundred_at_once() {
    let Some(parent) = Group::new() else { return };
    let children: Vec<Child> = (0..200)
        .map(|index| {
            let script = format!("sleep 60 >&- 2>&- & sleep 0.1; exit {}", index % 100);
            let mut command = pk_cgroup();
            command.args(["--parent", parent.path(), "--pids", "9", "--memory", "64M"]);
            command.args(["sh", "-c", &script]).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (index, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert_eq!(usize::try_from(status(&output)).unwrap(), index % 100, "{output:?}");
        assert_eq!(text(&output.stderr), "");
    }
    assert_eq!(parent.children(), [""; 0]);
}
