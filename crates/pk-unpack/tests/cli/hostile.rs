//! Hostile layers, each with the outcome that it must have. Whatever it is, what lies around DIR
//! stays as it is, to the time of the last change of every inode.

use crate::Place;
use crate::images::{
    Item, directory, extended, fifo, file, hard_link, hex, layer, oci, odd_header, symlink,
    whiteout,
};
use crate::layers::names;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink as link};
use std::path::Path;

enum Outcome {
    /// With what stands after the layer.
    Refused(String),
    /// With this tree.
    Accepted(Vec<String>),
}

fn refused(reason: impl Into<String>) -> Outcome {
    Outcome::Refused(reason.into())
}

fn accepted(tree: &[&str]) -> Outcome {
    Outcome::Accepted(tree.iter().map(|&name| name.to_owned()).collect())
}

/// A place with a tree in it that nothing may touch.
fn guarded() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.path("canary/d")).unwrap();
    place.write("canary/f", b"canary");
    place.write("canary/d/f", b"canary");
    link("d", place.path("canary/l")).unwrap();
    place
}

/// All there is but DIR.
fn surroundings(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stat = fs::symlink_metadata(&path).unwrap();
        let changed = (stat.ctime(), stat.ctime_nsec());
        if path.ends_with("rootfs") {
            continue;
        }
        found.push(format!("{path:?} {:o} {} {changed:?}", stat.mode(), stat.nlink()));
        if stat.is_dir() {
            found.extend(surroundings(&path));
        }
    }
    found.sort();
    found
}

fn check(place: &Place, layers: &[Vec<u8>], outcome: &Outcome, what: &str) {
    place.write("image", &oci(layers).tar());
    let before = surroundings(&place.path(""));
    let run = place.run(&["image", "rootfs"]);
    assert_eq!(before, surroundings(&place.path("")), "{what}: surroundings");
    match outcome {
        Outcome::Refused(reason) => {
            let layer = &hex(layers.last().unwrap())[..12];
            let line = format!("pk-unpack: layer {layer}: {reason}\n");
            assert_eq!((run.status, run.stderr), (Some(1), line), "{what}");
            assert!(!place.path("rootfs").exists(), "{what}");
        }
        Outcome::Accepted(tree) => {
            assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{what}");
            assert_eq!(names(place), *tree, "{what}");
            fs::remove_dir_all(place.path("rootfs")).unwrap();
        }
    }
}

/// Checks layers of items, the last of which is the one at which they are refused.
fn check_items(table: impl IntoIterator<Item = (Vec<Vec<Item>>, Outcome)>) {
    let place = guarded();
    for (layers, outcome) in table {
        let last = layers.last().unwrap().last().unwrap().name();
        let what: Vec<Vec<String>> =
            layers.iter().map(|items| items.iter().map(Item::name).collect()).collect();
        let outcome = match outcome {
            Outcome::Refused(reason) => refused(format!("{last:?}: {reason}")),
            accepted @ Outcome::Accepted(_) => accepted,
        };
        let tars: Vec<_> = layers.into_iter().map(layer).collect();
        check(&place, &tars, &outcome, &format!("{what:?}"));
    }
}

#[test]
fn names_that_lead_out() {
    let dots = || refused("`..` in a name may lead out of the root");
    let nothing = || refused("this whiteout names nothing that can be hidden");
    let root = || refused("the root itself can only be a directory");
    let one = |item: Item| vec![vec![directory("a"), item]];
    let in_record = |item: Item, path: &str| one(item.record("path", path));
    check_items([
        (one(file("../x", "")), dots()),
        (one(file("..", "")), dots()),
        (one(directory("/..")), dots()),
        (one(file("/../canary/f", "")), dots()),
        (one(file("a/../../canary/f", "")), dots()),
        (one(symlink("a/../../x", "f")), dots()),
        (one(whiteout("../canary/.wh.f")), dots()),
        (one(whiteout("../canary/.wh..wh..opq")), dots()),
        (one(whiteout(".wh.")), nothing()),
        (one(whiteout("a/.wh..")), nothing()),
        (one(whiteout("a/.wh...")), nothing()),
        (one(whiteout(".wh.a/x")), refused("lies in a whiteout")),
        (one(symlink("./", "/")), root()),
        (one(file(".", "")), root()),
        (one(hard_link(".", "a")), root()),
        (one(fifo("//")), root()),
        (one(file("/a//./x", "")), accepted(&["a/", "a/x"])),
        (one(directory("/")), accepted(&["a/"])),
        (in_record(file("x", ""), "b"), accepted(&["a/", "b"])),
    ]);
    let place = guarded();
    for path in ["../x", "a/../x"] {
        let tar = layer([file("x", "").record("path", path)]);
        let reason = format!("{path:?}: `..` in a name may lead out of the root");
        check(&place, &[tar], &refused(reason), path);
    }
    let long = "n".repeat(300);
    let deep = "d/".repeat(2500);
    for path in [&long, &deep] {
        place.write("image", &oci(&[layer([directory("x").record("path", path)])]).tar());
        let run = place.run(&["image", "rootfs"]);
        assert!(run.status == Some(1) && run.stderr.ends_with("File name too long\n"), "{run:?}");
    }
}

