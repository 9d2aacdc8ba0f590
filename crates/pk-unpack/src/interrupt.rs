//! Being interrupted: a thread waits for the signals that end a run, and cleans up.
//!
//! A handler may do next to nothing (`signal-safety(7)`); a thread in `sigwait(3)` may do
//! everything.

use crate::partial::{self, Place};
use nix::sys::signal::{SigSet, Signal};
use pk::{Attempt, Result};
use std::sync::PoisonError;
use std::{fs, process, thread};

/// From now on SIGINT, SIGTERM and SIGHUP remove the partial directory at `place`, and end the
/// process with 128+n. Those that are ignored, as `nohup` and a shell's `&` have it, stay so.
///
/// To be called before any other thread is there: a thread starts with its maker's signal mask.
pub fn watch(place: &Place) -> Result<()> {
    let ignored = ignored();
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        if ignored >> (signal as i32 - 1) & 1 == 0 {
            signals.add(signal);
        }
    }
    signals.thread_block().attempt("pthread_sigmask(SIG_BLOCK)")?;
    let place = Place::clone(place);
    thread::Builder::new()
        .spawn(move || {
            let Ok(signal) = signals.wait() else { return };
            // What the main thread does meanwhile fails soon, for want of its directories. It
            // then waits for this lock, which ends with the process.
            let mut held = place.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = partial::remove_at(&mut held);
            process::exit(128 + signal as i32);
        })
        .map(drop)
        .attempt("clone(CLONE_THREAD)")
}

/// The set of ignored signals, a bit for each. `proc_pid_status(5)`.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
