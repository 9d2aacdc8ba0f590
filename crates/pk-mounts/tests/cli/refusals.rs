//! What is refused, in one line, and with nothing done.

use crate::contract::{private_mounts, run};
use crate::{TOOL, set_stage, shell};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn what_does_not_make_sense_is_refused() {
    let table: &[(&[&str], &str)] = &[
        (
            &["--bind", "none:/d"],
            "open(\"none\", O_PATH): No such file or directory\nhint: \"none\" is missing; mkdir -p none makes a directory\n",
        ),
        (&["--bind", "data"], "--bind \"data\": is not SRC:DST[:OPTION,...]\n"),
        (&["--bind", "data:/d:wrong"], "--bind \"data:/d:wrong\": no such option: wrong\n"),
        (&["--tmpfs", ""], "--tmpfs \"\": DST is empty\n"),
        (
            &["--overlay", "top"],
            "--overlay: one layer alone is not an overlay\n\
             hint: add --upper DIR --work DIR, or use the layer as ROOT with --read-only\n",
        ),
        (
            &["--overlay", "top:none"],
            "open(\"none\", O_PATH): No such file or directory\nhint: \"none\" is missing; mkdir -p none makes a directory\n",
        ),
        (&["--overlay", "top:data/file"], "open(\"data/file\", O_PATH): is not a directory\n"),
        (&["--overlay", "top", "--upper", "upper"], "--upper, --work: go together\n"),
        (&["--overlay", "top", "--work", "work"], "--upper, --work: go together\n"),
        (&["--upper", "upper", "--work", "work"], "--upper, --work: need --overlay\n"),
    ];
    for (options, complaint) in table {
        let Some(stage) = set_stage() else { return };
        let outcome = shell(&stage, "", &[&["--tmpfs", "/made"], *options].concat(), "echo run");
        assert_eq!(outcome, (125, String::new(), format!("pk-mounts: {complaint}")));
        assert!(!stage.root().join("made").exists(), "checks come before mount points");
    }
}

#[test]
fn a_prog_that_is_missing_is_told_before_a_mount_point_is_made() {
    let Some(stage) = set_stage() else { return };
    assert_eq!(run(&mut stage.command(&["--tmp"], &["pk-no-such"])).0, 127);
    assert!(!stage.root().join("tmp").exists());
    assert_eq!(run(&mut stage.command(&["--tmp"], &["true"])).0, 0);
    assert!(stage.root().join("tmp").exists());
}

#[test]
fn root_has_to_be_a_directory() {
    let Some(stage) = set_stage() else { return };
    for (root, reason) in [("none", "No such file or directory"), ("data/file", "Not a directory")]
    {
        let outcome = run(stage.before().args([TOOL.program, root, "true"]));
        let stderr = format!("pk-mounts: open({root:?}, O_DIRECTORY): {reason}\n");
        assert_eq!(outcome, (125, String::new(), stderr));
    }
}

#[test]
fn a_link_is_no_mount_point_for_proc_sys_and_dev() {
    for name in ["proc", "sys", "dev"] {
        let Some(stage) = set_stage() else { return };
        fs::create_dir(stage.root().join("elsewhere")).unwrap();
        symlink("/elsewhere", stage.root().join(name)).unwrap();
        let (status, stdout, stderr) = shell(&stage, "", &[&format!("--{name}")], "echo run");
        let call = format!("pk-mounts: openat2({:?}): ", stage.root().join(name));
        assert_eq!((status, stdout.as_str()), (125, ""));
        assert!(stderr.starts_with(&call), "{stderr}");
        let hint = "\nhint: a symbolic link in it would put the mount somewhere else; replace it by a directory\n";
        assert!(stderr.ends_with(hint), "{stderr}");
    }
    // Where a user asks for a path, its links lead to where they lead inside.
    let Some(stage) = set_stage() else { return };
    symlink("/elsewhere", stage.root().join("link")).unwrap();
    fs::create_dir(stage.root().join("elsewhere")).unwrap();
    let outcome = shell(&stage, "", &["--tmpfs", "/link"], "stat -fc %T $0/elsewhere");
    assert_eq!(outcome, (0, "tmpfs\n".to_owned(), String::new()));
}

#[test]
fn an_option_that_the_kernel_does_not_know_is_passed_on_with_its_words() {
    let Some(stage) = set_stage() else { return };
    let (status, _, stderr) = shell(&stage, "", &["--tmpfs", "/t:wrong=1"], "echo run");
    assert_eq!(status, 125);
    let reason = "Invalid argument\nhint: the kernel says: tmpfs: Unknown parameter 'wrong'\n";
    assert!(stderr.starts_with("pk-mounts: move_mount(fsmount(\"tmpfs\", \"wrong=1\""), "{stderr}");
    assert!(stderr.ends_with(reason), "{stderr}");
}

#[test]
fn mounts_that_others_would_see_are_refused() {
    let Some(stage) = set_stage() else { return };
    let root = stage.root();
    let mut command = private_mounts();
    // The last word on propagation counts.
    command.args(["--propagation", "shared", TOOL.program, "--tmp"]).arg(&root).arg("true");
    let (status, stdout, stderr) = run(&mut command);
    assert_eq!((status, stdout.as_str()), (125, ""));
    let call = format!("pk-mounts: move_mount({root:?}): the mount on ");
    assert!(stderr.starts_with(&call), "{stderr}");
    assert!(
        stderr
            .contains(" is shared: others would see what is mounted\nhint: mount --make-private ")
    );
    assert!(!root.join("tmp").exists());
}

#[test]
fn the_hosts_mount_namespace_is_refused() {
    let Some(stage) = set_stage() else { return };
    // A shell that is PID 1 plays the host.
    let host = |script: &str| {
        let mut command = private_mounts();
        command.args(["--pid", "--fork", "--mount-proc", "sh", "-c", script, TOOL.program]);
        run(command.arg(stage.root()))
    };
    let stderr = format!(
        "pk-mounts: move_mount({:?}): this is the host's mount namespace, and mounts stay there\n\
         hint: put pk-ns --mount in front, or unshare --mount\n",
        stage.root()
    );
    let refused = host("\"$0\" --tmp \"$1\" true; echo $?");
    assert_eq!(refused, (0, "125\n".to_owned(), stderr));
    assert!(!stage.root().join("tmp").exists());
    let allowed = [
        // In a namespace that is not the host's, and as the PID 1 that takes its own along.
        "unshare --mount --propagation private \"$0\" --tmp \"$1\" echo run; true",
        "exec \"$0\" --tmp \"$1\" echo run",
    ];
    for script in allowed {
        assert_eq!(host(script), (0, "run\n".to_owned(), String::new()), "{script}");
    }
}
