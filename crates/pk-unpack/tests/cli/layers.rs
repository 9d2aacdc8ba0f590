//! What layers do to the tree: whiteouts, replacements, parents.

use crate::Place;
use crate::images::{Item, directory, fifo, file, hard_link, layer, oci, symlink, whiteout};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// An image of these layers, unpacked to `rootfs`.
pub fn unpacked<const N: usize>(layers: [&[Item]; N]) -> Place {
    let place = Place::with(&oci(&layers.map(|items| layer(items.iter().cloned()))));
    place.unpack(&["image", "rootfs"]);
    place
}

/// Every name in a tree, with `/` after those of directories.
pub fn names(place: &Place) -> Vec<String> {
    let (mut found, mut left) = (Vec::new(), vec![PathBuf::from("rootfs")]);
    while let Some(directory) = left.pop() {
        for name in place.names(directory.to_str().unwrap()) {
            let path = directory.join(name);
            let is_directory = stat(place, path.to_str().unwrap()).is_dir();
            let slash = if is_directory { "/" } else { "" };
            found.push(format!("{}{slash}", path.strip_prefix("rootfs").unwrap().display()));
            if is_directory {
                left.push(path);
            }
        }
    }
    found.sort();
    found
}

pub fn stat(place: &Place, name: &str) -> Metadata {
    fs::symlink_metadata(place.path(name)).unwrap()
}

#[test]
fn whiteouts_hide_lower_layers_only_in_any_order() {
    let lower = [
        directory("d"),
        file("d/old", ""),
        directory("d/sub"),
        file("d/sub/old", ""),
        file("f", ""),
    ];
    let table: [(&[Item], &[&str]); 8] = [
        (&[whiteout(".wh.d"), whiteout(".wh.f")], &[]),
        (&[whiteout("d/.wh.old")], &["d/", "d/sub/", "d/sub/old", "f"]),
        (&[whiteout("d/.wh..wh..opq"), file("d/new", "")], &["d/", "d/new", "f"]),
        (&[file("d/new", ""), whiteout("d/.wh..wh..opq")], &["d/", "d/new", "f"]),
        (
            &[directory("d"), file("d/sub/new", ""), whiteout(".wh.d")],
            &["d/", "d/sub/", "d/sub/new", "f"],
        ),
        (&[whiteout(".wh.d"), file("d", "")], &["d", "f"]),
        (&[file("f", "new"), whiteout(".wh.f")], &["d/", "d/old", "d/sub/", "d/sub/old", "f"]),
        (
            &[whiteout("gone/.wh.x"), whiteout("f/.wh.x"), whiteout(".wh..wh.orph")],
            &["d/", "d/old", "d/sub/", "d/sub/old", "f"],
        ),
    ];
    for (upper, expected) in table {
        let shown: Vec<_> = upper.iter().map(Item::name).collect();
        assert_eq!(names(&unpacked([&lower, upper])), expected, "{shown:?}");
    }
}

#[test]
fn a_whiteout_behind_symlinks_that_lead_nowhere_hides_nothing() {
    let lower = [symlink("loop", "loop/sub"), symlink("dangling", "nowhere"), file("f", "")];
    let upper = [whiteout("loop/.wh.f"), whiteout("dangling/.wh.f"), whiteout("loop/.wh..wh..opq")];
    assert_eq!(names(&unpacked([&lower, &upper])), ["dangling", "f", "loop"]);
}

#[test]
fn whiteouts_below_what_was_replaced_have_nothing_to_hide() {
    let lower = [directory("d"), file("d/x", ""), directory("e"), file("e/x", "kept")];
    let table: [(&[Item], &[&str]); 3] = [
        (&[file("d", ""), whiteout("d/.wh.x")], &["d", "e/", "e/x"]),
        (&[symlink("d", "e"), whiteout("d/.wh.x")], &["d", "e/", "e/x"]),
        (&[symlink("d", "e"), whiteout("d/.wh..wh..opq")], &["d", "e/", "e/x"]),
    ];
    for (upper, expected) in table {
        assert_eq!(names(&unpacked([&lower, upper])), expected);
    }
    // A symlink that was there before is where the parent is.
    let lower = [directory("usr/lib"), file("usr/lib/x", ""), symlink("lib", "usr/lib")];
    let upper = [whiteout("lib/.wh.x"), file("lib/y", "")];
    assert_eq!(names(&unpacked([&lower, &upper])), ["lib", "usr/", "usr/lib/", "usr/lib/y"]);
}

