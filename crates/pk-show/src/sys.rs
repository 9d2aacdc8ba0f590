//! The calls that have no safe wrapper.
#![allow(unsafe_code)]

use libc::Ioctl;
use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// A namespace of the process that a pidfd refers to: `PIDFD_GET_*_NAMESPACE`, `ioctl_pidfd(2)`.
pub fn namespace(pidfd: impl AsFd, request: Ioctl) -> nix::Result<OwnedFd> {
    const PIDFS_IOCTL_MAGIC: Ioctl = 0xff << 8;
    descriptor(pidfd, PIDFS_IOCTL_MAGIC | request)
}

fn descriptor(file: impl AsFd, request: Ioctl) -> nix::Result<OwnedFd> {
    // SAFETY: these requests take no argument and return a new descriptor, which is ours to own.
    unsafe {
        let number = libc::ioctl(file.as_fd().as_raw_fd(), request, 0);
        Ok(OwnedFd::from_raw_fd(Errno::result(number)?))
    }
}

/// Whether this process was started with a descriptor: such a one does not close on exec.
pub fn is_inherited(number: u32) -> bool {
    let Ok(number) = i32::try_from(number) else { return false };
    // SAFETY: F_GETFD takes a number and touches no memory.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// `struct mnt_id_req` of Linux's `linux/mount.h`, as of 6.8.
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    mount: u64,
    /// What is asked for of a mount, or after which one a list goes on.
    parameter: u64,
}

impl MountRequest {
    fn new(mount: u64, parameter: u64) -> Self {
        Self { size: 24, spare: 0, mount, parameter }
    }
}

/// The ids of all mounts below the root of this process, and of that one: `listmount(2)`.
pub fn listmount() -> nix::Result<Vec<u64>> {
    const LSMT_ROOT: u64 = u64::MAX;
    let mut ids = Vec::new();
    loop {
        let mut some = [0_u64; 512];
        let request = MountRequest::new(LSMT_ROOT, ids.last().copied().unwrap_or(0));
        // SAFETY: the kernel reads a request of the size that it names, and writes at most as many
        // ids as it is told that there is room for.
        let count = unsafe {
            libc::syscall(SYS_LISTMOUNT, &raw const request, some.as_mut_ptr(), some.len(), 0)
        };
        let count = usize::try_from(Errno::result(count)?).unwrap_or(0);
        ids.extend(&some[..count]);
        if count < some.len() {
            return Ok(ids);
        }
    }
}

/// A mount, as a `struct statmount` with its strings: `statmount(2)`.
pub fn statmount(id: u64, mask: u64) -> nix::Result<Vec<u8>> {
    let request = MountRequest::new(id, mask);
    let mut bytes = vec![0_u8; 4096];
    loop {
        // SAFETY: the kernel reads a request of the size that it names, and writes at most as many
        // bytes as it is told that there is room for.
        let result = unsafe {
            libc::syscall(SYS_STATMOUNT, &raw const request, bytes.as_mut_ptr(), bytes.len(), 0)
        };
        match Errno::result(result) {
            Err(Errno::EOVERFLOW) if bytes.len() < 1 << 20 => bytes.resize(bytes.len() * 2, 0),
            result => return result.map(|_| bytes),
        }
    }
}

/// The same on every architecture that is younger than they are; libc does not name them yet.
const SYS_STATMOUNT: libc::c_long = 457;
const SYS_LISTMOUNT: libc::c_long = 458;

/// The user or PID namespace that one is in: `NS_GET_PARENT`, `ioctl_nsfs(2)`.
pub fn parent(namespace: impl AsFd) -> nix::Result<OwnedFd> {
    const NS_GET_PARENT: Ioctl = 0xb702;
    descriptor(namespace, NS_GET_PARENT)
}

/// The user namespace that another namespace belongs to: `NS_GET_USERNS`.
pub fn owner(namespace: impl AsFd) -> nix::Result<OwnedFd> {
    const NS_GET_USERNS: Ioctl = 0xb701;
    descriptor(namespace, NS_GET_USERNS)
}
