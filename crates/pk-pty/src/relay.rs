//! What is typed goes to PROG's terminal, what PROG's terminal shows goes to standard output.

use pk::{Attempt, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read, write};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{SpecialCodeIndex, tcgetattr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A pipe that is ready for writing takes this many bytes without making the writer wait: `pipe(7)`.
const PIPE_BUF: usize = 4096;

/// Bytes on their way: read only when all that was read before is written.
struct Flow {
    bytes: [u8; PIPE_BUF],
    written: usize,
    read: usize,
    last: u8,
    ended: bool,
}

/// Both ways. Standard input and output are shared with the caller and therefore never made
/// non-blocking; they are touched only when they are ready.
pub struct Relay {
    master: OwnedFd,
    typed: Flow,
    shown: Flow,
}

impl Relay {
    pub fn new(master: OwnedFd) -> Result<Self> {
        let flags = fcntl_getfl(&master)? | OFlags::NONBLOCK;
        fcntl_setfl(&master, flags).attempt("fcntl(F_SETFL, O_NONBLOCK)")?;
        Ok(Self { master, typed: Flow::new(), shown: Flow::new() })
    }

    pub fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// What has to become ready for something to be carried. What is not waited for is left out:
    /// poll tells of a hang-up also where it was asked for nothing.
    pub fn waits_for(&self) -> Vec<PollFd<'_>> {
        let events = |read, write| {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, read);
            events.set(PollFlags::OUT, write);
            events
        };
        let (typed, shown) = (&self.typed, &self.shown);
        let all = [
            (stdin(), events(typed.wants_to_read() && !shown.ended, false)),
            (self.master(), events(shown.wants_to_read(), typed.wants_to_write() && !shown.ended)),
            (stdout(), events(false, shown.wants_to_write())),
        ];
        let waits = all.into_iter().filter(|(_, events)| !events.is_empty());
        waits.map(|(descriptor, events)| PollFd::from_borrowed_fd(descriptor, events)).collect()
    }

    /// Carries what can be carried over the descriptors that are `ready`.
    pub fn carry(&mut self, ready: &[RawFd]) {
        let is_ready = |descriptor: BorrowedFd| ready.contains(&descriptor.as_raw_fd());
        if is_ready(stdin()) && !self.typed.fill(stdin()) && self.typed.ended {
            self.typed.bytes[..2].fill(end_of_file(&self.master));
            // After an unfinished line the first one only ends the line.
            self.typed.read = if self.typed.last == b'\n' { 1 } else { 2 };
        }
        if is_ready(stdout()) {
            self.shown.flush(stdout());
        }
        // This one never makes anybody wait.
        if is_ready(self.master.as_fd()) {
            if self.typed.wants_to_write() {
                self.typed.flush(self.master.as_fd());
            }
            if self.shown.wants_to_read() {
                self.shown.fill(self.master.as_fd());
            }
        }
    }

    /// Shows what is left, once nobody shows anything more.
    pub fn drain(&mut self) {
        loop {
            while self.shown.wants_to_write() {
                self.shown.flush(stdout());
            }
            if self.shown.ended || !self.shown.fill(self.master.as_fd()) {
                return;
            }
        }
    }
}

/// The character that ends a terminal's input: Ctrl-D, unless somebody changed it.
fn end_of_file(terminal: impl AsFd) -> u8 {
    tcgetattr(terminal).map_or(4, |mode| mode.special_codes[SpecialCodeIndex::VEOF])
}

impl Flow {
    fn new() -> Self {
        Self { bytes: [0; PIPE_BUF], written: 0, read: 0, last: b'\n', ended: false }
    }

    fn wants_to_read(&self) -> bool {
        !self.ended && !self.wants_to_write()
    }

    fn wants_to_write(&self) -> bool {
        self.written < self.read
    }

    /// Reads once. Whether there was anything; if not, this may be the end.
    fn fill(&mut self, from: BorrowedFd) -> bool {
        (self.written, self.read) = (0, 0);
        match read(from, &mut self.bytes) {
            Ok(length @ 1..) => {
                self.read = length;
                self.last = self.bytes[length - 1];
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // EIO is a terminal that was hung up, or whose other side nobody has open.
            Ok(_) | Err(_) => self.ended = true,
        }
        self.read > 0
    }

    /// Writes once. What nobody can be shown any more is dropped, and read on all the same: PROG is
    /// ended by the SIGPIPE that this process gets and forwards, or by its own end.
    fn flush(&mut self, to: BorrowedFd) {
        match write(to, &self.bytes[self.written..self.read]) {
            Ok(length) => self.written += length,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.written = self.read,
        }
    }
}
