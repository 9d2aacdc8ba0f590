//! Paths of the host: what is bound, and the layers of an overlay.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, lstat};
use pk::{Attempt, Error, Result, quote};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Opens it for what it is, and not for reading. A missing one is a mistake to be told before
/// anything is done, not a directory to make.
pub fn open(path: &Path) -> Result<OwnedFd> {
    let opened = openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    let call = format!("open({path:?}, O_PATH)");
    opened.attempt(call).map_err(|error| {
        let hint = why_missing(path, error.errno());
        error.hint(hint)
    })
}

/// The same for what has to be a directory.
pub fn open_directory(path: &Path) -> Result<OwnedFd> {
    let directory = open(path)?;
    if is_directory(&directory)? {
        return Ok(directory);
    }
    Err(Error::new(format!("open({path:?}, O_PATH)"), "is not a directory"))
}

pub fn is_directory(file: &OwnedFd) -> nix::Result<bool> {
    Ok(fstat(file)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits())
}

/// The first part of a path that is not there, or in the way.
fn why_missing(path: &Path, errno: Option<Errno>) -> Option<String> {
    let mut parts: Vec<&Path> = path.ancestors().filter(|part| *part != Path::new("")).collect();
    parts.reverse();
    let part =
        parts.iter().find(|part| fs::metadata(part).is_err() || is_in_the_way(part, path))?;
    match errno? {
        Errno::ENOTDIR => Some(format!("{part:?} is not a directory")),
        Errno::ENOENT if lstat(*part).is_ok() => {
            let target: PathBuf = fs::read_link(part).ok()?;
            Some(format!("{part:?} is a symbolic link to {target:?}, which is missing"))
        }
        Errno::ENOENT => {
            Some(format!("{part:?} is missing; mkdir -p {} makes a directory", quote(path)))
        }
        _ => None,
    }
}

fn is_in_the_way(part: &Path, path: &Path) -> bool {
    part != path && !part.is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_missing_part_is_named() {
        let table = [
            (
                "/usr/pk-none/a b",
                Errno::ENOENT,
                Some("\"/usr/pk-none\" is missing; mkdir -p '/usr/pk-none/a b' makes a directory"),
            ),
            (
                "pk-none",
                Errno::ENOENT,
                Some("\"pk-none\" is missing; mkdir -p pk-none makes a directory"),
            ),
            ("/etc/passwd/sub", Errno::ENOTDIR, Some("\"/etc/passwd\" is not a directory")),
            ("/usr", Errno::EACCES, None),
        ];
        for (path, errno, expected) in table {
            assert_eq!(why_missing(Path::new(path), Some(errno)).as_deref(), expected, "{path}");
        }
    }
}
