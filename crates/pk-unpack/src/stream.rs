//! A layer as a stream: reading and inflating it, and making its digests, go on in threads of
//! their own while its entries are being written.

use crate::compression::Compression;
use crate::digest::{Digest, Hash};
use crate::entry::Skip;
use crate::image::Layer;
use pk::{Attempt, Error, Result};
use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

/// Bytes that go from thread to thread at once, and how many such pieces may wait.
const CHUNK: usize = 1 << 20;
const WAITING: usize = 4;

type Chunk = Arc<Vec<u8>>;

/// What another thread makes, as a reader.
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
    let mut hash = Hash::like(&layer.diff_id)?;
    thread::scope(|scope| {
        let (to_apply, tar) = Chunks::channel();
        let (to_hash, hashed) = sync_channel::<Chunk>(WAITING);
        let to_both = [to_hash, to_apply];
        let (reading, inflating) = if layer.compression == Compression::Plain {
            (scope.spawn(move || read_blob(layer, progress, &to_both)), None)
        } else {
            let (to_inflate, blob) = Chunks::channel();
            let reading = scope.spawn(move || read_blob(layer, progress, &[to_inflate]));
            let inflate = move || pump(layer.compression.decode(blob)?, &to_both);
            (reading, Some(scope.spawn(inflate)))
        };
        let hashing = scope.spawn(move || {
            for chunk in hashed {
                hash.update(&chunk);
            }
            hash
        });
        let applied = apply(tar);
        join(reading)??;
        inflating.map_or(Ok(Ok(())), join)?.attempt(layer.name())?;
        applied?;
        join(hashing)?.check(&layer.diff_id, &format!("{}: its tar", layer.name()))
    })
}

fn join<T>(thread: ScopedJoinHandle<T>) -> Result<T> {
    thread.join().map_err(|_| Error::new("pthread_join", "a thread panicked"))
}

fn read_blob(layer: &Layer, progress: impl Fn(u64), outputs: &[SyncSender<Chunk>]) -> Result<()> {
    // Where nothing is compressed, the tar is the blob.
    let is_tar =
        |stated: &&Digest| layer.compression == Compression::Plain && **stated == layer.diff_id;
    let stated = layer.digest.as_ref().filter(|stated| !is_tar(stated));
    let hash = stated.map(Hash::like).transpose()?;
    let mut blob = Checked { blob: layer.blob.clone(), hash, progress };
    pump(&mut blob, outputs).attempt(layer.name())?;
    let (Some(stated), Some(_)) = (stated, &blob.hash) else { return Ok(()) };
    // What comes after the compressed data, or after an error, belongs to the digest as well.
    io::copy(&mut blob, &mut io::sink()).attempt(layer.name())?;
    blob.hash.map_or(Ok(()), |hash| hash.check(stated, &layer.name()))
}

/// Hands on what `reader` reads until the end, or until nobody listens any more.
fn pump(mut reader: impl Read, outputs: &[SyncSender<Chunk>]) -> io::Result<()> {
    let mut handed_on = VecDeque::<Chunk>::new();
    loop {
        // What all have read is filled again: it is mapped, and perhaps in the CPU's cache.
        let is_free = handed_on.front_mut().is_some_and(|chunk| Arc::get_mut(chunk).is_some());
        let free = if is_free { handed_on.pop_front() } else { None };
        let mut chunk = free.unwrap_or_else(|| Arc::new(vec![0; CHUNK]));
        let buffer = Arc::get_mut(&mut chunk).expect("nobody else has it");
        let length = fill(&mut reader, buffer)?;
        buffer.truncate(length);
        if length == 0 || outputs.iter().any(|output| output.send(Arc::clone(&chunk)).is_err()) {
            return Ok(());
        }
        handed_on.push_back(chunk);
    }
}

/// Reads until `buffer` is full or nothing is left.
fn fill(mut reader: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
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

impl Chunks {
    fn channel() -> (SyncSender<Chunk>, Self) {
        let (sender, receiver) = sync_channel(WAITING);
        (sender, Self { receiver, chunk: Chunk::default(), at: 0 })
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
            // Let go of before the wait for the next one, so that it can be filled again.
            self.chunk = Chunk::default();
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
