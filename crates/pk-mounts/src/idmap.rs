//! Mounts in which files belong to others: `MOUNT_ATTR_IDMAP` of `mount_setattr(2)`.
//!
//! The kernel takes the map from a user namespace. One is made for no other purpose, in a child
//! that ends as soon as it has been opened.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use pk::{Attempt, Error, Result};
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::str::FromStr;

/// `count` ids from `inner` on, as they are on the disk, are those from `outer` on in the mount.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    inner: u32,
    outer: u32,
    count: u32,
}

impl FromStr for Range {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
        let Some(&[inner, outer, count]) = numbers.as_deref() else {
            return Err("idmap is not idmap=INNER:OUTER:COUNT, three numbers");
        };
        let fits = |first: u32| count > 0 && first.checked_add(count).is_some();
        if fits(inner) && fits(outer) {
            Ok(Self { inner, outer, count })
        } else {
            Err("idmap runs past the last id")
        }
    }
}

/// As `/proc/PID/uid_map` takes it.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} {}", self.inner, self.outer, self.count)
    }
}

/// A user namespace with these maps for users and groups.
pub fn user_namespace(ranges: &[Range]) -> Result<File> {
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
    match waitpid(child, None) {
        // Where SIGCHLD is ignored, nobody is told how a child has ended.
        Ok(_) | Err(Errno::ECHILD) => opened,
        Err(errno) => Err(errno).attempt("waitpid(child)"),
    }
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

fn open_mapped(number: &str, ranges: &[Range]) -> Result<File> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_three_numbers_that_fit() {
        for (text, expected) in [
            ("0:300000:65536", Some("0 300000 65536")),
            ("0:0:0", None),
            ("1:0:4294967295", None),
            ("0:1", None),
            ("", None),
        ] {
            let range = text.parse::<Range>().ok().map(|range| range.to_string());
            assert_eq!(range.as_deref(), expected, "{text}");
        }
    }
}
