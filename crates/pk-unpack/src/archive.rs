//! Archives: where the named parts of an image lie, in a tar or in a directory.

use crate::compression::Compression;
use crate::entry::{Entries, Kind, Skip};
use pk::{Attempt, Error, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What IMAGE turned out to be.
pub enum Source {
    /// Parts can be looked up.
    Archive(Archive),
    /// Can be read only once, from its start: a pipe, or a tar that is compressed as a whole. With
    /// what the user called it.
    Stream(Box<dyn Read>, String),
}

/// An image archive whose parts can be looked up.
pub struct Archive {
    /// What the user called it.
    name: String,
    place: Place,
}

enum Place {
    Directory(OwnedFd),
    Tar { file: Arc<File>, members: HashMap<Vec<u8>, Member> },
}

enum Member {
    File {
        offset: u64,
        size: u64,
    },
    /// Another member, by its path. Docker linked layers that two images share.
    Link(Vec<u8>),
}

/// A part of an archive. It reads by position, so that several can be read at once.
#[derive(Clone, Debug)]
pub struct Blob {
    file: Arc<File>,
    offset: u64,
    size: u64,
    position: u64,
}

/// Bytes in a JSON document.
const MOST_JSON: u64 = 4 << 20;
/// Members of an archive: an image has a handful for each layer.
const MOST_MEMBERS: usize = 100_000;

impl Source {
    /// Opens IMAGE, where `-` is standard input.
    pub fn open(operand: &OsStr) -> Result<Self> {
        let name = operand.to_string_lossy().into_owned();
        if operand == "-" {
            return Ok(Self::Stream(Box::new(io::stdin()), name));
        }
        let file = File::open(operand).attempt(format_args!("open({name:?})"))?;
        let kind = file.metadata().attempt(format_args!("fstat({name:?})"))?.file_type();
        if kind.is_dir() {
            return Ok(Self::Archive(Archive { name, place: Place::Directory(file.into()) }));
        }
        if !kind.is_file() {
            return Ok(Self::Stream(Box::new(file), name));
        }
        let blob = Blob::whole(file).attempt(format_args!("fstat({name:?})"))?;
        match blob.compression().attempt(format_args!("read({name:?})"))? {
            Compression::Plain => Ok(Self::Archive(Archive::of_tar(blob, name)?)),
            _ => Ok(Self::Stream(Box::new(blob), name)),
        }
    }
}

impl Archive {
    /// Copies a stream, decompressed, into an unlinked file in the directory `beside`: its table
    /// of contents may come last.
    pub fn spool(stream: impl Read, name: String, beside: &Path) -> Result<Self> {
        let mut file = tempfile::tempfile_in(beside).attempt(format_args!("open({beside:?})"))?;
        let mut stream = BufReader::new(stream);
        let mut first = Vec::new();
        stream.by_ref().take(4).read_to_end(&mut first).attempt(format_args!("read({name:?})"))?;
        let compression = Compression::of(&first);
        let whole = BufReader::with_capacity(1 << 17, first.chain(stream));
        let mut plain = compression.decode(whole).attempt("zstd")?;
        let mut buffer = vec![0; 1 << 17];
        loop {
            let length = plain.read(&mut buffer).attempt(format_args!("read({name:?})"))?;
            if length == 0 {
                break;
            }
            file.write_all(&buffer[..length]).attempt(format_args!("write({beside:?})"))?;
        }
        Self::of_tar(Blob::whole(file).attempt("fstat")?, name)
    }

    fn of_tar(blob: Blob, name: String) -> Result<Self> {
        let (file, size) = (Arc::clone(&blob.file), blob.size);
        let mut entries = Entries::new(BufReader::new(blob));
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
                    if offset.checked_add(length).is_none_or(|end| end > size) {
                        return Err(Error::new(name, format!("is truncated in {}", lossy(&path))));
                    }
                    if segments.len() != 1 || segments[0].length != length {
                        return Err(Error::new(name, format!("{} is sparse", lossy(&path))));
                    }
                    Member::File { offset, size: length }
                }
                Kind::Symlink(target) => Member::Link(normal(&target, parent(&path))),
                Kind::HardLink(target) => Member::Link(normal(&target, b"")),
                Kind::Directory | Kind::Node(..) => continue,
            };
            members.insert(path, member);
            if members.len() > MOST_MEMBERS {
                return Err(Error::new(name, "has too many members for an image"));
            }
        }
        Ok(Self { name, place: Place::Tar { file, members } })
    }

    /// What the user called this archive.
    pub fn name(&self) -> &str {
        &self.name
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
        let (file, members) = match &self.place {
            Place::Directory(directory) => return self.blob_in(directory, path),
            Place::Tar { file, members } => (file, members),
        };
        let mut wanted = normal(path.as_bytes(), b"");
        // As many links as the kernel follows.
        for _ in 0..40 {
            match members.get(&wanted) {
                None => return Ok(None),
                Some(Member::Link(target)) => wanted.clone_from(target),
                Some(&Member::File { offset, size }) => {
                    return Ok(Some(Blob { file: Arc::clone(file), offset, size, position: 0 }));
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
        if blob.size > MOST_JSON {
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

impl Blob {
    fn whole(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), offset: 0, size, position: 0 })
    }

    /// Bytes in it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How it is compressed.
    pub fn compression(&self) -> io::Result<Compression> {
        let mut first = Vec::new();
        self.clone().take(4).read_to_end(&mut first)?;
        Ok(Compression::of(&first))
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let length = self.file.read_at(&mut buffer[..length], self.offset + self.position)?;
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for Blob {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Skip for BufReader<Blob> {
    fn skip(&mut self, count: u64) -> io::Result<u64> {
        let here = self.stream_position()?;
        let count = count.min(self.get_ref().size.saturating_sub(here));
        self.seek_relative(count.cast_signed())?;
        Ok(count)
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
