//! The calls that have no safe wrapper.
#![allow(unsafe_code)]

use nix::errno::Errno;
use rustix::mount::MountAttrFlags;
use std::os::fd::{AsFd, AsRawFd};

/// Sets flags on the mount that `mount` is the root of, and on those below it if `recursive`.
/// `mount_setattr(2)`.
pub fn mount_setattr(mount: impl AsFd, set: MountAttrFlags, recursive: bool) -> nix::Result<()> {
    let attr_set = set.bits().into();
    setattr(mount, libc::mount_attr { attr_set, ..NOTHING }, recursive)
}

/// Sets how mounts travel to and from it: `MS_PRIVATE`, `MS_SLAVE` or `MS_SHARED`.
pub fn set_propagation(mount: impl AsFd, propagation: u64, recursive: bool) -> nix::Result<()> {
    setattr(mount, libc::mount_attr { propagation, ..NOTHING }, recursive)
}

/// Lets files belong to whom the maps of a user namespace say. The mount has to be detached still.
pub fn set_idmap(mount: impl AsFd, user_namespace: impl AsFd, recursive: bool) -> nix::Result<()> {
    let number = user_namespace.as_fd().as_raw_fd();
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        userns_fd: u64::from(number.cast_unsigned()),
        ..NOTHING
    };
    setattr(mount, attributes, recursive)
}

const NOTHING: libc::mount_attr =
    libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: 0, userns_fd: 0 };

fn setattr(mount: impl AsFd, attributes: libc::mount_attr, recursive: bool) -> nix::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, and the kernel reads as many bytes of `attributes` as
    // it is told that there are.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    Errno::result(result).map(drop)
}

/// The user namespace that owns another namespace: `NS_GET_USERNS` of `ioctl_nsfs(2)`.
pub fn owner(namespace: impl AsFd) -> nix::Result<std::fs::File> {
    use std::os::fd::FromRawFd;
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: NS_GET_USERNS takes no argument and returns a new descriptor, which is ours to own.
    unsafe {
        let descriptor = libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_USERNS as _);
        Ok(std::fs::File::from_raw_fd(Errno::result(descriptor)?))
    }
}
