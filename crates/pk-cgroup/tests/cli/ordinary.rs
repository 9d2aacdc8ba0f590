//! An ordinary user: what is delegated works, and what is not is told with the rule and the way out.
//!
//! On v2 alone, which every machine has; where it has the controllers too, `scripts/vm-test`.

use crate::group::{Group, v2};
use crate::{pk_cgroup, status, text};
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

const USER: u32 = 65534;

/// A group of root's, in the v2 hierarchy.
struct Stage {
    parent: Group,
    directory: PathBuf,
    /// Where the user can run the tool.
    copy: TempDir,
}

impl Stage {
    fn set() -> Option<Self> {
        let parent = Group::new()?;
        let Some(v2) = v2() else {
            println!("SKIP no v2 hierarchy");
            return None;
        };
        let copy = tempfile::tempdir().unwrap();
        let arguments = [env!("CARGO_BIN_EXE_pk-cgroup").as_ref(), copy.path().as_os_str()];
        assert!(Command::new("cp").args(arguments).status().unwrap().success());
        assert!(Command::new("chmod").arg("755").arg(copy.path()).status().unwrap().success());
        Some(Self { directory: v2.join(&parent.path()[1..]), parent, copy })
    }

    /// What systemd hands over with `Delegate=yes`.
    fn delegate(&self) {
        for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            chown(self.directory.join(file), Some(USER), None).unwrap();
        }
    }

    /// The user's shell, which is in the group `from`, runs the tool below the parent.
    fn run_from(&self, from: &str, arguments: &[&str]) -> Output {
        self.run_below(self.parent.path(), from, arguments)
    }

    fn run_below(&self, parent: &str, from: &str, arguments: &[&str]) -> Output {
        let script = r#"[ -z "$1" ] || echo 0 > "$1/cgroup.procs" || exit 1
            user=$2; shift 2
            exec setpriv --reuid $user --regid $user --clear-groups sh -c '"$@"; exit $?' sh "$@""#;
        let from = if from.is_empty() { String::new() } else { self.path(from) };
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", &from, &USER.to_string()]);
        command.arg(self.copy.path().join("pk-cgroup")).args(["--parent", parent]).args(arguments);
        command.env("XDG_RUNTIME_DIR", "/nowhere").output().unwrap()
    }

    fn path(&self, group: &str) -> String {
        self.directory.join(group).to_str().unwrap().to_owned()
    }

    fn make(&self, group: &str) {
        std::fs::create_dir(self.directory.join(group)).unwrap();
    }

    fn remove(&self, group: &str) {
        crate::cleaning::eventually("the group is empty", || {
            std::fs::remove_dir(self.directory.join(group)).is_ok()
        });
    }
}

fn hint(output: &Output) -> String {
    assert_eq!(status(output), 125, "{output:?}");
    let error = text(&output.stderr);
    error.split_once("\nhint: ").unwrap_or_else(|| panic!("{error}")).1.trim_end().to_owned()
}

#[test]
fn what_is_not_delegated_is_told_with_the_commands_that_would() {
    let Some(stage) = Stage::set() else { return };
    let output = stage.run_from("", &["echo", "ran"]);
    assert!(text(&output.stderr).starts_with("pk-cgroup: mkdir(\"/"), "{output:?}");
    let hint = hint(&output);
    assert!(hint.contains("belongs to user 0, and this is user 65534: it is not deleg"), "{hint}");
    // The commands do what they say: root follows them, with a shell of its own as the caller.
    let commands = hint.split_once("as root: ").expect("commands").1;
    let (commands, enter) = commands.rsplit_once(" && echo ").unwrap();
    let done = Command::new("sh").args(["-ec", commands]).status().unwrap();
    assert!(done.success(), "{commands}");
    assert!(enter.ends_with(" > user-65534/shell/cgroup.procs"), "{enter}");
    let inside = format!("{}/user-65534", stage.parent.path());
    let output = stage.run_from("user-65534/shell", &["cat", "/proc/self/cgroup"]);
    assert_eq!(status(&output), 125, "beside it, it is as before: {output:?}");
    let below = stage.run_below(&inside, "user-65534/shell", &["cat", "/proc/self/cgroup"]);
    assert_eq!(status(&below), 0, "{below:?}");
    assert!(text(&below.stdout).contains(&format!("0::{inside}/pk-anonymous.")), "{below:?}");
    stage.remove("user-65534/shell");
    stage.remove("user-65534");
}

#[test]
fn a_process_outside_of_what_is_delegated_is_told_how_it_gets_in() {
    let Some(stage) = Stage::set() else { return };
    stage.delegate();
    let output = stage.run_from("", &["echo", "ran"]);
    let told = hint(&output);
    assert!(told.contains("delegation containment rules"), "{told}");
    assert!(told.contains("as root: mkdir -p ") && told.contains("/shell && echo "), "{told}");
    assert_eq!(stage.parent.children(), [""; 0], "what was made is removed");
    stage.make("shell");
    let output = stage.run_from("shell", &["echo", "ran"]);
    assert_eq!((status(&output), text(&output.stdout).as_str()), (0, "ran\n"), "{output:?}");
    stage.remove("shell");
}

#[test]
fn a_group_of_roots_below_is_not_entered() {
    let Some(stage) = Stage::set() else { return };
    stage.delegate();
    stage.make("shell");
    stage.make("box");
    let output = stage.run_from("shell", &["--name=box", "true"]);
    let told = hint(&output);
    assert!(told.contains("box/cgroup.procs\" belongs to user 0"), "{told}");
    chown(stage.path("box/cgroup.procs"), Some(USER), None).unwrap();
    assert_eq!(status(&stage.run_from("shell", &["--name=box", "true"])), 0);
    stage.remove("box");
    stage.remove("shell");
}

#[test]
fn a_limit_on_the_number_of_groups_is_named() {
    let Some(stage) = Stage::set() else { return };
    let file = stage.directory.join("cgroup.max.descendants");
    std::fs::write(&file, "0").unwrap();
    let run = || pk_cgroup().args(["--parent", stage.parent.path(), "true"]).output().unwrap();
    let told = hint(&run());
    assert!(told.contains("cgroup.max.descendants\" is 0"), "{told}");
    std::fs::write(&file, "max").unwrap();
    assert_eq!(status(&run()), 0);
}
