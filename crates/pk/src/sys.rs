//! The few calls that have no safe wrapper.
#![allow(unsafe_code)]

use libc::{c_char, c_int, c_void};
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use nix::sys::signal::{self, SigHandler, SigSet, Signal};
use nix::unistd::{ForkResult, Pid};
use std::ffi::{CStr, CString};
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::null;

/// Whether this program gained privileges by being executed: setuid, setgid, file capabilities.
/// `getauxval(3)`, `AT_SECURE`.
pub fn is_secure_execution() -> bool {
    // SAFETY: getauxval only reads a table that the kernel filled before main.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// `fork(2)`.
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: the tools of the chain have a single thread, so that no lock can be held by another
    // one at this moment, and the child may allocate.
    unsafe { nix::unistd::fork() }
}

/// Ends this process and does nothing else: `_exit(2)`.
pub fn end(status: c_int) -> ! {
    // SAFETY: _exit takes a number and touches no memory.
    unsafe { libc::_exit(status) }
}

/// `vfork(2)`, as `posix_spawn(3)` does it: the child borrows the memory of this process, which
/// stands still until `child` has become another program, or has returned. A fork copies the tables
/// of that memory, and then each page that one of the two writes to.
///
/// A child that is killed leaves half of what it was writing: it must not use the heap.
pub fn vfork<F: Fn()>(child: &F) -> nix::Result<Pid> {
    extern "C" fn run<F: Fn()>(child: *mut c_void) -> c_int {
        // SAFETY: it is the reference below, whose owner stands still.
        let child = unsafe { &*child.cast::<F>() };
        child();
        0
    }
    // The page at its end stops a stack that grows too large.
    let (size, guard) = (NonZero::new(256 << 10).expect("a number"), 4 << 10);
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let private = MapFlags::MAP_PRIVATE | MapFlags::MAP_STACK;
    let child: *mut c_void = (&raw const *child).cast_mut().cast();
    // SAFETY: the stack is new, and nothing else lies in it. Until the child has executed a program
    // or ended, the only thread of this process does not run, so that nothing is used by both at a
    // time; and all that the child writes to outlasts it.
    unsafe {
        let stack = mmap_anonymous(None, size, access, private)?;
        mprotect(stack, guard, ProtFlags::PROT_NONE)?;
        let top = stack.byte_add(size.get()).as_ptr();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let pid = Errno::result(libc::clone(run::<F>, top, flags, child));
        munmap(stack, size.get())?;
        pid.map(Pid::from_raw)
    }
}

/// Words as `execve(2)` takes them.
pub struct Strings {
    pointers: Vec<*const c_char>,
    /// What they point to.
    _words: Vec<CString>,
}

impl Strings {
    pub fn new(words: Vec<CString>) -> Self {
        let pointers = words.iter().map(|word| word.as_ptr()).chain([null()]).collect();
        Self { pointers, _words: words }
    }
}

/// `execve(2)`; returns only the error. Unlike nix's it does not use the heap.
pub fn execve(file: &CStr, arguments: &Strings, environment: &Strings) -> Errno {
    let (arguments, environment) = (arguments.pointers.as_ptr(), environment.pointers.as_ptr());
    // SAFETY: a string, and two lists of strings that end with a null, which all outlast the call.
    unsafe { libc::execve(file.as_ptr(), arguments, environment) };
    Errno::last()
}

/// The same for the program behind a descriptor: `execveat(2)`.
pub fn execveat(program: impl AsFd, arguments: &Strings, environment: &Strings) -> Errno {
    let (arguments, environment) = (arguments.pointers.as_ptr(), environment.pointers.as_ptr());
    let (program, flags) = (program.as_fd().as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: as above.
    unsafe {
        libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), arguments, environment, flags)
    };
    Errno::last()
}

/// `kill(2)` with any signal number: nix's `Signal` has no real-time signals.
pub fn kill(pid: Pid, signal: i32) -> nix::Result<()> {
    // SAFETY: kill takes two numbers and touches no memory.
    Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }).map(drop)
}

/// Whether a signal that is blocked waits for this process: `sigpending(2)`.
pub fn is_pending(signal: Signal) -> nix::Result<bool> {
    let mut set = SigSet::empty().as_ref().to_owned();
    // SAFETY: sigpending writes a whole set to where one is.
    Errno::result(unsafe { libc::sigpending(&raw mut set) })?;
    // SAFETY: sigpending has filled the set.
    Ok(unsafe { SigSet::from_sigset_t_unchecked(set) }.contains(signal))
}

/// A descriptor that was handed to this process by number.
pub fn descriptor(number: i32) -> nix::Result<BorrowedFd<'static>> {
    // SAFETY: F_GETFD takes a number and touches no memory. The descriptor was open before main
    // and nothing in the tools closes what it did not open, so it lives as long as the process.
    unsafe {
        Errno::result(libc::fcntl(number, libc::F_GETFD))?;
        Ok(BorrowedFd::borrow_raw(number))
    }
}

/// Sets SIGCHLD to its default action and tells whether it was ignored: a parent that ignores it
/// is never told how its child ended (`wait(2)`, NOTES).
pub fn stop_ignoring_sigchld() -> nix::Result<bool> {
    // SAFETY: the default action runs no code of ours.
    let before = unsafe { signal::signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    Ok(matches!(before, SigHandler::SigIgn))
}

/// Ignores SIGCHLD again, for a child that was to find it so.
pub fn ignore_sigchld() -> nix::Result<()> {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) }.map(drop)
}

/// Ignores SIGPIPE, for a process that will end without becoming another program.
pub fn ignore_sigpipe() -> nix::Result<()> {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { signal::signal(Signal::SIGPIPE, SigHandler::SigIgn) }.map(drop)
}

/// Says whether PROG gets a descriptor that was handed to this process.
pub fn set_close_on_exec(number: i32, close: bool) -> nix::Result<()> {
    let flags = if close { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: F_SETFD takes numbers and touches no memory.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, flags) }).map(drop)
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

/// The ids of all mounts below the root of this process, and of that one: `listmount(2)`, since
/// Linux 6.8.
///
/// # Errors
/// ENOSYS before that.
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

/// A mount by its unique id, as a `struct statmount` with its strings: `statmount(2)`, since Linux
/// 6.8. `mask` says what is asked for.
///
/// # Errors
/// ENOSYS before that; EPERM for a mount that is not below the root of this process.
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

/// How often the heap was used, by thread: by whoever borrows its memory, too.
#[cfg(test)]
pub mod heap {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local!(static USES: Cell<usize> = const { Cell::new(0) });

    pub fn uses() -> usize {
        USES.get()
    }

    struct Counting;

    #[global_allocator]
    static COUNTING: Counting = Counting;

    // SAFETY: all is left to the system's.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            USES.set(USES.get() + 1);
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            USES.set(USES.get() + 1);
            unsafe { System.dealloc(pointer, layout) }
        }
    }
}
