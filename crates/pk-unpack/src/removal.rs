//! Removing a tree, whatever its modes, without following a symlink.

use rustix::fs::{AtFlags, Dir, Mode, OFlags, chmodat, fchmod, openat, unlinkat};
use rustix::io::{Errno, Result};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Removes what `name` is in `above`, with everything below. It may be gone already.
pub fn remove(above: impl AsFd, name: &OsStr) -> Result<()> {
    let above = above.as_fd();
    match unlinkat(above, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Err(Errno::NOENT) => return Ok(()),
        result => return result,
    }
    loop {
        let directory = match open(above, name) {
            Err(Errno::NOENT) => return Ok(()),
            result => result?,
        };
        // Whoever is not root needs the right to write in a directory, even in one of their own.
        let _ = fchmod(&directory, Mode::RWXU);
        for name in names(&directory)? {
            remove(&directory, &name)?;
        }
        match unlinkat(above, name, AtFlags::REMOVEDIR) {
            // A thread that does not know yet that all is over has made another file.
            Err(Errno::NOTEMPTY) => {}
            Err(Errno::NOENT) => return Ok(()),
            result => return result,
        }
    }
}

/// The names in a directory, without `.` and `..`.
pub fn names(directory: impl AsFd) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn open(above: impl AsFd, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(&above, name, flags, Mode::empty()) {
        // Never the answer to root, who alone would have to fear that the name changes meanwhile.
        Err(Errno::ACCESS) => {
            chmodat(&above, name, Mode::RWXU, AtFlags::empty())?;
            openat(&above, name, flags, Mode::empty())
        }
        result => result,
    }
}
