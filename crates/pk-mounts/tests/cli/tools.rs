//! `--tools`: the tools are there inside, and the inside cannot change them.

use crate::TOOL;
use crate::contract::{Stage, copy, is_root, private_mounts, run, skip};
use std::fs;
use std::process::Command;

/// A stage with the tools in a directory of their own; sleep plays the one that runs inside.
fn set_stage() -> Option<Stage<'static>> {
    let stage = Stage::set(&TOOL)?;
    let bin = stage.directory().join("bin");
    fs::create_dir(&bin).unwrap();
    assert!(copy(TOOL.program, bin.join("pk-mounts")) && copy("/bin/sleep", bin.join("pk-init")));
    Some(stage)
}

/// Runs a shell with ROOT as `$0`, as root of this namespace or of a user namespace whose user owns
/// the tools. `before` comes before the mounts.
fn shell(
    stage: &Stage,
    user: bool,
    before: &str,
    options: &[&str],
    script: &str,
) -> (i32, String, String) {
    let mut command = Command::new("env");
    if user && is_root() {
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(stage.directory()));
        command.args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    if user {
        command.args(["unshare", "--user", "--map-root-user", "--mount"]);
        command.args(["--propagation", "private"]);
    } else {
        let unshare = private_mounts();
        command.arg(unshare.get_program()).args(unshare.get_args());
    }
    command.args(["sh", "-c", &format!("{before}\nexec \"$@\""), "sh", "bin/pk-mounts"]);
    command.args(options).arg("root").args(["sh", "-c", script, "root"]);
    run(command.current_dir(stage.directory()))
}

/// Tries to change a tool, by its name and through the process that runs it, as who has every
/// capability that there is here.
const OVERWRITE: &str = "
    mount -o remount,bind,rw $0/run/pk 2> /dev/null
    mount -o remount,rw $0/run/pk 2> /dev/null
    $0/run/pk/pk-init 0.3 & pid=$!
    until [ \"$(readlink /proc/$pid/exe)\" = \"$(realpath $0/run/pk/pk-init)\" ]; do :; done
    exec 3< /proc/$pid/exe
    wait
    (echo changed >> /proc/self/fd/3) 2> /dev/null && echo through the process
    (echo changed >> $0/run/pk/pk-init) 2> /dev/null && echo by its name
    mv $0/run/pk/pk-init $0/run/pk/other 2> /dev/null && echo its directory
    touch $0/run/pk/new 2> /dev/null && echo its directory as well
    true";

/// The same by root of the machine once pk-privs has taken `CAP_SYS_ADMIN` away.
fn without_sys_admin(script: &str) -> String {
    format!("exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin sh -c '{script}' $0")
}

#[test]
fn the_inside_cannot_change_the_tools() {
    for user in [false, true] {
        let Some(stage) = set_stage() else { return };
        let (bin, _) = (stage.directory().join("bin"), fs::create_dir(stage.root().join("run")));
        let before = fs::read(bin.join("pk-init")).unwrap();
        let attack = if user { OVERWRITE.to_owned() } else { without_sys_admin(OVERWRITE) };
        let outcome = shell(&stage, user, "", &["--tools"], &attack);
        assert_eq!(outcome, (0, String::new(), String::new()), "user namespace: {user}");
        assert!(fs::read(bin.join("pk-init")).unwrap() == before);
        assert_eq!(fs::read_dir(&bin).unwrap().count(), 2);

        // The controls: a bind that may be remounted, and one that is not read-only, are no obstacle.
        let bind = if user { "bin:/run/pk:ro" } else { "bin:/run/pk" };
        let outcome = shell(&stage, user, "", &["--bind", bind], &attack);
        let all = "through the process\nby its name\nits directory\nits directory as well\n";
        assert_eq!(outcome, (0, all.to_owned(), String::new()), "user namespace: {user}");
        assert!(fs::read(bin.join("other")).unwrap() != before);
    }
}

#[test]
fn the_tools_run_inside() {
    let show = "findmnt -rno OPTIONS $0/run/pk | cut -d, -f1-3; ls $0/run/pk; $0/run/pk/pk-init 0";
    for user in [false, true] {
        let Some(stage) = set_stage() else { return };
        let expected = (0, "ro,nosuid,nodev\npk-init\npk-mounts\n".to_owned(), String::new());
        let outcome = shell(&stage, user, "", &["--tools"], show);
        assert_eq!(outcome, expected);
        assert!(stage.root().join("run/pk").is_dir(), "the mount point stays");
        for options in [["--run", "--tools"], ["--tmpfs=/run:mode=755", "--tools"]] {
            assert_eq!(shell(&stage, user, "rmdir root/run/pk", &options, show), expected);
            assert!(!stage.root().join("run/pk").exists(), "it was made in the tmpfs: {options:?}");
            fs::create_dir(stage.root().join("run/pk")).unwrap();
        }
    }
}

#[test]
fn a_read_only_root_needs_room_for_the_mount_point() {
    let Some(stage) = set_stage() else { return };
    fs::create_dir(stage.root().join("run")).unwrap();
    let read_only = "mount --bind root root; mount -o remount,bind,ro root";
    let outcome = shell(&stage, false, read_only, &["--tools"], "echo run");
    let stderr = "pk-mounts: mkdir(\"root/run/pk\"): Read-only file system\n\
        hint: ROOT is read-only and has no /run/pk: --run makes room for it\n";
    assert_eq!(outcome, (125, String::new(), stderr.to_owned()));
    let outcome = shell(&stage, false, read_only, &["--tools", "--run"], "ls $0/run/pk");
    assert_eq!(outcome, (0, "pk-init\npk-mounts\n".to_owned(), String::new()));
    let outcome = shell(&stage, false, "", &["--tools", "--read-only"], "ls $0/run/pk");
    assert_eq!(outcome, (0, "pk-init\npk-mounts\n".to_owned(), String::new()));
}

#[test]
fn a_directory_that_is_not_that_of_the_tools_is_refused() {
    let Some(stage) = set_stage() else { return };
    let bin = fs::canonicalize(stage.directory().join("bin")).unwrap();
    let gone = "exec 3< bin/pk-mounts; rm bin/pk-mounts; exec /proc/self/fd/3 --tools root true";
    let (status, stdout, stderr) = shell(&stage, false, gone, &[], "");
    assert_eq!((status, stdout.as_str()), (125, ""));
    let reason = format!(
        "pk-mounts: --tools: \"{}/pk-mounts (deleted)\" is not this program, so its directory is \
         not known\n",
        bin.display()
    );
    assert_eq!(stderr, reason);

    let Some(stage) = set_stage() else { return };
    let bin = fs::canonicalize(stage.directory().join("bin")).unwrap();
    fs::remove_file(bin.join("pk-init")).unwrap();
    let outcome = shell(&stage, false, "", &["--tools"], "echo run");
    let stderr = format!(
        "pk-mounts: --tools: stat(\"{}/pk-init\"): No such file or directory\n",
        bin.display()
    );
    assert_eq!(outcome, (125, String::new(), stderr));
    assert!(!stage.root().join("run").exists(), "checks come first");
}

#[test]
fn the_tools_are_found_through_a_link() {
    let Some(stage) = set_stage() else { return };
    if !is_root() {
        return skip("only the name under which pk-mounts is started differs; tested as root");
    }
    let link = "ln -s bin/pk-mounts tool; exec ./tool --tools root sh -c 'ls root/run/pk'";
    let outcome = shell(&stage, false, link, &[], "");
    assert_eq!(outcome, (0, "pk-init\npk-mounts\n".to_owned(), String::new()));
}
