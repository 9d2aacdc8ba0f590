//! Programs as sealed copies in memory: what a process that joins a container runs.
//!
//! `/proc/PID/exe` leads to the file that a process runs, also from inside a root where that file
//! has no name. Who follows it there can keep it open and write to the host's program once nobody
//! runs it any more: CVE-2019-5736. Behind a sealed memfd there is nothing to write to.
//! `memfd_create(2)`, `F_ADD_SEALS(2const)`.

use crate::program::Program;
use crate::{Attempt, Result};
use rustix::fs::{MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, memfd_create};
use std::fs::{File, read_link};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// A copy of `program` that nobody can change any more.
pub fn copy(program: &Path) -> Result<OwnedFd> {
    copy_with(program, Mode::from_raw_mode(0o555))
}

/// The same, for a process that joins a container.
///
/// Nobody may read it either. Executed by a process that has joined a user namespace, in which the
/// copy's owner is nobody, that makes the process one that only root outside may trace: sysctl
/// `fs.suid_dumpable`, "execute only".
pub fn unreadable_copy(program: &Path) -> Result<OwnedFd> {
    copy_with(program, Mode::from_raw_mode(0o111))
}

fn copy_with(program: &Path, mode: Mode) -> Result<OwnedFd> {
    let mut from = File::open(program).attempt(format_args!("open({program:?})"))?;
    sealed(&mut from, program, mode)
}

/// Becomes a sealed copy of this very program, with the same arguments and environment, unless it
/// runs from memory already.
pub fn become_sealed_copy() -> Result<()> {
    let path = Path::new("/proc/self/exe");
    let name = read_link(path).attempt(format_args!("readlink({path:?})"))?;
    // Such a path is that of a memfd, be it this one or one that an earlier link made.
    if name.as_os_str().as_bytes().starts_with(b"/memfd:") {
        return Ok(());
    }
    let mut own = File::open(path).attempt(format_args!("open({path:?})"))?;
    let copy = sealed(&mut own, &name, Mode::from_raw_mode(0o555))?;
    let (arguments, environment) = (std::env::args_os().collect(), std::env::vars_os().collect());
    let errno = Program::new(name.clone(), Some(copy), arguments, environment).execute();
    Err(errno).attempt(format_args!("execveat({name:?})"))
}

fn sealed(from: &mut File, program: &Path, mode: Mode) -> Result<OwnedFd> {
    let name = program.file_name().unwrap_or_default();
    let call = format!("memfd_create({name:?})");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // sysctl vm.memfd_noexec may make the other kind the default; before Linux 6.3 there is no flag.
    let copy = memfd_create(name, flags | MemfdFlags::EXEC)
        .or_else(|_| memfd_create(name, flags))
        .attempt(&call)?;
    let mut copy = File::from(copy);
    io::copy(from, &mut copy).attempt(&call)?;
    fchmod(&copy, mode).attempt(&call)?;
    fcntl_add_seals(&copy, SEALS).attempt("fcntl(memfd, F_ADD_SEALS)")?;
    Ok(copy.into())
}
