//! What is kept of an entry: its kind, name, mode, owner, times, holes and attributes; and what an
//! ordinary user cannot keep.

use crate::images::{directory, fifo, file, hard_link, layer, null, oci, owner, symlink};
use crate::layers::{stat, unpacked};
use crate::{Place, finish, is_root};
use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink as link};
use std::os::unix::process::CommandExt;
use std::process::Command;

fn time(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
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
