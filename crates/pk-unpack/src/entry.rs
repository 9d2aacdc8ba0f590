//! Tar entries: the blocks that describe one member, gathered into one [`Entry`].
//!
//! The tar crate decodes the blocks; its iterator is not used, because it ends a PAX value at the
//! first newline: an xattr that holds one would hide the records after it, or forge them.

use crate::metadata::Metadata;
use crate::pax::{Records, invalid};
use crate::sparse::{self, Segment};
use rustix::fs::FileType;
use std::io::{self, BufRead, Read};
use tar::{EntryType, Header};

/// One member of a tar archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub metadata: Metadata,
}

/// What kind of file a member is, with what only that kind has.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// The stored bytes, which are read next, belong into the segments of a file of this size.
    File {
        size: u64,
        segments: Vec<Segment>,
    },
    /// Another name of the file with this path.
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    Directory,
    /// A device, with its major and minor number, or a fifo.
    Node(FileType, u32, u32),
}

/// The entries of a tar archive, in one pass. The contents of the last one are read from here too.
pub struct Entries<R> {
    reader: R,
    position: u64,
    /// Bytes of the current member that were not read yet, and the filling after them.
    left: u64,
    filling: u64,
    global: Records,
    /// Where the header lies that was read last.
    start: u64,
}

/// A reader that may know a faster way to leave out bytes than reading them.
pub trait Skip: BufRead + Sized {
    /// Leaves out `count` bytes, or fewer where the archive ends before; tells how many.
    fn skip(&mut self, count: u64) -> io::Result<u64> {
        io::copy(&mut self.by_ref().take(count), &mut io::sink())
    }
}

impl Skip for &[u8] {}

const BLOCK: u64 = 512;
/// Bytes in an extended header. Go's archive/tar has the same bound.
const MOST_EXTENDED: u64 = 1 << 20;
/// Bytes in all global headers together, which are laid under every entry.
const MOST_GLOBAL: usize = 64 << 10;

impl<R: Skip> Entries<R> {
    /// The entries of what `reader` reads.
    pub fn new(reader: R) -> Self {
        Self { reader, position: 0, left: 0, filling: 0, global: Records::default(), start: 0 }
    }

