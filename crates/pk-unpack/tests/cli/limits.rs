//! `--max-bytes` and `--max-entries`: bombs are stopped while they unpack.

use crate::images::{Parts, directory, file, gzip, hex, layer, oci, zstd};
use crate::{Place, finish};

#[test]
fn a_bomb_is_stopped_while_it_unpacks() {
    let tars = [layer([file("zeros", &"\0".repeat(64 << 20))])];
    let blob = zstd(&tars[0]);
    let mut parts = Parts::default();
    let manifest = parts.image(std::slice::from_ref(&blob), &tars);
    parts.index(&[manifest]);
    let place = Place::with(&parts);
    let reason = "\"zeros\": more than --max-bytes 1048576";
    let line = format!("pk-unpack: layer {}: {reason}\n", &hex(&blob)[..12]);
    place.refuse(&["--max-bytes", "1M", "image", "rootfs"], 1, &line);
    place.unpack(&["--max-bytes", "64M", "image", "rootfs"]);
}

#[test]
fn what_counts() {
    let deep = || layer([file("a/b/c/f", "12345")]);
    let attribute = || layer([directory("d").record("SCHILY.xattr.user.x", "12345")]);
    let holes = || {
        let item = file("f", "12345").record("GNU.sparse.map", "1000000,5");
        layer([item.record("GNU.sparse.size", "1000000000")])
    };
    let bytes = |most| format!("more than --max-bytes {most}");
    let entries = |most| format!("more than --max-entries {most}");
    let table = [
        (deep(), "--max-bytes=5", None),
        (deep(), "--max-bytes=4", Some(format!("\"a/b/c/f\": {}", bytes(4)))),
        (deep(), "--max-entries=4", None),
        (deep(), "--max-entries=3", Some(format!("\"a/b/c/f\": {}", entries(3)))),
        (attribute(), "--max-bytes=10", Some(format!("\"d\": {}", bytes(10)))),
        (holes(), "--max-bytes=5", None),
        (
            layer([file("f", ""), file("f", "")]),
            "--max-entries=1",
            Some(format!("\"f\": {}", entries(1))),
        ),
    ];
    for (tar, option, refused) in table {
        let name = hex(&tar)[..12].to_owned();
        let place = Place::with(&oci(&[tar]));
        match refused {
            None => drop(place.unpack(&[option, "image", "rootfs"])),
            Some(reason) => {
                let line = format!("pk-unpack: layer {name}: {reason}\n");
                place.refuse(&[option, "image", "rootfs"], 1, &line);
            }
        }
    }
}

#[test]
fn the_copy_of_a_pipe_counts() {
    let bytes = gzip(&oci(&[layer([file("zeros", &"\0".repeat(4 << 20))])]).tar());
    let place = Place::new();
    let outcome = finish(&mut place.command(&["--max-bytes=1m", "-", "rootfs"]), &bytes);
    let line = "pk-unpack: -: more than --max-bytes 1048576\n";
    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(1), line));
    assert!(place.names("").is_empty());
    let usage = "pk-unpack: --max-bytes \"12Q\": is no size: a number, then b, k, m, g or t\n";
    place.refuse(&["--max-bytes", "12Q", "-", "rootfs"], 2, usage);
}
