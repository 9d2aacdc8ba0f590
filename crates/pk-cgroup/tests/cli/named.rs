//! A group with a name: kept, joined and managed.

use crate::group::Group;
use crate::{is_alive, pk_cgroup, run, status, text};
use std::process::Stdio;

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
