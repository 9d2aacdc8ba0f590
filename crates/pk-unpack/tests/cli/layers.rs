//! What layers do to the tree: kinds, metadata, whiteouts, replacements.

use crate::images::{
    Item, directory, fifo, file, hard_link, layer, null, oci, owner, symlink, whiteout,
};
use crate::{Place, finish, is_root};
use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink as link};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// An image of these layers, unpacked to `rootfs`.
fn unpacked<const N: usize>(layers: [&[Item]; N]) -> Place {
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

fn stat(place: &Place, name: &str) -> Metadata {
    fs::symlink_metadata(place.path(name)).unwrap()
}

fn time(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
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
fn kinds_modes_and_times_are_kept() {
    let place = unpacked([&[
        directory("./").mode(0o751).record("mtime", "5.000000005"),
        directory("d").mode(0o555).record("mtime", "1.000000001"),
        file("d/setuid", "x").mode(0o6755).record("mtime", "2.123456789"),
        symlink("d/link", "nowhere").record("mtime", "-1.5"),
        fifo("fifo"),
        hard_link("hard", "d/setuid"),
        hard_link("hard-link", "d/link"),
        file("f", "x"),
    ]]);
    let stat = |name: &str| stat(&place, &format!("rootfs/{name}"));
    assert_eq!((stat("").mode(), time(&stat(""))), (0o40751, (5, 5)));
    assert_eq!((stat("d").mode(), time(&stat("d"))), (0o40555, (1, 1)));
    let setuid = stat("d/setuid");
    assert_eq!((setuid.mode(), time(&setuid)), (0o106_755, (2, 123_456_789)));
    assert_eq!((setuid.ino(), setuid.nlink()), (stat("hard").ino(), 2));
    assert_eq!(time(&stat("d/link")), (-2, 500_000_000));
    assert_eq!(stat("d/link").ino(), stat("hard-link").ino());
    assert_eq!((stat("fifo").mode() & 0o7777, stat("fifo").file_type().is_fifo()), (0o640, true));
    assert_eq!((stat("f").mtime(), stat("f").uid()), (1_000_000_000, owner().0));
}

#[test]
fn a_link_is_cut_before_a_file_is_written_anew() {
    let lower = [file("a", "both"), hard_link("b", "a"), hard_link("a", "a")];
    let place = unpacked([&lower, &[file("a", "only a")]]);
    assert_eq!((place.read("rootfs/a"), place.read("rootfs/b")), ("only a".into(), "both".into()));
}

#[test]
fn names_are_bytes() {
    let name = b"latin-\xe9\xff\n";
    let long = format!("{0}/{0}/x", "n".repeat(120));
    let place = unpacked([&[file(name, "bytes"), file("short", "long").record("path", &long)]]);
    assert_eq!(place.read(place.path("rootfs").join(OsStr::from_bytes(name))), "bytes");
    assert_eq!(place.read(format!("rootfs/{long}")), "long");
}

/// GNU tar writes all four formats; what it packs must come out, with its hole.
#[test]
fn sparse_files_stay_sparse() {
    let source = Place::new();
    let file = fs::File::create(source.path("sparse")).unwrap();
    for (at, text) in [(0, "begin"), (1 << 20, "middle"), (5 << 20, "end")] {
        file.write_all_at(text.as_bytes(), at).unwrap();
    }
    // More pieces than a header or a block has room for.
    for number in 24..124 {
        file.write_all_at(b"piece", number << 18).unwrap();
    }
    file.set_len(64 << 20).unwrap();
    for format in
        ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"]
    {
        let mut tar = Command::new("tar");
        let tar = tar.args(["-cSf", "-", format, "sparse"]).current_dir(source.path(""));
        let tar = tar.output().unwrap();
        assert!(tar.status.success(), "{tar:?}");
        let place = Place::with(&oci(&[tar.stdout]));
        place.unpack(&["image", "rootfs"]);
        let contents = |place: &Place, name| fs::read(place.path(name)).unwrap();
        assert!(contents(&place, "rootfs/sparse") == contents(&source, "sparse"), "{format}");
        assert!(stat(&place, "rootfs/sparse").blocks() * 512 < 2 << 20, "{format}");
    }
}

#[test]
fn extended_attributes_are_kept() {
    let place = Place::new();
    place.write("probe", b"");
    let probe = lsetxattr(place.path("probe"), "user.x", b"", XattrFlags::empty());
    if probe.is_err() {
        return println!("SKIP {}: no user xattrs on this filesystem", place.path("").display());
    }
    let value = b"a\x00=\n9 path=x\n";
    let place = unpacked([&[
        directory("d").record("SCHILY.xattr.user.d", "1"),
        file("f", "").record("SCHILY.xattr.user.x", value),
    ]]);
    let get = |name: &str, xattr: &str| {
        let mut value = vec![0; 64];
        let length = lgetxattr(place.path(name), xattr, value.as_mut_slice()).unwrap();
        value[..length].to_vec()
    };
    assert_eq!(get("rootfs/d", "user.d"), b"1");
    assert_eq!(get("rootfs/f", "user.x"), value);
}

/// An access control list by which a directory lets user 1234 read all that is made in it.
const DEFAULT_ACL: &[u8] = b"\x02\0\0\0\
    \x01\0\x07\0\xff\xff\xff\xff\x02\0\x04\0\xd2\x04\0\0\x04\0\x05\0\xff\xff\xff\xff\
    \x10\0\x05\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff";

#[test]
fn what_the_parent_passes_on_is_no_part_of_the_image() {
    let place = Place::with(&oci(&[layer([directory("d"), file("d/f", "")])]));
    let acl = "system.posix_acl_default";
    if lsetxattr(place.path(""), acl, DEFAULT_ACL, XattrFlags::empty()).is_err() {
        return println!("SKIP {}: no ACLs on this filesystem", place.path("").display());
    }
    place.unpack(&["image", "rootfs"]);
    for name in ["rootfs", "rootfs/d", "rootfs/d/f"] {
        let path = place.path(name);
        assert_eq!(llistxattr(&path, [0; 0].as_mut_slice()), Ok(0), "{name}");
    }
}

#[test]
fn root_keeps_owners_devices_and_capabilities() {
    if !is_root() {
        return println!("SKIP owners, devices and capabilities: not root");
    }
    // cap_net_raw+ep, as the kernel stores it: VFS_CAP_REVISION_2.
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let place = unpacked([&[
        file("f", "x")
            .mode(0o4755)
            .owner(1234, 5678)
            .record("SCHILY.xattr.security.capability", capability),
        file("big", "").record("uid", "3000000000").record("gid", "3000000001"),
        symlink("l", "x").owner(1234, 5678),
        null("null").owner(0, 5),
    ]]);
    let owner = |name: &str| (stat(&place, name).uid(), stat(&place, name).gid());
    assert_eq!((stat(&place, "rootfs/f").mode(), owner("rootfs/f")), (0o104_755, (1234, 5678)));
    assert_eq!(
        (owner("rootfs/big"), owner("rootfs/l")),
        ((3_000_000_000, 3_000_000_001), (1234, 5678))
    );
    let mut value = vec![0; 64];
    let path = place.path("rootfs/f");
    assert_eq!(lgetxattr(path, "security.capability", value.as_mut_slice()), Ok(capability.len()));
    let null = stat(&place, "rootfs/null");
    assert!(null.file_type().is_char_device());
    assert_eq!((null.rdev(), null.mode() & 0o777, null.gid()), (0x103, 0o666, 5));
}

#[test]
fn an_ordinary_user_is_told_what_could_not_be_kept() {
    let place = Place::with(&oci(&[layer([
        directory("d").mode(0).owner(0, 0),
        directory("d/d").owner(0, 0),
        file("d/f", "").owner(0, 0),
        null("null").owner(65534, 65534),
        file("mine", "").mode(0o4755).owner(65534, 65534).record("SCHILY.xattr.security.x", "1"),
    ])]));
    if !is_root() {
        return println!("SKIP becoming another user: not root");
    }
    let mut command = place.command(&["image", "rootfs"]);
    let outcome = finish(command.uid(65534).gid(65534), b"");
    let line = "pk-unpack: could not be kept as they are: 3 owners, 1 devices (now empty files), \
        1 extended attributes\n";
    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), line));
    let null = stat(&place, "rootfs/null");
    assert_eq!((null.is_file(), null.len(), null.uid()), (true, 0, 65534));
    assert_eq!(stat(&place, "rootfs/mine").mode(), 0o104_755);
    assert_eq!(stat(&place, "rootfs/d").mode(), 0o40000);
}

#[test]
fn a_file_that_its_owner_cannot_write_keeps_its_attributes() {
    if !is_root() {
        return println!("SKIP becoming another user: not root");
    }
    let read_only = file("f", "text").owner(65534, 65534).mode(0o444);
    let read_only = read_only.record("SCHILY.xattr.user.x", "1");
    let place = Place::with(&oci(&[layer([read_only])]));
    let outcome = finish(place.command(&["image", "rootfs"]).uid(65534).gid(65534), b"");
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert_eq!(stat(&place, "rootfs/f").mode(), 0o100_444);
}

#[test]
fn an_ordinary_user_leaves_nothing_behind_either() {
    if !is_root() {
        return println!("SKIP becoming another user: not root");
    }
    let bad = layer([directory("d").mode(0o500), file("d/f", ""), file("../x", "")]);
    let place = Place::with(&oci(&[bad]));
    link("nowhere", place.path("dangling")).unwrap();
    let outcome = finish(place.command(&["image", "rootfs"]).uid(65534).gid(65534), b"");
    assert_eq!(
        (outcome.status, place.names("")),
        (Some(1), vec!["dangling".into(), "image".into()])
    );
}
