//! The switch of roots, and the ways back.

use crate::contract::{Stage, copy, is_root, private_mounts, run, skip};
use crate::{TOOL, complaint, output};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{chroot, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_root_is_root() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    let names = fs::read_dir(stage.root()).unwrap().map(|entry| entry.unwrap().file_name());
    let expected: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
    for options in [&[][..], &["--chroot"]] {
        let listed = output(&stage, options, &["ls", "/"]);
        assert_eq!(listed.lines().map(str::to_owned).collect::<BTreeSet<_>>(), expected);
        assert_eq!(output(&stage, options, &["pwd"]), "/\n");
    }
}

/// The mount points of PROG's mount namespace, as a process that enters it sees them: one that is
/// chrooted sees none of those outside, though they are there.
fn mount_points(stage: &Stage, options: &[&str]) -> Vec<String> {
    let mut command = stage.command(options, &["sh", "-c", "echo ready; exec cat"]);
    let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(running.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &running.id().to_string(), "--mount"]);
    let (status, mounts, stderr) = run(enter.args(["/bin/cat", "/proc/self/mountinfo"]));
    drop(running.stdin.take());
    assert!(running.wait().unwrap().success());
    assert_eq!((status, stderr.as_str()), (0, ""));
    mounts.lines().map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect()
}

#[test]
fn no_mount_of_the_host_is_left() {
    if !is_root() {
        return skip("entering a mount namespace needs root");
    }
    let Some(stage) = Stage::set(&TOOL) else { return };
    let of_root = |points: &[String]| {
        points.iter().all(|point| point == "/" || point == "/proc" || point.starts_with("/proc/"))
    };
    let pivoted = mount_points(&stage, &[]);
    assert!(
        of_root(&pivoted) && pivoted.iter().filter(|&point| point == "/").count() == 1,
        "{pivoted:?}"
    );
    let chrooted = mount_points(&stage, &["--chroot"]);
    assert!(!of_root(&chrooted), "{chrooted:?}");
}

#[test]
fn the_parents_mounts_stay_as_they_were() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    // Shared mounts would carry the end of the old root back to where they came from.
    for propagation in ["private", "shared", "slave"] {
        let see = "stat -c %d:%i / \"$1\" && cat /proc/self/mountinfo";
        let script =
            format!("a=$({see}); \"$0\" \"$1\" true && [ \"$a\" = \"$({see})\" ] && echo same");
        let mut command = private_mounts();
        command.args(["--propagation", propagation, "sh", "-c", &script, TOOL.program]);
        let outcome = run(command.arg(stage.root()));
        assert_eq!(outcome, (0, "same\n".to_owned(), String::new()), "{propagation}");
    }
}

/// Root's way out of a chroot: chroot once more and stay outside of that, so that no `..` is the
/// last one. Run inside ROOT, where this test is a program.
#[test]
#[ignore = "run inside ROOT by the test that follows"]
fn walk_out() {
    fs::create_dir("/jail").unwrap();
    chroot("/jail").unwrap();
    for _ in 0..64 {
        std::env::set_current_dir("..").unwrap();
    }
    chroot(".").unwrap();
    let marker = std::env::var_os("MARKER").unwrap();
    println!("{}", if Path::new(&marker).exists() { "outside" } else { "still inside" });
}

#[test]
fn a_second_chroot_leads_out_of_a_chroot_only() {
    for (options, expected) in [(&[][..], "still inside"), (&["--chroot"], "outside")] {
        let Some(stage) = Stage::set(&TOOL) else { return };
        assert!(copy(std::env::current_exe().unwrap(), stage.root().join("walk")));
        let marker = stage.directory().join("marker");
        fs::write(&marker, "").unwrap();
        let prog = ["/walk", "--exact", "switch::walk_out", "--ignored", "--nocapture"];
        let (status, stdout, stderr) = run(stage.command(options, &prog).env("MARKER", &marker));
        if status == 126 {
            return skip("the tests are not linked statically, and cannot run inside ROOT");
        }
        assert_eq!(status, 0, "{stdout}{stderr}");
        assert!(stdout.lines().any(|line| line.ends_with(expected)), "{options:?}: {stdout}");
    }
}

