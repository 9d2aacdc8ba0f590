//! floor inflate FILE, floor hash FILE, floor write TAR DIR: one part of unpacking a layer, alone
//! and from memory. Prints the microseconds.
//!
//! `scripts/bench unpack` compares pk-unpack, which does all of them at once, with the slowest.

use flate2::read::MultiGzDecoder;
use rustix::fs::{CWD, Mode, OFlags, Timespec, Timestamps, futimens, mkdirat, openat, symlinkat};
use sha2::{Digest, Sha256};
use std::error::Error;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Instant;
use std::{env, fs, hint};
use tar::{Archive, EntryType};

/// Bytes at once, as pk-unpack has it.
const CHUNK: usize = 256 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let start = match arguments[..] {
        ["inflate", file] => inflate(&fs::read(file)?)?,
        ["hash", file] => hash(&fs::read(file)?),
        ["write", file, directory] => write(&fs::read(file)?, directory)?,
        _ => return Err("inflate FILE, hash FILE or write TAR DIR".into()),
    };
    println!("{}", start.elapsed().as_micros());
    Ok(())
}

fn inflate(compressed: &[u8]) -> io::Result<Instant> {
    let start = Instant::now();
    let mut tar: Box<dyn Read> = match compressed {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(compressed)),
        _ => Box::new(zstd::Decoder::with_buffer(compressed)?),
    };
    let mut chunk = vec![0; CHUNK];
    while tar.read(&mut chunk)? > 0 {}
    Ok(start)
}

fn hash(bytes: &[u8]) -> Instant {
    let start = Instant::now();
    hint::black_box(Sha256::digest(bytes));
    start
}

/// Makes the directories, files and symlinks with as few calls as can be, one thread.
fn write(bytes: &[u8], directory: &str) -> Result<Instant, Box<dyn Error>> {
    let mut members = Vec::new();
    for entry in Archive::new(bytes).entries()? {
        let entry = entry?;
        let path = PathBuf::from(entry.path()?);
        let contents = usize::try_from(entry.raw_file_position())?;
        let contents = contents..contents + usize::try_from(entry.size())?;
        let link = entry.link_name_bytes().unwrap_or_default().into_owned();
        let time = i64::try_from(entry.header().mtime()?)?;
        let mode = Mode::from_raw_mode(entry.header().mode()?);
        members.push((path, entry.header().entry_type(), mode, time, link, &bytes[contents]));
    }
    fs::create_dir(directory)?;
    env::set_current_dir(directory)?;
    let start = Instant::now();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let (mut above, mut above_fd) =
        (PathBuf::new(), openat(CWD, ".", OFlags::RDONLY, Mode::empty())?);
    for (path, kind, mode, time, link, contents) in members {
        let (parent, name) =
            (path.parent().unwrap_or(&above), path.file_name().unwrap_or_default());
        if parent != above {
            fs::create_dir_all(parent)?;
            above_fd = openat(CWD, parent, OFlags::RDONLY, Mode::empty())?;
            above = parent.to_owned();
        }
        match kind {
            EntryType::Directory => drop(mkdirat(&above_fd, name, mode)),
            EntryType::Symlink => symlinkat(link.as_slice(), &above_fd, name)?,
            EntryType::Regular => {
                let mut file = fs::File::from(openat(&above_fd, name, flags, mode)?);
                file.write_all(contents)?;
                let time = Timespec { tv_sec: time, tv_nsec: 0 };
                futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
            }
            _ => {}
        }
    }
    Ok(start)
}
