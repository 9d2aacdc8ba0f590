//! The rules that are seen in the files' text, on faked hierarchies. Those of owners and modes need
//! an ordinary user: `tests/cli/ordinary.rs`, and the virtual machine of `scripts/vm-test`.

use super::*;
use std::fs;
use tempfile::TempDir;

fn group(top: &TempDir, path: &str, files: &[(&str, &str)]) -> PathBuf {
    let group: PathBuf = top.path().join(path).components().collect();
    fs::create_dir_all(&group).unwrap();
    fs::write(group.join("cgroup.procs"), "").unwrap();
    for (file, text) in files {
        fs::write(group.join(file), text).unwrap();
    }
    group
}

fn error(errno: Errno) -> Error {
    errno.into()
}

#[test]
fn a_group_that_holds_processes_is_named_with_the_way_to_move_them() {
    let top = tempfile::tempdir().unwrap();
    let own = getpid().as_raw_nonzero();
    let held = group(&top, "a", &[("cgroup.procs", &format!("7\n{own}\n8\n"))]);
    let why = why_full_of_processes(&held).unwrap();
    assert!(why.contains("no internal processes") && why.contains("for p in 7 8; do"), "{why}");
    let alone = group(&top, "b", &[("cgroup.procs", &format!("{own}\n"))]);
    assert!(why_full_of_processes(&alone).unwrap().contains("exec pk-cgroup"));
    assert_eq!(why_full_of_processes(&group(&top, "c", &[])), None);
}

#[test]
fn the_first_rule_that_is_broken_on_the_way_up_is_told() {
    let top = tempfile::tempdir().unwrap();
    group(&top, "", &[("cgroup.controllers", "cpuset pids"), ("cgroup.type", "domain threaded")]);
    let files =
        [("cgroup.controllers", "pids"), ("cgroup.procs", "7\n"), ("cgroup.type", "domain\n")];
    let own = group(&top, "a", &files);
    // To root, which these tests may be run by, all of it is delegated.
    let why = |wanted| Delegation::new(None, wanted).why_not_below(&own);
    assert!(
        why(vec![Controller::Cpuset]).is_none(),
        "the root has none above it that could hand it on"
    );
    assert!(why(vec![Controller::Pids]).unwrap().contains("holds processes"));
    fs::write(own.join("cgroup.procs"), "").unwrap();
    assert!(why(vec![Controller::Pids]).unwrap().contains("taken without --parent"));
}

#[test]
fn a_controller_that_the_group_above_keeps_is_named() {
    let top = tempfile::tempdir().unwrap();
    group(&top, "", &[("cgroup.subtree_control", "pids")]);
    let own = group(&top, "a", &[("cgroup.controllers", "pids"), ("cgroup.subtree_control", "")]);
    let file = own.join("cgroup.subtree_control");
    let delegation = Delegation::new(None, Vec::new());
    let why = |value, errno| delegation.why_not_handed_on(&file, value, &error(errno));
    let told = why("+memory +pids", Errno::NOENT).unwrap();
    assert!(told.contains("has pids;") && told.contains("does not hand memory on"), "{told}");
    assert_eq!(why("+pids", Errno::BUSY), None);
}

#[test]
fn what_keeps_a_process_out_is_told() {
    let top = tempfile::tempdir().unwrap();
    let why = |name, files, errno| {
        Delegation::new(None, Vec::new()).why_not_entered(&group(&top, name, files), &error(errno))
    };
    let threaded = why("a", &[("cgroup.type", "domain invalid\n")], Errno::OPNOTSUPP);
    assert_eq!(threaded.unwrap(), "its cgroup.type is \"domain invalid\"");
    let busy = why("b", &[("cgroup.subtree_control", "memory\n")], Errno::BUSY).unwrap();
    assert!(busy.starts_with("it hands on memory, "), "{busy}");
    assert_eq!(why("c", &[("cgroup.subtree_control", "\n")], Errno::BUSY), None);
}

#[test]
fn a_limit_on_groups_is_found_wherever_it_is() {
    let top = tempfile::tempdir().unwrap();
    let max = ("cgroup.max.descendants", "3\n");
    group(&top, "", &[max, ("cgroup.stat", "nr_descendants 3\nnr_dying_descendants 0\n")]);
    let parent = group(&top, "a", &[("cgroup.max.depth", "max\n")]);
    let why = full(&parent).unwrap();
    assert!(why.ends_with("cgroup.max.descendants\" is 3, and that many there are"), "{why}");
    let shallow = group(&top, "b", &[("cgroup.max.depth", "0\n")]);
    assert!(full(&shallow).unwrap().contains("cgroup.max.depth\" is 0"));
}

#[test]
fn a_users_manager_gets_its_controllers_by_a_drop_in() {
    assert!(drop_in(Path::new("/a/user@1000.service")).contains("systemctl edit user@.service"));
    assert_eq!(drop_in(Path::new("/a/user-1000")), "");
}
