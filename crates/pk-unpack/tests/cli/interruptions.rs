//! Runs that are ended from outside.

use crate::Place;
use crate::images::{Parts, file, layer, oci, zstd};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// A run that has begun, and still has much to do.
fn begun(place: &Place) -> Child {
    let tars = [layer([file("f", "x"), file("zeros", &"\0".repeat(64 << 20))])];
    let mut parts = Parts::default();
    let manifest = parts.image(&[zstd(&tars[0])], &tars);
    parts.index(&[manifest]);
    place.write("image", &parts.tar());
    let mut child = place.command(&["image", "rootfs"]).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..10_000 {
        if place.names("").len() > 1 {
            return child;
        }
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    panic!("no partial directory came");
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
        let mut child = begun(&place);
        assert_eq!(end(&mut child, signal), (Some(status), None));
        assert_eq!(place.names(""), ["image"]);
    }
}

#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    let place = Place::new();
    let mut child = begun(&place);
    assert_eq!(end(&mut child, Signal::KILL), (None, Some(9)));
    assert_eq!(place.names("").len(), 2);

    // One that lives, and two that are none.
    let others = [".rootfs.pk-locked", ".rootfs.pk-longer1", ".other.pk-abcdef"];
    others.iter().for_each(|name| fs::create_dir(place.path(name)).unwrap());
    let lock = File::open(place.path(others[0])).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();

    place.write("image", &oci(&[layer([file("f", "x")])]).tar());
    place.unpack(&["image", "rootfs"]);
    let left = [".other.pk-abcdef", ".rootfs.pk-locked", ".rootfs.pk-longer1", "image", "rootfs"];
    assert_eq!(place.names(""), left);
}
