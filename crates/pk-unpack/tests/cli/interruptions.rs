//! Runs that are ended from outside.

use crate::images::{Parts, file, layer, oci, zstd};
use crate::{Place, is_root};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// A run that has begun, and still has much to do.
fn begun(place: &Place, trap: &str) -> Child {
    let tars = [layer([file("f", "x"), file("zeros", &"\0".repeat(64 << 20))])];
    let mut parts = Parts::default();
    let manifest = parts.image(&[zstd(&tars[0])], &tars);
    parts.index(&[manifest]);
    place.write("image", &parts.tar());
    let script = format!("{trap} exec \"$0\" image rootfs");
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", &script, env!("CARGO_BIN_EXE_pk-unpack")]);
    let mut child = shell.current_dir(place.path("")).stdout(Stdio::null()).spawn().unwrap();
    while place.names("").len() == 1 && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    child
}

fn end(child: &mut Child, signal: Signal) -> (Option<i32>, Option<i32>) {
    kill_process(Pid::from_child(child), signal).unwrap();
    let status = child.wait().unwrap();
    (status.code(), status.signal())
}

#[test]
fn signals_remove_the_partial_directory() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let place = Place::new();
        let mut child = begun(&place, "");
        assert_eq!(end(&mut child, signal), (Some(status), None));
        assert_eq!(place.names(""), ["image"]);
    }
}

#[test]
fn ignored_signals_stay_ignored() {
    let place = Place::new();
    let mut child = begun(&place, "trap '' HUP;");
    assert_eq!(end(&mut child, Signal::HUP), (Some(0), None));
    assert_eq!(place.names(""), ["image", "rootfs"]);
}

#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    let place = Place::new();
    let mut child = begun(&place, "");
    assert_eq!(end(&mut child, Signal::KILL), (None, Some(9)));
    assert_eq!(place.names("").len(), 2);

    // One that lives, and two that are none.
    let others = [".rootfs.pk-locked", ".rootfs.pk-longer1", ".other.pk-abcdef"];
    for name in others {
        fs::create_dir(place.path(name)).unwrap();
    }
    let lock = File::open(place.path(others[0])).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();

    // One that had been given its owner already, where nobody else can have made it.
    fs::set_permissions(place.path(""), Permissions::from_mode(0o755)).unwrap();
    let owned = place.path(".rootfs.pk-owned1");
    fs::create_dir(&owned).unwrap();
    if is_root() {
        chown(&owned, Some(1234), Some(1234)).unwrap();
    }

    place.write("image", &oci(&[layer([file("f", "x")])]).tar());
    place.unpack(&["image", "rootfs"]);
    let left = [".other.pk-abcdef", ".rootfs.pk-locked", ".rootfs.pk-longer1", "image", "rootfs"];
    assert_eq!(place.names(""), left);
}