    /// The next entry; what was not read of the contents of the one before is left out.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let (mut path, mut link, mut local) = (None, None, None);
        loop {
            let Some(header) = self.next_header()? else {
                let described = path.is_some() || link.is_some() || local.is_some();
                return if described { Err(truncated()) } else { Ok(None) };
            };
            match header.entry_type() {
                EntryType::GNULongName => once(&mut path, self.extended()?)?,
                EntryType::GNULongLink => once(&mut link, self.extended()?)?,
                EntryType::XHeader => once(&mut local, Records::parse(&self.extended()?)?)?,
                EntryType::XGlobalHeader => {
                    self.global = Records::parse(&self.extended()?)?.over(&self.global);
                    if self.global.size() > MOST_GLOBAL {
                        return Err(invalid("global headers larger than 64 KiB"));
                    }
                }
                kind => {
                    let records = local.unwrap_or_default().over(&self.global);
                    return self.entry(&header, kind, &records, path, link).map(Some);
                }
            }
        }
    }

    /// The next bytes of the current member's contents; none at their end.
    pub fn contents(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.reader.fill_buf()?;
        if bytes.is_empty() {
            return Err(truncated());
        }
        Ok(&bytes[..bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX))])
    }

    /// Takes away bytes that [`Self::contents`] gave.
    pub fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        self.left -= count as u64;
        self.position += count as u64;
    }

    /// How many bytes of the archive lie before the current member's contents.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Where the header lies that was read last: what an entry is called as long as it has no name.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Reads what comes after the last entry: a digest counts it too.
    pub fn finish(mut self) -> io::Result<()> {
        self.reader.skip(u64::MAX).map(drop)
    }

    fn next_header(&mut self) -> io::Result<Option<Header>> {
        if self.reader.skip(self.left)? < self.left {
            return Err(truncated());
        }
        // The filling may be missing at the end: some builders leave it out.
        self.position += self.left + self.reader.skip(self.filling)?;
        (self.left, self.filling, self.start) = (0, 0, self.position);
        let Some(block) = self.block()? else { return Ok(None) };
        if block == [0; 512] {
            return match self.block()? {
                Some(second) if second != block => {
                    Err(invalid("a block of zeros among the entries"))
                }
                _ => Ok(None),
            };
        }
        let header = Header::from_byte_slice(&block).clone();
        let sum: u32 = block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum();
        // The checksum counts its own field as eight spaces.
        if header.cksum().ok() != Some(sum + 8 * 32) {
            return Err(invalid("not a tar header"));
        }
        self.set_size(sparse::size(&header.as_old().size)?)?;
        Ok(Some(header))
    }

    fn set_size(&mut self, size: u64) -> io::Result<()> {
        // A file offset of the kernel is signed.
        if i64::try_from(size).is_err() {
            return Err(invalid("size overflow"));
        }
        self.filling = size.next_multiple_of(BLOCK) - size;
        self.left = size;
        Ok(())
    }

    /// A block; `None` where the archive ends, also in the middle of zeros.
    fn block(&mut self) -> io::Result<Option<[u8; 512]>> {
        let mut block = Vec::with_capacity(512);
        self.reader.by_ref().take(BLOCK).read_to_end(&mut block)?;
        self.position += block.len() as u64;
        match <[u8; 512]>::try_from(block) {
            Ok(block) => Ok(Some(block)),
            Err(short) if short.iter().all(|&byte| byte == 0) => Ok(None),
            Err(_) => Err(truncated()),
        }
    }

    /// The contents of an extended header.
    fn extended(&mut self) -> io::Result<Vec<u8>> {
        if self.left > MOST_EXTENDED {
            return Err(invalid("an extended header larger than 1 MiB"));
        }
        let mut bytes = Vec::new();
        self.reader.by_ref().take(self.left).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != self.left {
            return Err(truncated());
        }
        self.position += self.left;
        self.left = 0;
        Ok(bytes)
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        records: &Records,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> io::Result<Entry> {
        let path = records.get(b"GNU.sparse.name").or_else(|| records.get(b"path"));
        let path = name(path, long_path, || header.path_bytes().into_owned())?;
        let link = || header.link_name_bytes().unwrap_or_default().into_owned();
        let link = name(records.get(b"linkpath"), long_link, link)?;
        let node = |kind| -> io::Result<Kind> {
            let device = (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0));
            Ok(Kind::Node(kind, device.0, device.1))
        };
        let kind = match kind {
            // Before POSIX a slash at the end made a directory.
            EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(header, records)?
            }
            EntryType::Link => Kind::HardLink(link),
            EntryType::Symlink => Kind::Symlink(link),
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Node(FileType::Fifo, 0, 0),
            EntryType::Char => node(FileType::CharacterDevice)?,
            EntryType::Block => node(FileType::BlockDevice)?,
            other => {
                let kind = char::from(other.as_byte()).escape_default();
                return Err(invalid(format!("type '{kind}' is not known")));
            }
        };
        if !matches!(kind, Kind::File { .. }) {
            // Whatever size the others state, no contents follow. Go's archive/tar reads so too.
            (self.left, self.filling) = (0, 0);
        }
        Ok(Entry { path, kind, metadata: Metadata::of(header, records)? })
    }

    fn file(&mut self, header: &Header, records: &Records) -> io::Result<Kind> {
        if let Some(size) = records.number("size")? {
            self.set_size(size)?;
        }
        let stored = self.left;
        let sparse = if header.entry_type() == EntryType::GNUSparse {
            // The list goes on in blocks that the size does not count.
            Some(sparse::of_gnu(header, || self.block()?.ok_or_else(truncated))?)
        } else {
            sparse::of_pax(records, || {
                let block = self.block()?.ok_or_else(truncated)?;
                self.left = self.left.checked_sub(BLOCK).ok_or_else(truncated)?;
                Ok(block)
            })?
        };
        let Some((segments, size)) = sparse else {
            let whole = Segment { offset: 0, length: stored };
            return Ok(Kind::File { size: stored, segments: vec![whole] });
        };
        sparse::check(&segments, size, self.left)?;
        Ok(Kind::File { size, segments })
    }
}

/// A name from the place that says most: PAX, a GNU long name, the header.
fn name(
    pax: Option<&[u8]>,
    gnu: Option<Vec<u8>>,
    header: impl FnOnce() -> Vec<u8>,
) -> io::Result<Vec<u8>> {
    let name = match (pax, gnu) {
        (Some(_), Some(_)) => return Err(invalid("a name both of GNU's and of PAX's kind")),
        (Some(name), None) => name.to_vec(),
        // GNU tar counts the NUL that ends the name.
        (None, Some(mut name)) => {
            name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
            name
        }
        (None, None) => header(),
    };
    if name.contains(&0) { Err(invalid("a NUL in a name")) } else { Ok(name) }
}

fn once<T>(slot: &mut Option<T>, value: T) -> io::Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid("two extended headers of one kind for one entry")),
    }
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "truncated")
}

#[cfg(test)]
mod tests;
