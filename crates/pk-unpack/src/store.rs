//! A store: a directory in which each layer lies once, unpacked over those below it, in the form
//! that overlayfs takes.
//!
//! A layer is named by its `ChainID` (OCI image specification, "Layer `ChainID`"), which stands
//! for its tar and for all below it: what it looks like depends on these. `.NAME` is the layer in
//! the making. Whoever holds the lock on it makes it, or removes what a killed run left; it
//! becomes `NAME` in one rename. So whatever bears a layer's name is whole, and is not read again.

use crate::digest::{self, Digest};
use crate::lower::Marks;
use crate::partial::{self, DIRECTORY, Partial, Place};
use crate::removal;
use pk::{Attempt, Error, Result};
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, open, openat, statat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// STORE, and how the caller's layers are marked there.
#[derive(Clone, Debug)]
pub struct Store {
    /// As it was given: the paths of all layers together have to fit into a page for `mount(2)`.
    pub path: PathBuf,
    pub marks: Marks,
    /// What the names of layers end in. Those that a user made differ from root's: in the owners
    /// that could be kept, and in the marks.
    suffix: &'static str,
}

impl Store {
    /// Checks that STORE is a directory, or can be one, and that overlayfs can be told its path.
    pub fn check(operand: &Path) -> Result<Self> {
        let special = |byte: &u8| b":,\\".contains(byte);
        if operand.as_os_str().as_bytes().iter().any(special) {
            let reason = "overlayfs separates layers by `:` and options by `,`, and `\\` escapes";
            return Err(Error::usage(format_args!("--store {operand:?}"), reason));
        }
        match fs::read_dir(operand) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let parent = operand.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = fs::read_dir(parent.unwrap_or(Path::new(".")));
                parent.attempt(format_args!("open({operand:?})"))?;
            }
            opened => drop(opened.attempt(format_args!("open({operand:?})"))?),
        }
        let (marks, suffix) = kind(geteuid().is_root(), pk::in_initial_user_namespace(), &id_map());
        Ok(Self { path: operand.to_owned(), marks, suffix })
    }

    /// Where unnamed files can be made: STORE, or the directory that it will lie in.
    pub fn beside(&self) -> &Path {
        if self.path.is_dir() {
            return &self.path;
        }
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    /// The names of layers, the lowest first, by the digests of their tars.
    pub fn names(&self, diff_ids: &[Digest]) -> Vec<String> {
        let mut chain: Option<String> = None;
        let name = |diff_id: &Digest| {
            let id = match &chain {
                None => diff_id.to_string(),
                Some(below) => digest::sha256(format!("{below} {diff_id}").as_bytes()),
            };
            let hex = id.split_once(':').map_or("", |(_, hex)| hex);
            let name = format!("{hex}{}", self.suffix);
            chain = Some(id);
            name
        };
        diff_ids.iter().map(name).collect()
    }

    /// The path of a layer.
    pub fn layer(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The path of a layer in the making.
    pub fn partial(&self, name: &str) -> PathBuf {
        self.path.join(format!(".{name}"))
    }

    /// A layer that is there.
    pub fn open(&self, name: &str) -> Result<OwnedFd> {
        let path = self.layer(name);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        open(&path, flags, Mode::empty()).attempt(format_args!("open({path:?})"))
    }

    /// What overlayfs is told as `lowerdir`: the topmost layer first, and a backslash before what
    /// would separate layers.
    pub fn lowerdir(&self, names: &[String]) -> OsString {
        let mut text = Vec::new();
        for name in names.iter().rev() {
            if !text.is_empty() {
                text.push(b':');
            }
            for &byte in self.layer(name).as_os_str().as_bytes() {
                if matches!(byte, b':' | b'\\') {
                    text.push(b'\\');
                }
                text.push(byte);
            }
        }
        OsString::from_vec(text)
    }

    /// Makes STORE. Only its owner can look into it: a layer may hold setuid programs with holes
    /// that were closed long ago.
    pub fn create(&self) -> rustix::io::Result<()> {
        match mkdirat(CWD, &self.path, Mode::RWXU) {
            Err(Errno::EXIST) => Ok(()),
            result => result,
        }
    }

    /// Removes what runs left that were killed; one that lives holds the lock of its own.
    pub fn remove_leftovers(&self) -> Result<()> {
        let store = openat(CWD, &self.path, DIRECTORY, Mode::empty());
        let store = store.attempt(format_args!("open({:?})", self.path))?;
        for name in removal::names(&store).attempt("getdents64")?.iter().filter(|name| {
            let layer = name.as_bytes().strip_prefix(b".").unwrap_or_default();
            let layer = layer.strip_suffix(self.suffix.as_bytes()).unwrap_or_default();
            [64, 128].contains(&layer.len()) && layer.iter().all(u8::is_ascii_hexdigit)
        }) {
            let Ok(directory) = openat(&store, name, DIRECTORY, Mode::empty()) else { continue };
            let lock = flock(&directory, FlockOperation::NonBlockingLockExclusive);
            if lock.is_ok() && is_at(&directory, store.as_fd(), name) {
                removal::remove(&store, name).attempt(format_args!("unlinkat({name:?})"))?;
            }
        }
        Ok(())
    }

    /// Begins a layer, and notes that in `place`. Waits as long as another run makes the same one;
    /// there is none to make if that succeeds.
    pub fn begin(&self, name: &str, place: &Place) -> Result<Option<Partial>> {
        partial::raise_limit()?;
        let (layer, path) = (self.layer(name), self.partial(name));
        loop {
            if layer.is_dir() {
                return Ok(None);
            }
            // A signal that comes now waits until it is known what to remove.
            let mut noted = place.lock().unwrap_or_else(PoisonError::into_inner);
            match mkdirat(CWD, &path, Mode::RWXU) {
                Err(Errno::EXIST) => {}
                result => result.attempt(format_args!("mkdir({path:?})"))?,
            }
            let directory = match openat(CWD, &path, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                result => result.attempt(format_args!("open({path:?})"))?,
            };
            if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
                drop(noted);
                flock(&directory, FlockOperation::LockExclusive).attempt("flock")?;
                continue;
            }
            if !is_at(&directory, CWD, path.as_os_str()) {
                continue;
            }
            // From here on it is ours. Another run may have made the layer since we looked, or
            // may have been killed.
            let is_left = !removal::names(&directory).attempt("getdents64")?.is_empty();
            if layer.is_dir() || is_left {
                removal::remove(CWD, path.as_os_str())
                    .attempt(format_args!("unlinkat({path:?})"))?;
                continue;
            }
            *noted = Some(path);
            drop(noted);
            return Ok(Some(Partial::locked(directory, place.clone())));
        }
    }
}

