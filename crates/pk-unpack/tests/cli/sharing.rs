//! Runs that meet in a store: they share the work and the layers.

use crate::Place;
use crate::images::{Parts, directory, file, hard_link, layer, oci, whiteout};
use crate::store::{difference, image, paths};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn layers_that_are_there_are_not_made_again() {
    let base = layer([directory("d"), file("d/x", "x")]);
    let (one, two) = (layer([file("d/y", "1")]), layer([file("d/y", "2")]));
    let place = Place::with(&oci(&[base.clone(), one.clone()]));
    place.write("other", &oci(&[base, two.clone(), two, one]).tar());
    let first = place.unpack(&["--store", "layers", "image"]);
    let inodes = |lowerdir: &str| -> Vec<u64> {
        paths(lowerdir).iter().map(|path| fs::metadata(place.path(path)).unwrap().ino()).collect()
    };
    let before = inodes(&first);
    assert_eq!(place.unpack(&["--store", "layers", "image"]), first);
    let second = place.unpack(&["--store", "./layers/", "other"]);
    // The base alone is shared: what the other layers look like depends on those below.
    assert_eq!((inodes(&second)[3], place.names("layers").len()), (before[1], 2 + 3));
    assert_eq!(inodes(&first), before);

    // The bytes of layers that are there are not read, those of documents are.
    let mut broken = oci(&[layer([file("f", "contents")])]);
    place.write("good", &broken.tar());
    place.unpack(&["--store", "layers", "good"]);
    let crate::images::Part::Bytes(bytes) = &mut broken.0[1].1 else { panic!() };
    bytes[512] ^= 1;
    place.write("broken", &broken.tar());
    place.unpack(&["--store", "layers", "broken"]);
    let outcome = place.run(&["--store", "new", "broken"]);
    assert!(outcome.stderr.contains("digest"), "{outcome:?}");
    assert_eq!(place.names("new").len(), 0);
}

/// An image that takes a while: each layer names files of the one below.
fn large() -> Parts {
    let zeros = "\0".repeat(4 << 20);
    let layers = (0..4).map(|number| {
        let mut items = vec![directory("d"), file(format!("d/{number}"), &zeros)];
        items.extend((0..150).map(|file_number| {
            file(format!("d/sub-{}/{number}-{file_number}", file_number % 7), "small")
        }));
        if number > 0 {
            items.push(hard_link(format!("link-{number}"), &format!("d/{}", number - 1)));
            items.push(whiteout(&format!("d/sub-1/.wh.{}-1", number - 1)));
        }
        layer(items)
    });
    oci(&layers.collect::<Vec<_>>())
}

#[test]
fn runs_at_once_share_the_work() {
    for count in [2, 8] {
        let place = Place::with(&large());
        let begin = || {
            let mut command = place.command(&["--store", "layers", "image"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<_> = (0..count).map(|_| begin()).collect();
        let outputs: Vec<_> =
            children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        for output in &outputs {
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            assert_eq!(output.stdout, outputs[0].stdout);
        }
        assert_eq!(place.names("layers").len(), 4);
        place.unpack(&["image", "rootfs"]);
        let lowerdir = String::from_utf8(outputs[0].stdout.clone()).unwrap();
        assert!(difference(&place, &lowerdir).is_none_or(|difference| difference.is_empty()));
    }
}

#[test]
fn a_run_waits_for_the_one_that_makes_the_layer() {
    let place = Place::with(&image([&[file("f", "made by this run")]]));
    let lowerdir = place.unpack(&["--explain", "--store", "layers", "image"]);
    let whole = lowerdir
        .split('"')
        .find(|word| word.starts_with("layers/") && !word.contains("/."))
        .unwrap();
    let partial = whole.replace("layers/", "layers/.");
    fs::create_dir_all(place.path(&partial)).unwrap();
    let lock = File::open(place.path(&partial)).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let mut command = place.command(&["--store", "layers", "image"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    while !waits_for_a_lock(child.id()) {
        assert!(child.try_wait().unwrap().is_none(), "it has not waited");
        sleep(Duration::from_millis(1));
    }
    place.write(&format!("{partial}/f"), b"made by another");
    fs::rename(place.path(&partial), place.path(whole)).unwrap();
    drop(lock);
    assert!(child.wait().unwrap().success());
    assert_eq!(place.read(format!("{whole}/f")), "made by another");
    assert_eq!(place.names("layers").len(), 1);

    // One that was killed instead has left something, and no lock.
    fs::rename(place.path(whole), place.path(&partial)).unwrap();
    place.write(&format!("{partial}/more"), b"");
    place.unpack(&["--store", "layers", "image"]);
    assert_eq!(place.names(whole), ["f"]);
    assert_eq!(
        (place.read(format!("{whole}/f")), place.names("layers").len()),
        ("made by this run".into(), 1)
    );
}

/// `proc_locks(5)`: a line with `->` is one that waits.
fn waits_for_a_lock(pid: u32) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| {
        line.contains("-> FLOCK") && line.split_whitespace().any(|word| word == pid.to_string())
    })
}
