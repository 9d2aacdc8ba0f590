//! Archives: where the named parts of an image lie, in a tar or in a directory.

use crate::blob::Blob;
use crate::compression::Compression;
use crate::entry::{Entries, Kind};
use crate::limits::Limits;
use crate::rootfs;
use pk::{Attempt, Error, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What IMAGE turned out to be.
pub enum Source {
    /// Parts can be looked up.
    Archive(Archive),
    Stream(Stream),
}

/// A tar that is read once, from its start: it comes through a pipe, or is compressed as a whole,
/// or has no parts to be looked up.
pub struct Stream {
    /// What the user called it.
    pub name: String,
    /// The tar, decompressed.
    pub tar: Box<dyn Read + Send>,
    /// The shell command that prints the tar.
    pub command: String,
    /// Whether the tar begins as a root filesystem does.
    pub is_rootfs: bool,
}

/// An image archive whose parts can be looked up.
pub struct Archive {
    /// What the user called it.
    name: String,
    place: Place,
}

enum Place {
    Directory(OwnedFd),
    Tar { whole: Blob, members: HashMap<Vec<u8>, Member> },
}

enum Member {
    File {
        offset: u64,
        size: u64,
    },
    /// A directory, a node or a file with holes: no part of an image.
    Other,
    /// Another member, by its path. Docker linked layers that two images share.
    Link(Vec<u8>),
}

/// Bytes in a JSON document.
const MOST_JSON: u64 = 4 << 20;
/// Bytes of a stream that are looked at to tell what it is.
const BEGINNING: u64 = 64 << 10;
/// Members of an archive: an image has a handful for each layer.
const MOST_MEMBERS: usize = 100_000;

impl Source {
    /// Opens IMAGE, where `-` is standard input.
    pub fn open(operand: &OsStr) -> Result<Self> {
        let name = operand.to_string_lossy().into_owned();
        let mut file = if operand == "-" {
            io::stdin().as_fd().try_clone_to_owned().map(File::from).attempt("dup(0)")?
        } else {
            File::open(operand).attempt(format_args!("open({name:?})"))?
        };
        let kind = file.metadata().attempt(format_args!("fstat({name:?})"))?.file_type();
        if kind.is_dir() {
            return Ok(Self::Archive(Archive { name, place: Place::Directory(file.into()) }));
        }
        if !kind.is_file() {
            return Stream::new(file, name).map(Self::Stream);
        }
        // Somebody may have read the start of standard input.
        let start = file.stream_position().attempt(format_args!("lseek({name:?})"))?;
        let whole = Blob::whole(file).attempt(format_args!("fstat({name:?})"))?;
        let blob = whole.part(start, whole.size().saturating_sub(start));
        let stream = Stream::new(blob.clone(), name.clone())?;
        match blob.compression().attempt(format_args!("read({name:?})"))? {
            Compression::Plain if !stream.is_rootfs => {
                Ok(Self::Archive(Archive::of_tar(blob, name)?))
            }
            _ => Ok(Self::Stream(stream)),
        }
    }
}

impl Stream {
    /// The tar that `stream` is, perhaps compressed.
    pub fn new(stream: impl Read + Send + 'static, name: String) -> Result<Self> {
        let read = || format!("read({name:?})");
        let mut stream = BufReader::with_capacity(1 << 17, stream);
        let mut first = Vec::new();
        stream.by_ref().take(Compression::TELLING).read_to_end(&mut first).attempt(read())?;
        let compression = Compression::of(&first);
        let mut tar = compression.decode(Cursor::new(first).chain(stream)).attempt("zstd")?;
        let mut first = Vec::new();
        tar.by_ref().take(BEGINNING).read_to_end(&mut first).attempt(read())?;
        let is_rootfs = rootfs::begins(&first);
        let tar = Box::new(Cursor::new(first).chain(tar));
        let command = format!("cat {}{}", pk::quote(&name), compression.command());
        Ok(Self { name, tar, command, is_rootfs })
    }
}

impl Archive {
    /// Copies a stream into an unlinked file in the directory `beside`: its table of contents may
    /// come last. What the copy takes is bounded too.
    pub fn spool(mut stream: Stream, beside: &Path, limits: &mut Limits) -> Result<Self> {
        let name = stream.name;
        let mut file = tempfile::tempfile_in(beside).attempt(format_args!("open({beside:?})"))?;
        let mut buffer = vec![0; 1 << 17];
        loop {
            let length = stream.tar.read(&mut buffer).attempt(format_args!("read({name:?})"))?;
            if length == 0 {
                break;
            }
            limits.bytes(length as u64).attempt(&name)?;
            file.write_all(&buffer[..length]).attempt(format_args!("write({beside:?})"))?;
        }
        Self::of_tar(Blob::whole(file).attempt("fstat")?, name)
    }

    fn of_tar(blob: Blob, name: String) -> Result<Self> {
        let mut entries = Entries::new(BufReader::new(blob.clone()));
        let mut members = HashMap::new();
        loop {
            let entry = match entries.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(error) if entries.position() <= 512 => {
                    return Err(Error::new(name, format!("is no tar archive: {error}")));
                }
                Err(error) => return Err(error).attempt(name),
            };
            let path = normal(&entry.path, b"");
            let member = match entry.kind {
                Kind::File { size: length, segments } => {
                    let offset = entries.position();
                    if offset.checked_add(length).is_none_or(|end| end > blob.size()) {
                        return Err(Error::new(name, format!("is truncated in {}", lossy(&path))));
                    }
                    let is_whole = segments.len() == 1 && segments[0].length == length;
                    if is_whole { Member::File { offset, size: length } } else { Member::Other }
                }
                Kind::Symlink(target) => Member::Link(normal(&target, parent(&path))),
                Kind::HardLink(target) => Member::Link(normal(&target, b"")),
                Kind::Directory | Kind::Node(..) => Member::Other,
            };
            members.insert(path, member);
            if members.len() > MOST_MEMBERS {
                return Err(Error::new(name, "has too many members for an image"));
            }
        }
        Ok(Self { name, place: Place::Tar { whole: blob, members } })
    }

    /// What the user called this archive.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of it, where it is one tar.
    pub fn tar(&self) -> Option<&Blob> {
        match &self.place {
            Place::Directory(_) => None,
            Place::Tar { whole, .. } => Some(whole),
        }
    }

    /// Whether it looks like a root filesystem.
    pub fn is_rootfs(&self) -> bool {
        let Place::Tar { members, .. } = &self.place else { return false };
        let first = |path: &Vec<u8>| path.split(|&byte| byte == b'/').next().map(<[u8]>::to_vec);
        let top: HashSet<_> = members.keys().filter_map(first).collect();
        rootfs::is_one(|name| top.contains(name.as_bytes()))
    }

    /// The shell command that prints a part.
    pub fn command(&self, path: &str) -> String {
        match self.place {
            Place::Directory(_) => format!("cat {}", pk::quote(format!("{}/{path}", self.name))),
            Place::Tar { .. } => format!("tar -xOf {} {}", pk::quote(&self.name), pk::quote(path)),
        }
    }

    /// A part by its path in the archive, if it is there.
    pub fn blob(&self, path: &str) -> Result<Option<Blob>> {
        let (whole, members) = match &self.place {
            Place::Directory(directory) => return self.blob_in(directory, path),
            Place::Tar { whole, members } => (whole, members),
        };
        let mut wanted = normal(path.as_bytes(), b"");
        // As many links as the kernel follows.
        for _ in 0..40 {
            match members.get(&wanted) {
                None => return Ok(None),
                Some(Member::Link(target)) => wanted.clone_from(target),
                Some(Member::Other) => return Err(Error::new(self.part(path), "is no plain file")),
                Some(&Member::File { offset, size }) => {
                    return Ok(Some(whole.part(offset, size)));
                }
            }
        }
        Err(Error::new(self.part(path), "too many links"))
    }

    fn blob_in(&self, directory: &OwnedFd, path: &str) -> Result<Option<Blob>> {
        // A fifo must not keep us waiting.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = match openat2(directory, path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            opened => File::from(opened.attempt(format_args!("openat2({:?})", self.part(path)))?),
        };
        if !file.metadata().attempt("fstat")?.is_file() {
            return Err(Error::new(self.part(path), "is not a regular file"));
        }
        Ok(Some(Blob::whole(file).attempt("fstat")?))
    }

    /// A part that must be there; `whose` names it.
    pub fn named_blob(&self, path: &str, whose: &str) -> Result<Blob> {
        let blob = self.blob(path)?;
        blob.ok_or_else(|| {
            Error::new(self.part(path), format!("{whose} names it, but it is not there"))
        })
    }

    /// A JSON document's bytes.
    pub fn document(&self, path: &str, blob: &mut Blob) -> Result<Vec<u8>> {
        if blob.size() > MOST_JSON {
            return Err(Error::new(self.part(path), "a JSON document larger than 4 MiB"));
        }
        let mut bytes = Vec::new();
        blob.read_to_end(&mut bytes).attempt(format_args!("read({:?})", self.part(path)))?;
        Ok(bytes)
    }

    /// How errors call a part.
    pub fn part(&self, path: &str) -> String {
        format!("{}: {path}", self.name)
    }
}

/// A path without `.`, `..` and slashes too many; `base` is the directory that it starts in.
fn normal(path: &[u8], base: &[u8]) -> Vec<u8> {
    let base = if path.starts_with(b"/") { b"" } else { base };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in [base, path].into_iter().flat_map(|path| path.split(|&byte| byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(b"", |slash| &path[..slash])
}

fn lossy(path: &[u8]) -> String {
    format!("{:?}", OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_between_members_are_resolved_inside_the_archive() {
        let table: [(&[u8], &[u8], &[u8]); 6] = [
            (b"./manifest.json", b"", b"manifest.json"),
            (b"../b/layer.tar", b"a", b"b/layer.tar"),
            (b"/b/layer.tar", b"a", b"b/layer.tar"),
            (b"../../../x", b"a/b", b"x"),
            (b"a//b/./c/", b"", b"a/b/c"),
            (b"", b"", b""),
        ];
        for (path, base, expected) in table {
            assert_eq!(normal(path, base), expected);
        }
        assert_eq!((parent(b"a/b/c"), parent(b"a")), (&b"a/b"[..], &b""[..]));
    }
}