#[test]
fn descriptors_are_closed_but_those_that_are_kept() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    let open = "exec 5< / 6< / 7< /; exec \"$@\"";
    let list = ["ls", "/proc/self/fd"];
    for (options, expected) in [
        (&[][..], "0\n1\n2\n3\n"),
        (&["--keep-fd", "5"], "0\n1\n2\n3\n5\n"),
        (&["--keep-fd=7", "--keep-fd=5"], "0\n1\n2\n3\n5\n7\n"),
    ] {
        let outcome = run(&mut stage.by_shell(open, options, &list));
        assert_eq!(outcome, (0, expected.to_owned(), String::new()), "{options:?}");
    }
    // What a descriptor of the host's is good for, and why it is closed.
    let through = |options| run(&mut stage.by_shell(open, options, &["ls", "/proc/self/fd/5/"])).0;
    assert!(through(&["--keep-fd", "5"]) == 0 && through(&[]) != 0);
    let refused = complaint(&stage, &["--keep-fd", "77"], &["true"]);
    assert_eq!(refused, "--keep-fd 77: is no open descriptor\n");
}

#[test]
fn the_working_directory_lies_inside() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    symlink("/srv", stage.root().join("etc/link")).unwrap();
    for (directory, expected) in
        [("/srv", "/srv\n"), ("srv", "/srv\n"), ("/etc/link", "/srv\n"), ("../..", "/\n")]
    {
        let shown = output(&stage, &["--workdir", directory], &["sh", "-c", "pwd -P"]);
        assert_eq!(shown, expected, "{directory}");
    }
    stage.file("srv/here", "#!/bin/sh\necho found\n", 0o755);
    assert_eq!(output(&stage, &["-w", "srv"], &["./here"]), "found\n");
    let refused = |directory: &str, reason| {
        let call = format!("fchdir(openat2({directory:?}, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS))");
        let script = "exec 7< /etc; exec \"$@\"";
        let outcome = run(&mut stage.by_shell(script, &["--workdir", directory], &["pwd"]));
        let stderr = format!("pk-chroot-exec: {call}: {reason}\n");
        assert_eq!(outcome, (125, String::new(), stderr));
    };
    refused("/none", "No such file or directory");
    // A descriptor is still open at that moment.
    refused("/proc/self/fd/7", "Too many symbolic links encountered");
}

#[test]
fn what_is_the_root_already_is_not_switched() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    assert!(copy(TOOL.program, stage.root().join("again")));
    let show = ["sh", "-c", "pwd; readlink /proc/self/ns/mnt"];
    // Shows the mount namespace that the switch has made, then what the second switch leaves of it.
    let before = ["sh", "-c", "readlink /proc/self/ns/mnt; exec \"$@\"", "sh", "/again"];
    for root in ["/", "/srv/.."] {
        let shown = output(&stage, &["-w", "/srv"], &[&before[..], &[root], &show].concat());
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1..], ["/srv", lines[0]], "{root}");
    }
    let climb = "import os; os.chdir('/'); os.chroot(os.sys.argv[1]); os.execv('/again', ['again', '/', 'pwd'])";
    let mut outside = private_mounts();
    let (status, stdout, stderr) = run(outside.args(["python3", "-c", climb]).arg(stage.root()));
    assert_eq!((status, stdout.as_str()), (125, ""), "a working directory outside of the root");
    assert!(stderr.starts_with("pk-chroot-exec: getcwd(): No such file"), "{stderr}");
}

#[test]
fn root_has_to_be_a_directory() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    fs::write(stage.directory().join("file"), "").unwrap();
    for (root, reason) in [("none", "No such file or directory"), ("file", "Not a directory")] {
        let mut command = private_mounts();
        command.args([TOOL.program, root, "true"]).current_dir(stage.directory());
        let stderr = format!("pk-chroot-exec: open({root:?}, O_DIRECTORY): {reason}\n");
        assert_eq!(run(&mut command), (125, String::new(), stderr));
    }
}

#[test]
fn a_prog_of_the_hosts_is_not_found() {
    let Some(stage) = Stage::set(&TOOL) else { return };
    assert!(Path::new(TOOL.program).exists());
    let (status, _, stderr) = run(&mut stage.command(&[], &[TOOL.program]));
    let expected =
        format!("pk-chroot-exec: execve({:?}): No such file or directory\n", TOOL.program);
    assert_eq!((status, stderr), (127, expected));
}

#[test]
fn an_ordinary_user_is_told_what_to_put_in_front() {
    if !is_root() {
        return skip("giving up root needs root");
    }
    let Some(stage) = Stage::set(&TOOL) else { return };
    let program = stage.directory().join(TOOL.name);
    assert!(copy(TOOL.program, &program));
    let mut command = private_mounts();
    command
        .args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(program);
    let stderr = "pk-chroot-exec: unshare(CLONE_NEWNS): Operation not permitted\n\
        hint: you are not root: put pk-ns --user --map-root --mount in front\n";
    let outcome = run(command.arg(stage.root()).arg("true"));
    assert_eq!(outcome, (125, String::new(), stderr.to_owned()));
}
