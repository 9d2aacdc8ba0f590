//! The calls that have no safe wrapper.
#![allow(unsafe_code)]

use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A namespace of the process that a pidfd refers to: `PIDFD_GET_*_NAMESPACE`, `ioctl_pidfd(2)`.
pub fn namespace(pidfd: impl AsFd, request: u32) -> nix::Result<OwnedFd> {
    const PIDFS_IOCTL_MAGIC: u32 = 0xff << 8;
    descriptor(pidfd, PIDFS_IOCTL_MAGIC | request)
}

fn descriptor(file: impl AsFd, request: u32) -> nix::Result<OwnedFd> {
    // SAFETY: these requests take no argument and return a new descriptor, which is ours to own.
    unsafe {
        let number = libc::ioctl(file.as_fd().as_raw_fd(), request as _, 0);
        Ok(OwnedFd::from_raw_fd(Errno::result(number)?))
    }
}

/// A descriptor that this process was started with: those do not close on exec.
pub fn inherited(number: u32) -> Option<BorrowedFd<'static>> {
    let number = i32::try_from(number).ok()?;
    // SAFETY: F_GETFD takes a number and touches no memory. Nothing here closes what it did not
    // open, so the descriptor lives as long as the process.
    unsafe {
        let flags = libc::fcntl(number, libc::F_GETFD);
        (flags >= 0 && flags & libc::FD_CLOEXEC == 0).then(|| BorrowedFd::borrow_raw(number))
    }
}
