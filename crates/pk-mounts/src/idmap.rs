//! Mounts in which files belong to others: `MOUNT_ATTR_IDMAP` of `mount_setattr(2)`.
//!
//! The kernel takes the map from a user namespace. One is made for no other purpose, in a child
//! that ends as soon as it has been opened.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use pk::{Attempt, Error, IdRange, Result};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// A user namespace with these maps for users and groups. Inner ids are those on the disk, outer
/// ones those in the mount.
pub fn user_namespace(ranges: &[IdRange]) -> Result<File> {
    let (mut ours, theirs) = UnixStream::pair().attempt("socketpair()")?;
    let Some(child) = pk::fork_helper()? else {
        drop(ours);
        stay_in_user_namespace(theirs);
    };
    drop(theirs);
    let mut number = [0; 16];
    let length = ours.read(&mut number).attempt("read(socketpair)")?;
    let number = String::from_utf8_lossy(&number[..length]).into_owned();
    let opened = open_mapped(&number, ranges);
    // The end of its input is what the child waits for.
    drop(ours);
    pk::wait_for_helper(child)?;
    opened
}

/// The child's whole life. It says which number it has in `/proc`, which may show another PID
/// namespace than the one that the two are in.
fn stay_in_user_namespace(mut parent: UnixStream) -> ! {
    let entered = unshare(CloneFlags::CLONE_NEWUSER);
    let number = fs::read_link("/proc/self").unwrap_or_default();
    if entered.is_ok() && parent.write_all(number.as_os_str().as_encoded_bytes()).is_ok() {
        let _ = parent.read(&mut [0]);
    }
    std::process::exit(0)
}

fn open_mapped(number: &str, ranges: &[IdRange]) -> Result<File> {
    if number.is_empty() {
        return Err(Error::from(Errno::EPERM).attempting("unshare(CLONE_NEWUSER)"));
    }
    let map = ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{number}/{file}");
        fs::write(&path, &map).attempt(format_args!("write({path:?}, {map:?})"))?;
    }
    let path = format!("/proc/{number}/ns/user");
    File::open(&path).attempt(format_args!("open({path:?})"))
}
