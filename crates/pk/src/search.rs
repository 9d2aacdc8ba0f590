//! Where PROG is: on PATH, as `execvp(3)` searches it.

use crate::{Error, Result};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where PROG is looked for when there is no PATH: what `execvp(3)` takes.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Whether this is what `stat(2)` and `open(2)` say of a path with nothing there.
pub fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENOTDIR)
}

/// `probe` tells whether a path can be executed; `place` says in an error where paths begin.
///
/// 127 where nothing is there, 126 where nothing of it can be executed.
pub fn search(
    name: &OsStr,
    search_path: Option<&OsStr>,
    place: &str,
    probe: impl Fn(&Path) -> nix::Result<()>,
) -> Result<PathBuf> {
    let search_path = search_path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let call = |path: &Path| format!("execve({path:?})");
    let given = Path::new(name);
    if name.as_bytes().contains(&b'/') {
        return match probe(given) {
            Ok(()) => Ok(given.to_owned()),
            Err(errno) if is_missing(errno) => {
                Err(Error::not_found(call(given), Errno::ENOENT.desc()))
            }
            Err(errno) => Err(Error::cannot_run(call(given), errno.desc())),
        };
    }
    let mut refused = None;
    for directory in search_path.as_bytes().split(|&byte| byte == b':').filter(|_| !name.is_empty())
    {
        // POSIX: an empty element is the working directory.
        let directory: &[u8] = if directory.is_empty() { b"." } else { directory };
        let path = Path::new(OsStr::from_bytes(directory)).join(name);
        match probe(&path) {
            Ok(()) => return Ok(path),
            Err(errno) if is_missing(errno) => {}
            Err(errno) => refused = refused.or(Some((path, errno))),
        }
    }
    match refused {
        Some((path, errno)) => Err(Error::cannot_run(call(&path), errno.desc())),
        None => Err(Error::not_found(call(given), Errno::ENOENT.desc())
            .hint(format!("looked in PATH={}{place}", search_path.to_string_lossy()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn probe(path: &Path) -> nix::Result<()> {
        match path.to_str().unwrap() {
            "/bin/sh" | "./here" => Ok(()),
            "/bin" | "/sbin/sh" => Err(Errno::EISDIR),
            "/bin/text" => Err(Errno::EACCES),
            "/bin/text/sh" => Err(Errno::ENOTDIR),
            _ => Err(Errno::ENOENT),
        }
    }

    #[test]
    fn a_program_is_searched_as_execvp_does() {
        let table: &[(&str, &str, std::result::Result<&str, u8>)] = &[
            ("sh", "/sbin:/bin", Ok("/bin/sh")),
            ("sh", "/bin/text:/bin", Ok("/bin/sh")),
            ("here", "/bin:", Ok("./here")),
            ("here", "/bin", Err(127)),
            ("/bin/sh", "", Ok("/bin/sh")),
            ("/bin", "/", Err(126)),
            ("text", "/bin:/usr/bin", Err(126)),
            ("/bin/none", "/bin", Err(127)),
            ("", "/bin", Err(127)),
        ];
        for &(name, path, expected) in table {
            let found = search(OsStr::new(name), Some(OsStr::new(path)), "", probe);
            let found = found.map_err(|error| error.status(Kind::Plain));
            assert_eq!(found, expected.map(PathBuf::from), "{name} in {path}");
        }
    }
}
