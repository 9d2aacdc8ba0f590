//! A layer as a stream: reading and inflating it, and making its digests, go on in threads of
//! their own while its entries are being written.

use crate::compression::Compression;
use crate::digest::{Digest, Hash};
use crate::entry::Skip;
use crate::image::Layer;
use pk::{Attempt, Error, Result};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes that go from thread to thread at once, and how many such pieces may wait.
const CHUNK: usize = 256 << 10;
const WAITING: usize = 8;

type Chunk = Arc<Vec<u8>>;

/// The tar of a layer, as it comes out of the thread that inflates it.
pub struct Chunks {
    receiver: Receiver<Chunk>,
    chunk: Chunk,
    at: usize,
}

/// Lets `apply` read a layer's tar, and checks the digests of blob and tar. `progress` is told of
/// bytes of the blob as they are read.
///
/// A wrong blob is the error that is returned, whatever it led to further on.
pub fn read(
    layer: &Layer,
    progress: impl Fn(u64) + Send,
    apply: impl FnOnce(Chunks) -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let (to_apply, receiver) = sync_channel(WAITING);
        let (to_hash, hashed) = sync_channel::<Chunk>(WAITING);
        let inflating = scope.spawn(move || inflate(layer, progress, [&to_hash, &to_apply]));
        let hashing = scope.spawn(move || -> Result<Hash> {
            let mut hash = Hash::like(&layer.diff_id)?;
            hashed.iter().for_each(|chunk| hash.update(&chunk));
            Ok(hash)
        });
        let applied = apply(Chunks { receiver, chunk: Chunk::default(), at: 0 });
        let inflated = inflating.join().unwrap_or_else(|_| Err(died()));
        let hash = hashing.join().unwrap_or_else(|_| Err(died()));
        inflated?;
        applied?;
        hash?.check(&layer.diff_id, &format!("{}: its tar", layer.name()))
    })
}

fn died() -> Error {
    Error::new("pthread_join", "a thread panicked")
}

fn inflate(layer: &Layer, progress: impl Fn(u64), outputs: [&SyncSender<Chunk>; 2]) -> Result<()> {
    // Where nothing is compressed, the tar is the blob.
    let is_tar =
        |stated: &&Digest| layer.compression == Compression::Plain && **stated == layer.diff_id;
    let stated = layer.digest.as_ref().filter(|stated| !is_tar(stated));
    let hash = stated.map(Hash::like).transpose()?;
    let mut blob = Checked { blob: layer.blob.clone(), hash, progress };
    let pumped = pump(layer.compression, &mut blob, outputs);
    // What comes after the compressed data, or after an error, belongs to the digest as well.
    let rest =
        if stated.is_some() { io::copy(&mut blob, &mut io::sink()).map(drop) } else { Ok(()) };
    if let (Some(hash), Some(stated), Ok(())) = (blob.hash, stated, &rest) {
        hash.check(stated, &layer.name())?;
    }
    pumped.and(rest).attempt(layer.name())
}

/// Decompresses until the end, or until nobody listens any more.
fn pump(
    compression: Compression,
    blob: impl Read,
    outputs: [&SyncSender<Chunk>; 2],
) -> io::Result<()> {
    let mut tar = compression.decode(BufReader::with_capacity(CHUNK, blob))?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        tar.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        let chunk = Chunk::new(chunk);
        if chunk.is_empty()
            || outputs.iter().any(|output| output.send(Chunk::clone(&chunk)).is_err())
        {
            return Ok(());
        }
    }
}

/// A blob whose digest is made while it is read.
struct Checked<R, P> {
    blob: R,
    hash: Option<Hash>,
    progress: P,
}

impl<R: Read, P: Fn(u64)> Read for Checked<R, P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.blob.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..length]);
        }
        (self.progress)(length as u64);
        Ok(length)
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            // The sender has gone at the end, and also when it failed, which it says itself.
            self.chunk = self.receiver.recv().unwrap_or_default();
            self.at = 0;
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Skip for Chunks {}
