//! The one call that has no safe wrapper.
#![allow(unsafe_code)]

use libc::{SECCOMP_SET_MODE_FILTER, SYS_seccomp, sock_filter, sock_fprog};
use nix::errno::Errno;

/// `seccomp(2)`: from now on every call of this process and of what it starts goes through `filter`.
pub fn load_filter(filter: &[sock_filter], flags: u32) -> nix::Result<()> {
    let length = u16::try_from(filter.len()).map_err(|_| Errno::E2BIG)?;
    let program = sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel reads `program` and the `length` instructions that it points to, which are
    // borrowed for the whole call, and checks them; it writes nothing.
    let result =
        unsafe { libc::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    Errno::result(result).map(drop)
}
