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
