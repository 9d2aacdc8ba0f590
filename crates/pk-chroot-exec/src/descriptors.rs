//! Descriptors: one that was open on the host's root is a way out of any other.
#![allow(unsafe_code)]

use nix::errno::Errno;
use pk::{Error, Result, Steps};
use std::os::fd::BorrowedFd;

/// Refuses to keep what is not there.
pub fn check_open(kept: &[u32]) -> Result<()> {
    for &number in kept {
        // SAFETY: F_GETFD takes numbers and touches no memory.
        let flags = unsafe { libc::fcntl(number.cast_signed(), libc::F_GETFD) };
        Errno::result(flags)
            .map_err(|_| Error::usage(format!("--keep-fd {number}"), "is no open descriptor"))?;
    }
    Ok(())
}

/// A descriptor that was handed to this process by number.
pub fn inherited(number: i32) -> nix::Result<BorrowedFd<'static>> {
    // SAFETY: F_GETFD takes numbers and touches no memory. Nothing here closes what it did not
    // open, so that the descriptor lives as long as the process.
    unsafe {
        Errno::result(libc::fcntl(number, libc::F_GETFD))?;
        Ok(BorrowedFd::borrow_raw(number))
    }
}

/// Closes all above 2 but `kept`, at the moment of the exec: `close_range(2)`.
pub fn add_close(kept: Vec<u32>, steps: &mut Steps) {
    let ranges = gaps(kept);
    let call = |(first, last): &(u32, u32)| match *last {
        u32::MAX => format!("close_range({first}, ~0U, CLOSE_RANGE_CLOEXEC)"),
        last => format!("close_range({first}, {last}, CLOSE_RANGE_CLOEXEC)"),
    };
    steps.add(
        "a descriptor that is open on the host leads back to it",
        ranges.iter().map(call).collect::<Vec<_>>().join(", "),
        shell(&ranges),
        move |()| ranges.into_iter().try_for_each(close_on_exec),
    );
}

/// A shell's own words: it names descriptors by one digit, so no others come from it.
fn shell(ranges: &[(u32, u32)]) -> String {
    let closed = |number: &u32| ranges.iter().any(|(first, last)| (first..=last).contains(&number));
    let closed: Vec<String> = (3..10).filter(closed).map(|number| format!("{number}>&-")).collect();
    if closed.is_empty() { ":".to_owned() } else { format!("exec {}", closed.join(" ")) }
}

/// The ranges above 2 between the numbers that are kept.
fn gaps(mut kept: Vec<u32>) -> Vec<(u32, u32)> {
    kept.retain(|&number| number > 2);
    kept.sort_unstable();
    let mut gaps = Vec::new();
    let mut first = 3;
    for number in kept {
        if number > first {
            gaps.push((first, number - 1));
        }
        first = number + 1;
    }
    gaps.push((first, u32::MAX));
    gaps
}

fn close_on_exec((first, last): (u32, u32)) -> nix::Result<()> {
    // SAFETY: the call takes numbers; with this flag it closes nothing before the exec, so that no
    // descriptor that somebody still owns is closed under them.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_left_out() {
        let end = u32::MAX;
        assert_eq!(gaps(vec![]), [(3, end)]);
        assert_eq!(gaps(vec![0, 2]), [(3, end)]);
        assert_eq!(gaps(vec![3]), [(4, end)]);
        assert_eq!(gaps(vec![7, 4]), [(3, 3), (5, 6), (8, end)]);
        assert_eq!(gaps(vec![5, 5, 6]), [(3, 4), (7, end)]);
        assert_eq!(shell(&gaps(vec![7, 4])), "exec 3>&- 5>&- 6>&- 8>&- 9>&-");
    }
}
