//! Layers in a store: mounted by the kernel they are the tree that the same image has as DIR.

use crate::images::{
    Item, Parts, directory, fifo, file, hard_link, layer, null, oci, owner, symlink, whiteout,
};
use crate::{Place, is_root};
use rustix::fs::lgetxattr;
use std::fs::{self};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

pub fn image<const N: usize>(layers: [&[Item]; N]) -> Parts {
    oci(&layers.map(|items| layer(items.iter().cloned())))
}

/// The paths of layers, the topmost first.
pub fn paths(lowerdir: &str) -> Vec<&str> {
    lowerdir.trim_end().split(':').collect()
}

/// How the tree of `rootfs` differs from that of the layers, as the kernel puts them over each
/// other in a mount namespace of its own. `None` where nobody may mount.
pub fn difference(place: &Place, lowerdir: &str) -> Option<String> {
    if !is_root() {
        println!("SKIP mounting layers: not root");
        return None;
    }
    fs::create_dir_all(place.path("merged")).unwrap();
    let compare = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/compare-trees");
    // One layer alone is no overlay: the tree is the layer.
    let script = "case $1 in
        *:*) mount -t overlay overlay -o \"lowerdir=$1\" merged && exec \"$0\" rootfs merged ;;
        *) exec \"$0\" rootfs \"$1\" ;;
    esac";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    let command = command.arg(compare).arg(lowerdir.trim_end()).current_dir(place.path(""));
    let output = command.output().unwrap();
    assert_eq!(output.stderr, b"", "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Both ways out of an image lead to the same tree, or to the same error.
fn same(layers: &[&[Item]]) -> Place {
    let tars: Vec<_> = layers.iter().map(|items| layer(items.iter().cloned())).collect();
    let place = Place::with(&oci(&tars));
    let flat = place.run(&["image", "rootfs"]);
    let stored = place.run(&["--store", "layers", "image"]);
    assert_eq!((flat.status, flat.stderr), (stored.status, stored.stderr));
    if flat.status != Some(0) {
        return place;
    }
    let lowerdir = stored.stdout;
    assert_eq!(paths(&lowerdir).len(), layers.len());
    assert_eq!(place.names("layers").len(), layers.len(), "nothing else is left there");
    if let Some(difference) = difference(&place, &lowerdir) {
        let shown: Vec<Vec<_>> =
            layers.iter().map(|items| items.iter().map(Item::name).collect()).collect();
        assert_eq!(difference, "", "{shown:?}");
    }
    place
}

#[test]
fn whiteouts_and_opaque_directories() {
    let lower = [
        directory("d").mode(0o750).record("mtime", "7"),
        file("d/old", "old"),
        directory("d/sub").mode(0o711),
        file("d/sub/old", "old"),
        directory("d/sub/deep"),
        file("d/sub/deep/old", "old"),
        file("f", "f"),
    ];
    let table: [&[Item]; 19] = [
        &[whiteout(".wh.d"), whiteout(".wh.f")],
        &[whiteout("d/.wh.old")],
        &[whiteout("d/sub/deep/.wh.old")],
        &[whiteout("d/.wh..wh..opq"), file("d/new", "")],
        &[file("d/new", ""), whiteout("d/.wh..wh..opq")],
        &[file("d/sub/new", ""), whiteout("d/.wh..wh..opq")],
        &[whiteout("d/.wh..wh..opq"), file("d/sub/new", "")],
        &[directory("d"), file("d/sub/new", ""), whiteout(".wh.d")],
        &[file("d/sub/new", ""), whiteout(".wh.d")],
        &[whiteout(".wh.d"), file("d/sub/new", "")],
        &[whiteout(".wh.d"), directory("d"), directory("d/sub")],
        &[directory("d"), directory("d/sub"), whiteout("d/.wh.sub")],
        &[whiteout(".wh.d"), file("d", "")],
        &[file("d", ""), whiteout(".wh.d")],
        &[file("f", "new"), whiteout(".wh.f")],
        &[whiteout(".wh.f"), whiteout(".wh.f"), directory("f")],
        &[whiteout("gone/.wh.x"), whiteout("f/.wh.x"), whiteout(".wh..wh.orph"), whiteout(".wh.x")],
        // The root: overlayfs knows no opaque one.
        &[whiteout(".wh..wh..opq"), file("new", ""), file("d/new", "")],
        &[file("d/new", ""), file("f", "new"), whiteout(".wh..wh..opq")],
    ];
    for upper in table {
        same(&[&lower, upper]);
        // What a layer hides stays hidden, and what comes later is not.
        same(&[&lower, upper, &[file("d/sub/later", ""), file("later", "")]]);
        same(&[&lower, upper, &lower]);
        same(&[&lower, &[whiteout(".wh.f"), file("d/between", "")], upper, &[directory("d/x")]]);
    }
}

#[test]
fn what_replaces_what() {
    let lower = [
        directory("d").mode(0o700),
        file("d/x", "x"),
        file("f", "f"),
        symlink("l", "d"),
        symlink("dangling", "nowhere/at/all"),
        fifo("fifo"),
    ];
    let table: [&[Item]; 14] = [
        &[directory("d").mode(0o711)],
        &[file("d", ""), symlink("f", "d"), directory("l"), directory("fifo")],
        &[file("d", ""), directory("d"), file("d/y", "")],
        &[directory("d"), file("d", ""), directory("d"), file("d/y", "")],
        &[directory("f"), file("f/x", ""), file("f", "again")],
        &[file("l/y", "through the link"), symlink("l", "f")],
        &[symlink("d", "f"), whiteout("d/.wh.x")],
        &[symlink("l", "e"), file("l/x", "")],
        &[symlink("l", "."), whiteout("l/.wh.f"), file("l/y", "")],
        &[file("dangling/y", "where the link points to")],
        &[directory("a/b/c"), file("a", ""), file("a", "2"), directory("a/"), file("a/z", "")],
        &[file("d/x", "1"), file("d/x", "2"), whiteout("d/.wh.x")],
        &[file("f/x", "a directory after all"), file("fifo/x", ""), whiteout(".wh.fifo")],
        &[hard_link("g", "f"), file("f/x", "what was copied up gives way too")],
    ];
    for upper in table {
        same(&[&lower, upper]);
        same(&[&lower, upper, &lower]);
    }
}

#[test]
fn parents_are_those_of_the_lower_layers() {
    let (uid, gid) = if is_root() { (1234, 5678) } else { (owner().0.into(), owner().1.into()) };
    let lower = [
        directory("./").mode(0o711).owner(uid, gid),
        directory("usr/lib").mode(0o2755).owner(uid, gid).record("SCHILY.xattr.user.x", "1"),
        symlink("lib", "usr/lib"),
        symlink("absolute", "/usr/./lib/../lib"),
        symlink("upward", "../../../usr"),
        symlink("chain", "upward/lib"),
        symlink("usr/up", ".."),
    ];
    let middle = [directory("usr/share"), symlink("share", "usr/share"), file("usr/share/f", "")];
    let upper = [
        file("lib/a", "a"),
        file("absolute/b", "b"),
        file("upward/c", "c"),
        file("chain/d", "d"),
        file("usr/up/usr/up/lib/e", "e"),
        file("share/new/deep/f", "f"),
        directory("lib/sub"),
        whiteout("share/.wh.f"),
        hard_link("lib/g", "share/f"),
    ];
    let place = same(&[&lower, &middle, &upper[..8]]);
    let lowerdir = place.unpack(&["--store", "layers", "image"]);
    let top = paths(&lowerdir)[0];
    // The symlinks themselves are not copied up, and nothing was written in their places.
    assert_eq!(place.names(top), ["usr"]);
    assert_eq!(place.names(&format!("{top}/usr/lib")), ["a", "b", "d", "e", "sub"]);
    let root = fs::metadata(place.path(top)).unwrap();
    assert_eq!((root.mode() & 0o7777, u64::from(root.uid())), (0o711, uid));
    // It is hidden, so that it cannot be given another name.
    let place = Place::with(&image([&lower, &middle, &upper]));
    let outcome = place.run(&["--store", "layers", "image"]);
    assert!(outcome.stderr.ends_with("linkat(\"share/f\"): No such file or directory\n"));
    assert_eq!((outcome.status, place.names("layers").len()), (Some(1), 2));
}

#[test]
fn hard_links_to_lower_files_are_copied_up() {
    let lower = [
        directory("d").mode(0o750),
        file("d/a", &"a".repeat(100_000)).mode(0o4711).record("SCHILY.xattr.user.x", "1"),
        hard_link("b", "d/a"),
        hard_link("hidden", "d/a"),
        hard_link("replaced", "d/a"),
        symlink("l", "d"),
        symlink("d/s", "nowhere").record("mtime", "-1.5"),
        fifo("d/p"),
        file("alone", "alone"),
    ];
    let middle = [whiteout(".wh.hidden"), file("between", "")];
    let upper = [
        file("replaced", "new"),
        hard_link("e/new", "l/a"),
        hard_link("again", "e/new"),
        hard_link("s", "d/s"),
        hard_link("p", "d/p"),
        hard_link("two", "alone"),
        hard_link("alone", "alone"),
    ];
    let place = same(&[&lower, &middle, &upper]);
    let links = |name: &str| fs::symlink_metadata(place.path(name)).unwrap().nlink();
    let lowerdir = place.unpack(&["--store", "layers", "image"]);
    let top = paths(&lowerdir)[0];
    // d/a, b, e/new, again.
    assert_eq!((links("rootfs/d/a"), links(&format!("{top}/again"))), (4, 4));
    same(&[&lower, &[hard_link("x", "d/a"), whiteout("d/.wh.a"), whiteout(".wh.b")]]);
    same(&[&lower, &[hard_link("x", "d/a")], &[hard_link("y", "b")], &[file("b", "cut")]]);
}

#[test]
fn overlay_form() {
    let lower = [directory("d"), file("d/x", ""), file("f", "")];
    let marks = [
        directory("e").record("SCHILY.xattr.user.overlay.opaque", "y"),
        file("d/y", "").record("SCHILY.xattr.trusted.overlay.redirect", "/f"),
        null("zero"),
        whiteout("d/.wh..wh..opq"),
        whiteout(".wh.f"),
    ];
    let place = Place::with(&image([&lower, &marks]));
    let outcome = place.run(&["--store", "layers", "image"]);
    let line = if is_root() {
        "2 extended attributes"
    } else {
        "1 devices (now empty files), 2 extended attributes"
    };
    let line = format!("pk-unpack: could not be kept as they are: {line}\n");
    assert_eq!((outcome.status, outcome.stderr), (Some(0), line));
    let top = paths(&outcome.stdout)[0];
    let whiteout = fs::symlink_metadata(place.path(top).join("f")).unwrap();
    assert_eq!((whiteout.file_type().is_char_device(), whiteout.rdev()), (true, 0));
    let form = if is_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
    let mut value = [0; 8];
    assert_eq!(lgetxattr(place.path(top).join("d"), form, &mut value), Ok(1));
    assert_eq!(
        (value[0], lgetxattr(place.path(top).join("e"), form, &mut value).is_err()),
        (b'y', true)
    );
}

#[test]
fn operands() {
    let place = Place::with(&image([&[file("f", "")]]));
    place.write("none", &oci(&[]).tar());
    fs::create_dir(place.path("layers")).unwrap();
    let usage = "overlayfs separates layers by `:` and options by `,`, and `\\` escapes";
    let table: [(&[&str], i32, String); 8] = [
        (&["--store", "layers"], 2, "--store STORE IMAGE: 0 operands given".to_owned()),
        (
            &["--store", "layers", "image", "rootfs"],
            2,
            "--store STORE IMAGE: 2 operands given\nhint: with --store there is no DIR".to_owned(),
        ),
        (&["--store", "a:b", "image"], 2, format!("--store \"a:b\": {usage}")),
        (&["--store", "a,b", "image"], 2, format!("--store \"a,b\": {usage}")),
        (&["--store", "a\\b", "image"], 2, format!("--store \"a\\\\b\": {usage}")),
        (&["--store", "image", "image"], 1, "open(\"image\"): Not a directory".to_owned()),
        (
            &["--store", "no/layers", "image"],
            1,
            "open(\"no/layers\"): No such file or directory".to_owned(),
        ),
        (
            &["--store", "layers", "none"],
            1,
            "none: the image has no layers, and overlayfs takes no fewer".to_owned(),
        ),
    ];
    for (arguments, status, line) in table {
        place.refuse(arguments, status, &format!("pk-unpack: {line}\n"));
    }
    let explained = place.unpack(&["--explain", "--store", "new", "image"]);
    assert!(explained.contains("rename(\"new/."), "{explained}");
    assert_eq!(place.names(""), ["image", "layers", "none"]);
    place.unpack(&["--config", "config", "--store", "new", "image"]);
    assert!(place.read("config").contains("diff_ids"));
    // It is there now: nothing is left to be done but to say so.
    assert!(!place.unpack(&["--explain", "--store", "new", "image"]).contains("rename"));
}
