//! A layer as a stream: reading and inflating it, and making its digests, go on in threads of
//! their own while its entries are being written.

use crate::blob::Blob;
use crate::compression::Compression;
use crate::digest::{Digest, Hash};
use crate::entry::Skip;
use crate::image::Layer;
use indicatif::ProgressBar;
use pk::{Attempt, Error, Result};
use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Bytes that go from thread to thread at once, and how many such pieces may wait.
const CHUNK: usize = 1 << 20;
const WAITING: usize = 4;

type Chunk = Arc<Vec<u8>>;
type Thread<T> = JoinHandle<Result<T>>;

/// What another thread makes, as a reader.
pub struct Chunks {
    receiver: Receiver<Chunk>,
    chunk: Chunk,
    at: usize,
}

/// A tar that is being read. Its threads run ahead as far as pieces may wait.
pub struct Reading {
    tar: Chunks,
    /// What leads to the tar, the first first: its errors are the cause of later ones.
    sources: Vec<Thread<()>>,
    hashing: Thread<String>,
}

/// The layers of an image, one after the other: the next one is begun while one is being written.
pub struct Layers {
    left: VecDeque<Layer>,
    begun: Option<Reading>,
    bar: ProgressBar,
}

impl Layers {
    /// Layers from the lowest on; `bar` is told of bytes of their blobs as they are read.
    pub fn new(layers: impl IntoIterator<Item = Layer>, bar: ProgressBar) -> Self {
        Self { left: layers.into_iter().collect(), begun: None, bar }
    }

    /// The next layer, which is not to be asked for more often than there are any.
    pub fn next(&mut self) -> Result<Reading> {
        let reading = match self.begun.take() {
            None => self.begin()?,
            begun => begun,
        };
        self.begun = self.begin()?;
        Ok(reading.expect("a step for each layer"))
    }

    /// Begins to read a layer, if one is left.
    fn begin(&mut self) -> Result<Option<Reading>> {
        let layer = self.left.pop_front();
        layer.map(|layer| Reading::layer(layer, self.bar.clone())).transpose()
    }
}

impl Reading {
    /// Begins to read a layer. Its tar is compared with its `diff_id` in the end.
    fn layer(layer: Layer, bar: ProgressBar) -> Result<Self> {
        let (name, compression) = (layer.name(), layer.compression);
        let check = Some((layer.diff_id.clone(), format!("{name}: its tar")));
        if compression == Compression::Plain {
            return Self::begin(check, |outputs| Ok(vec![read_blob(layer, bar, outputs)?]));
        }
        Self::begin(check, |outputs| {
            let (to_inflate, blob) = Chunks::channel();
            let reading = read_blob(layer, bar, vec![to_inflate])?;
            let inflate = move || compression.decode(blob).and_then(|tar| pump(tar, &outputs));
            Ok(vec![reading, spawn(move || inflate().attempt(name))?])
        })
    }

    /// Begins to read a tar of which no digest is known.
    pub fn tar(name: String, tar: impl Read + Send + 'static) -> Result<Self> {
        let pump = move |outputs: Vec<_>| spawn(move || pump(tar, &outputs).attempt(name));
        Self::begin(None, |outputs| Ok(vec![pump(outputs)?]))
    }

    fn begin(
        check: Option<(Digest, String)>,
        sources: impl FnOnce(Vec<SyncSender<Chunk>>) -> Result<Vec<Thread<()>>>,
    ) -> Result<Self> {
        let (to_apply, tar) = Chunks::channel();
        let (to_hash, hashed) = sync_channel::<Chunk>(WAITING);
        let mut hash =
            check.as_ref().map_or(Ok(Hash::sha256()), |(stated, _)| Hash::like(stated))?;
        let hashing = spawn(move || {
            for chunk in hashed {
                hash.update(&chunk);
            }
            let Some((stated, what)) = check else { return Ok(hash.finish()) };
            hash.check(&stated, &what)
        })?;
        Ok(Self { tar, sources: sources(vec![to_hash, to_apply])?, hashing })
    }

    /// Lets `apply` read the tar, and returns its digest once all that was stated has been checked.
    ///
    /// A wrong blob is the error that is returned, whatever it led to further on.
    pub fn apply(self, apply: impl FnOnce(Chunks) -> Result<()>) -> Result<String> {
        let applied = apply(self.tar);
        self.sources.into_iter().try_for_each(join)?;
        applied?;
        join(self.hashing)
    }
}

fn spawn<T: Send + 'static>(
    thread: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<Thread<T>> {
    thread::Builder::new().spawn(thread).attempt("clone(CLONE_THREAD)")
}

fn join<T>(thread: Thread<T>) -> Result<T> {
    thread.join().map_err(|_| Error::new("pthread_join", "a thread panicked"))?
}

fn read_blob(
    layer: Layer,
    bar: ProgressBar,
    outputs: Vec<SyncSender<Chunk>>,
) -> Result<Thread<()>> {
    // Where nothing is compressed, the tar is the blob.
    let is_plain = layer.compression == Compression::Plain;
    let name = layer.name();
    let stated = layer.digest.filter(|stated| !is_plain || *stated != layer.diff_id);
    let hash = stated.as_ref().map(Hash::like).transpose()?;
    let mut blob = Checked { blob: layer.blob, hash, bar };
    spawn(move || {
        pump(&mut blob, &outputs).attempt(&name)?;
        drop(outputs);
        let Some(stated) = stated else { return Ok(()) };
        // What comes after the compressed data, or after an error, belongs to the digest as well.
        io::copy(&mut blob, &mut io::sink()).attempt(&name)?;
        blob.hash.map_or(Ok(()), |hash| hash.check(&stated, &name).map(drop))
    })
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
struct Checked {
    blob: Blob,
    hash: Option<Hash>,
    bar: ProgressBar,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.blob.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..length]);
        }
        self.bar.inc(length as u64);
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
