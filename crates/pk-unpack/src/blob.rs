//! Blobs: parts of files, which several threads can read at once.

use crate::compression::Compression;
use crate::entry::Skip;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A part of a file, read by position.
#[derive(Clone, Debug)]
pub struct Blob {
    file: Arc<File>,
    offset: u64,
    size: u64,
    position: u64,
}

impl Blob {
    /// All of a file.
    pub fn whole(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), offset: 0, size, position: 0 })
    }

    /// A part of this one.
    pub fn part(&self, offset: u64, size: u64) -> Self {
        Self { file: Arc::clone(&self.file), offset: self.offset + offset, size, position: 0 }
    }

    /// Bytes in it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How it is compressed.
    pub fn compression(&self) -> io::Result<Compression> {
        let mut first = Vec::new();
        self.clone().take(Compression::TELLING).read_to_end(&mut first)?;
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