#[test]
fn what_is_there_gives_way() {
    let lower = [
        directory("d").mode(0o700),
        file("d/x", ""),
        directory("e"),
        file("e/x", ""),
        file("f", "f"),
        file("g", "g"),
        symlink("l", "e"),
    ];
    let upper = [
        directory("d").mode(0o711),
        file("e", ""),
        directory("f"),
        file("g", "first"),
        file("g", "second"),
        directory("l"),
    ];
    let place = unpacked([&lower, &upper]);
    assert_eq!(names(&place), ["d/", "d/x", "e", "f/", "g", "l/"]);
    assert_eq!(
        (stat(&place, "rootfs/d").mode() & 0o7777, place.read("rootfs/g")),
        (0o711, "second".into())
    );
}

#[test]
fn what_replaced_a_parent_is_the_parent() {
    let place = unpacked([&[
        directory("a"),
        directory("b"),
        file("a/x", ""),
        symlink("a", "b"),
        file("a/y", ""),
        symlink("a", "c"),
        file("a/z", ""),
    ]]);
    assert_eq!(names(&place), ["a", "b/", "b/y", "c/", "c/z"]);
}

#[test]
fn parents_are_made_and_symlinks_stay_inside() {
    let outside = Place::new();
    let target = outside.path("deep");
    let place = unpacked([
        &[symlink("etc", target.to_str().unwrap()), symlink("up", "../../../../up-target")],
        &[file("etc/x", "x"), file("up/y", "y"), file("/a/b/c", "c")],
    ]);
    assert!(outside.names("").is_empty());
    let inside = place.path("rootfs").join(target.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(inside.join("x")).unwrap(), "x");
    assert_eq!(place.read("rootfs/up-target/y"), "y");
    assert_eq!(
        (place.read("rootfs/a/b/c"), stat(&place, "rootfs/a").mode()),
        ("c".into(), 0o40755)
    );
    assert_eq!(stat(&place, "rootfs").mode(), 0o40755);
}

#[test]
fn a_link_is_cut_before_a_file_is_written_anew() {
    let lower = [file("a", "both"), hard_link("b", "a"), hard_link("a", "a")];
    let place = unpacked([&lower, &[file("a", "only a")]]);
    assert_eq!((place.read("rootfs/a"), place.read("rootfs/b")), ("only a".into(), "both".into()));
}

/// `x/y` says that `x` is a directory, whatever lower layers have there, and whether the whiteout
/// of that comes before or after.
#[test]
fn a_lower_file_gives_way_to_an_implied_directory() {
    let lower = [file("f", ""), fifo("d/fifo")];
    let table: [&[Item]; 3] = [
        &[file("f/x", ""), file("d/fifo/y", "")],
        &[file("f/x", ""), whiteout(".wh.f"), file("d/fifo/y", ""), whiteout("d/.wh.fifo")],
        &[whiteout(".wh.f"), file("f/x", ""), whiteout("d/.wh.fifo"), file("d/fifo/y", "")],
    ];
    for upper in table {
        let place = unpacked([&lower, upper]);
        assert_eq!(names(&place), ["d/", "d/fifo/", "d/fifo/y", "f/", "f/x"]);
    }
    // What the layer itself made stays what it is.
    let place = Place::with(&oci(&[layer([file("f", ""), file("f/x", "")])]));
    let outcome = place.run(&["image", "rootfs"]);
    assert!(outcome.stderr.ends_with("\"f/x\": openat2(\"f\"): Not a directory\n"), "{outcome:?}");
}
