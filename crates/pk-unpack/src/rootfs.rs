//! Plain root filesystems: one tar and no image around it, as `docker export` and debootstrap
//! write it. It is told by its first entry, so that a pipe needs no second look; a tar that begins
//! otherwise is searched for an image's table of contents first.

use crate::archive::Stream;
use crate::entry::Entries;
use crate::name::inside;
use crate::stream::Reading;
use crate::tree::Tree;
use pk::{Error, Result};
use rustix::fs::{AtFlags, statat};
use std::os::fd::AsFd;

/// What lies at the top of a root filesystem, and in no image archive. `hier(7)`; Docker makes
/// `.dockerenv` in every container.
const TOP: [&str; 23] = [
    ".dockerenv",
    "bin",
    "boot",
    "dev",
    "etc",
    "home",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "lost+found",
    "media",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
];
/// What every one has some of, even that of a container with a single static program.
const SIGNS: [&str; 6] = ["bin", "dev", "lib", "proc", "sbin", "usr"];

/// Whether a tar that starts with `bytes` is one, as far as its first entry tells.
pub fn begins(bytes: &[u8]) -> bool {
    let mut entries = Entries::new(bytes);
    // The directory `./` comes first in many, and is in archives of all kinds.
    while let Ok(Some(entry)) = entries.next_entry() {
        let Ok(path) = inside(&entry.path) else { return false };
        if let Some(first) = path.iter().next() {
            return TOP.iter().any(|name| first == *name);
        }
    }
    false
}

/// Whether a tree is one that `has` these names at its top.
pub fn is_one(has: impl Fn(&str) -> bool) -> bool {
    has("etc") && SIGNS.into_iter().any(has)
}

/// Applies one to `tree`, whose root `top` is, and returns the digest of the tar.
pub fn apply(tree: &mut Tree, top: impl AsFd, stream: Stream) -> Result<String> {
    let Stream { name, tar, .. } = stream;
    let reading = Reading::tar(name.clone(), tar)?;
    let digest = reading.apply(|tar| tree.apply(&name, tar))?;
    let is_there = |name: &str| statat(&top, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    if !is_one(is_there) {
        return Err(Error::new(name, NEITHER));
    }
    Ok(digest)
}

/// Why a tar is refused.
pub const NEITHER: &str = "is no image: it has neither index.json nor manifest.json; \
    and no root filesystem: that has etc, and one of bin, dev, lib, proc, sbin, usr";

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tar::{Builder, EntryType, Header};

    #[test]
    fn the_first_entry_tells() {
        let table: [(&[&str], bool); 9] = [
            (&["./", "./bin/"], true),
            (&["bin"], true),
            (&[".dockerenv", "x"], true),
            (&["/etc/passwd"], true),
            (&["app/", "bin"], false),
            (&["blobs/", "blobs/sha256/"], false),
            (&["manifest.json"], false),
            (&["./"], false),
            (&[], false),
        ];
        for (names, expected) in table {
            let mut tar = Builder::new(Vec::new());
            for name in names {
                let mut header = Header::new_ustar();
                header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
                header.set_entry_type(EntryType::Directory);
                header.set_cksum();
                tar.append(&header, io::empty()).unwrap();
            }
            assert_eq!(begins(&tar.into_inner().unwrap()), expected, "{names:?}");
        }
        assert!(!begins(b"no tar"));
    }
}