/// Whether a locked directory is still where it was opened: before it was locked, another run may
/// have renamed it or made a new one in its place.
fn is_at(directory: &OwnedFd, above: BorrowedFd, name: &OsStr) -> bool {
    let there = statat(above, name, AtFlags::SYMLINK_NOFOLLOW);
    there.is_ok_and(|there| fstat(directory).is_ok_and(|locked| locked.st_ino == there.st_ino))
}

/// How a caller's layers are marked, and what their names end in.
fn kind(is_root: bool, is_initial: bool, id_map: &str) -> (Marks, &'static str) {
    let is_one_id = matches!(id_map.split_whitespace().collect::<Vec<_>>()[..], [_, _, "1"]);
    match (is_root, is_initial) {
        (true, true) => (Marks::Trusted, ""),
        // One id alone, in a namespace or outside: all files are the caller's.
        (false, true) => (Marks::User, ".own"),
        _ if is_one_id => (Marks::User, ".own"),
        _ => (Marks::User, ".mapped"),
    }
}

/// `user_namespaces(7)`.
fn id_map() -> String {
    fs::read_to_string("/proc/self/uid_map").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_callers_are_told_apart() {
        let table = [
            (true, true, "         0          0 4294967295\n", Marks::Trusted, ""),
            (false, true, "         0          0 4294967295\n", Marks::User, ".own"),
            (true, false, "         0       1000          1\n", Marks::User, ".own"),
            (false, false, "      1000       1000          1\n", Marks::User, ".own"),
            (true, false, "0 1000 1\n1 100000 65536\n", Marks::User, ".mapped"),
            (true, false, "0 100000 65536\n", Marks::User, ".mapped"),
        ];
        for (is_root, is_initial, map, marks, suffix) in table {
            assert_eq!(kind(is_root, is_initial, map), (marks, suffix), "{map}");
        }
    }

    #[test]
    fn layers_are_named_by_their_chains() {
        let store = Store { path: "s".into(), marks: Marks::User, suffix: ".own" };
        let id =
            |digit: &str| -> Digest { format!("sha256:{}", digit.repeat(64)).parse().unwrap() };
        let names = store.names(&[id("a"), id("b"), id("a")]);
        // printf 'sha256:a… sha256:b…' | sha256sum, and so on.
        let expected = [
            format!("{}.own", "a".repeat(64)),
            "ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c.own".to_owned(),
            "406364a4bd8d39df8107071d4494fa73814420337124657ec5999b072e5d3352.own".to_owned(),
        ];
        assert_eq!(names, expected);
        assert_eq!(store.names(&[id("b")]), [format!("{}.own", "b".repeat(64))]);
        let lowerdir = format!("s/{}:s/{}:s/{}", expected[2], expected[1], expected[0]);
        assert_eq!(store.lowerdir(&names), OsString::from(lowerdir));
        let odd = Store { path: r"a:b\c".into(), ..store }.lowerdir(&names[..1]);
        assert_eq!(odd, OsString::from(format!(r"a\:b\\c/{}", expected[0])));
    }
}