#[test]
fn writing_through_a_planted_symlink() {
    let canary = guarded();
    let absolute = canary.path("canary").to_str().unwrap().to_owned();
    let before = surroundings(&canary.path(""));
    let targets = ["/", "/proc/self", "/proc/self/cwd", "..", "../canary", "a/../..", &absolute];
    let through = [
        file("out/f", ""),
        file("out/sub/f", ""),
        directory("out/d"),
        symlink("out/l", "f"),
        hard_link("out/h", "a"),
        fifo("out/p"),
        whiteout("out/.wh.f"),
        whiteout("out/.wh..wh..opq"),
    ];
    let reason = "leads through a symlink of this layer that points out of the root: \"out\"";
    for target in targets {
        check_items(through.iter().map(|item| {
            let items = vec![file("a", ""), symlink("out", target), item.clone()];
            (vec![items], refused(reason))
        }));
    }
    assert_eq!(before, surroundings(&canary.path("")));
}

#[test]
fn chains_of_planted_symlinks() {
    let through = |link: &str| {
        let reason = "leads through a symlink of this layer that points out of the root";
        refused(format!("{reason}: {link:?}"))
    };
    let one = |items: &[Item]| vec![items.to_vec()];
    let (d, up) = (directory("d"), symlink("d/up", "../.."));
    let lower = vec![symlink("l", "/d"), directory("d")];
    check_items([
        (
            one(&[symlink("a", "b"), symlink("b", "c"), symlink("c", "/"), file("a/f", "")]),
            through("c"),
        ),
        (one(&[symlink("a", "b/c"), symlink("b", "/"), file("a/f", "")]), through("b")),
        (one(&[d.clone(), up.clone(), file("d/up/canary/f", "")]), through("d/up")),
        (one(&[d.clone(), up.clone(), symlink("e", "d"), file("e/up/f", "")]), through("d/up")),
        (
            one(&[d.clone(), symlink("d/x", "../e"), symlink("e", "../x"), file("d/x/f", "")]),
            through("e"),
        ),
        (vec![lower.clone(), vec![symlink("d/o", "/"), file("l/o/f", "")]], through("d/o")),
        // What is not planted is followed, inside the root.
        (vec![lower, vec![file("l/f", "")]], accepted(&["d/", "d/f", "l"])),
        (one(&[d.clone(), symlink("l", "d"), file("l/f", "")]), accepted(&["d/", "d/f", "l"])),
        (
            vec![
                vec![symlink("up", "../../x"), symlink("root", "/")],
                vec![file("up/f", ""), file("root/g", "")],
            ],
            accepted(&["g", "root", "up", "x/", "x/f"]),
        ),
        // What has given way is planted no more.
        (one(&[symlink("o", "/"), directory("o"), file("o/f", "")]), accepted(&["o/", "o/f"])),
        (
            one(&[d, up, whiteout("x"), directory("d/up"), file("d/up/f", "")]),
            accepted(&["d/", "d/up/", "d/up/f", "x"]),
        ),
    ]);
}

#[test]
fn replacing_a_symlink_leaves_what_it_points_to() {
    let canary = guarded();
    let path = |name: &str| canary.path("canary").join(name).to_str().unwrap().to_owned();
    let before = surroundings(&canary.path(""));
    let (f, d) = (symlink("x", &path("f")), symlink("x", &path("d")));
    check_items([
        (vec![vec![f.clone(), file("x", "new").mode(0o777)]], accepted(&["x"])),
        (vec![vec![f.clone()], vec![file("x", "new").mode(0o777)]], accepted(&["x"])),
        (vec![vec![f.clone()], vec![fifo("x")]], accepted(&["x"])),
        (vec![vec![d.clone()], vec![directory("x").mode(0o500)]], accepted(&["x/"])),
        (vec![vec![d.clone()], vec![whiteout(".wh.x")]], accepted(&[])),
        (vec![vec![d.clone()], vec![whiteout(".wh..wh..opq")]], accepted(&[])),
        (vec![vec![directory("x"), d]], accepted(&["x"])),
    ]);
    assert_eq!(before, surroundings(&canary.path("")));
}

