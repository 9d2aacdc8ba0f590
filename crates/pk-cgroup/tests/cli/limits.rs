//! Limits hold, and none is set where all cannot be.

use crate::group::Group;
use crate::{is_alive, run, status, text};

/// Fills one buffer of 100 MB.
pub const HOG: [&str; 5] = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];

#[test]
fn memory_is_limited() {
    let Some(parent) = Group::new() else { return };
    let limit = ["--memory", "32M", "--memory-swap", "32M"];
    let output = run(&[&["--parent", parent.path()], &limit[..], &HOG].concat());
    assert_eq!(status(&output), 137, "{output:?}");
    let output = run(&[&["--parent", parent.path()], &HOG[..]].concat());
    assert_eq!(status(&output), 0, "control: {output:?}");
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