#[test]
fn hard_links() {
    let canary = guarded();
    let absolute = canary.path("canary/f").to_str().unwrap().to_owned();
    let before = surroundings(&canary.path(""));
    let call = |target: &str, reason: &str| refused(format!("linkat({target:?}): {reason}"));
    let dots = |target| call(target, "`..` in a name may lead out of the root");
    let out = || call("s", "is a symlink that points out of the root");
    let one = |items: &[Item]| vec![items.to_vec()];
    check_items([
        (one(&[hard_link("h", "../canary/f")]), dots("../canary/f")),
        (one(&[directory("d"), hard_link("h", "d/../../canary/f")]), dots("d/../../canary/f")),
        (one(&[hard_link("h", &absolute)]), call(&absolute, "No such file or directory")),
        (one(&[symlink("s", &absolute), hard_link("h", "s")]), out()),
        (one(&[symlink("s", "../canary/f"), hard_link("h", "s")]), out()),
        (vec![vec![symlink("s", "/proc/self/exe")], vec![hard_link("h", "s")]], out()),
        (one(&[hard_link("h", "gone")]), call("gone", "No such file or directory")),
        (one(&[directory("d"), hard_link("h", "d")]), call("d", "Operation not permitted")),
        (one(&[hard_link("h", "/")]), call("/", "a directory cannot have two names")),
        // The symlink itself gets another name, and writing to that is no writing through it.
        (one(&[symlink("s", "f"), hard_link("h", "s"), file("h", "x")]), accepted(&["h", "s"])),
    ]);
    assert_eq!(before, surroundings(&canary.path("")));
}

#[test]
fn loops_end() {
    let one = |items: &[Item]| vec![items.to_vec()];
    let reason = "openat2(\"a\"): Too many symbolic links encountered";
    check_items([
        (one(&[symlink("a", "b"), symlink("b", "a"), file("a/f", "")]), refused(reason)),
        (one(&[symlink("a", "a/x"), file("a/f", "")]), refused(reason)),
    ]);
}

#[test]
fn records_and_numbers() {
    let place = guarded();
    let record = |key: &str, value: &[u8]| layer([file("f", "").record(key, value)]);
    let pax = |text: &str| layer([extended(text), file("f", "")]);
    let sparse = |map: &str, size: &str| {
        let item = file("f", "0123456789").record("GNU.sparse.map", map);
        layer([item.record("GNU.sparse.size", size)])
    };
    let at = |byte: u32, reason: &str| refused(format!("entry at byte {byte}: {reason}"));
    let twice = "two PAX records \"path\" with different values";
    let table = [
        (record("path", b"a\0b"), at(1024, "a NUL in a name")),
        (layer([hard_link("h", "f").record("linkpath", b"a\0b")]), at(1024, "a NUL in a name")),
        (record("size", b"-1"), at(1024, "size is not a number")),
        (record("size", b"99999999999999999999"), at(1024, "size is not a number")),
        (record("size", b"9223372036854775808"), at(1024, "size overflow")),
        (record("size", b"5000"), refused("\"f\": truncated")),
        (record("uid", b"-1"), at(1024, "uid is not a number")),
        (record("uid", b"4294967295"), at(1024, "uid does not fit")),
        (record("gid", b"4294967296"), at(1024, "gid does not fit")),
        (record("mtime", b"1e9"), at(1024, "mtime is not a time")),
        (record("SCHILY.xattr.", b"x"), at(1024, "an extended attribute without a name")),
        (record("LIBARCHIVE.xattr.user.x", b"?"), at(1024, "malformed base64")),
        (pax("10 path=a\n10 path=b\n"), at(0, twice)),
        (pax("10 path=a\n10 path=a\n"), accepted(&["a"])),
        (pax("0 path=a\n"), at(0, "malformed PAX record")),
        (pax("99 path=a\n"), at(0, "malformed PAX record")),
        (pax("99999999999999999999 path=a\n"), at(0, "malformed PAX record")),
        (pax("10 path=a"), at(0, "malformed PAX record")),
        (layer([extended("10 path=a\n")]), at(1024, "truncated")),
        (sparse("0,5,3,5", "20"), at(1024, "sparse segments overlap")),
        (sparse("0,5,10,5", "12"), at(1024, "sparse segments do not fit the size")),
        (sparse("0,5", "20"), at(1024, "sparse segments do not fit the size")),
        (sparse("0,5,18446744073709551615,5", "20"), at(1024, "size overflow")),
        (sparse("0,5,10,5", "20"), accepted(&["f"])),
        (odd_header(124, &[0xff; 12]), at(0, "a negative size")),
        (
            odd_header(124, b"\x80\0\0\x01\0\0\0\0\0\0\0\0"),
            at(0, "a number in the header does not fit"),
        ),
        (odd_header(124, b"-0000000001\0"), at(0, "a number in the header is malformed")),
        (odd_header(124, b"77777777777\0"), refused("\"f\": truncated")),
        (odd_header(108, b"\xff\xff\xff\xff\xff\xff\xff\xff"), at(0, "uid does not fit")),
        (odd_header(156, b"M"), at(0, "type 'M' is not known")),
    ];
    for (index, (tar, outcome)) in table.into_iter().enumerate() {
        check(&place, &[tar], &outcome, &format!("case {index}"));
    }
}
