//! User namespaces, as far as several tools have to do with them. `user_namespaces(7)`.

use nix::errno::Errno;
use nix::unistd::geteuid;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

/// The way out for an ordinary user who was refused what only root of a namespace may do.
#[must_use]
pub fn not_root(errno: Option<Errno>) -> Option<String> {
    let refused = errno == Some(Errno::EPERM) && !geteuid().is_root();
    refused.then(|| "you are not root: put pk-ns --user --map-root --mount in front".to_owned())
}

/// Whether this is the user namespace that the machine booted with, where root may make devices
/// and every id exists.
#[must_use]
pub fn in_initial_user_namespace() -> bool {
    // `USER_NS_INIT_INO` of Linux's `linux/nsfs.h`. Its map tells less: others may have the same.
    fs::metadata("/proc/self/ns/user").is_ok_and(|namespace| namespace.ino() == 0xefff_fffd)
}

/// A line of an id map: `count` ids from `inner` on are, outside, those from `outer` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IdRange {
    /// The first id inside.
    pub inner: u32,
    /// What that one is outside.
    pub outer: u32,
    /// How many follow each other, itself included.
    pub count: u32,
}

impl IdRange {
    /// A range of at least one id that does not run past the last.
    #[must_use]
    pub fn new(inner: u32, outer: u32, count: u32) -> Option<Self> {
        let fits = |first: u32| count > 0 && first.checked_add(count).is_some();
        (fits(inner) && fits(outer)).then_some(Self { inner, outer, count })
    }

    /// The ranges of a `/proc/PID/uid_map`.
    #[must_use]
    pub fn of_map(text: &[u8]) -> Vec<Self> {
        let text = String::from_utf8_lossy(text);
        let range = |line: &str| {
            let numbers: Vec<u32> =
                line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let &[inner, outer, count] = &numbers[..] else { return None };
            Self::new(inner, outer, count)
        };
        text.lines().filter_map(range).collect()
    }

    /// Whether there is such an id inside.
    #[must_use]
    pub fn has_inner(&self, id: u32) -> bool {
        id.checked_sub(self.inner).is_some_and(|offset| offset < self.count)
    }

    /// What an id of outside is inside.
    #[must_use]
    pub fn inner_of(&self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.outer).filter(|&offset| offset < self.count)?;
        Some(self.inner + offset)
    }
}

/// As `/proc/PID/uid_map` takes it.
impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} {}", self.inner, self.outer, self.count)
    }
}

/// `INNER:OUTER:COUNT`.
impl FromStr for IdRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[inner, outer, count]) => {
                Self::new(inner, outer, count).ok_or("runs past the last id")
            }
            _ => Err("is not INNER:OUTER:COUNT, three numbers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_three_numbers_that_fit() {
        let table = [
            ("0:100000:65536", Some("0 100000 65536")),
            ("0:0:4294967295", Some("0 0 4294967295")),
            ("0:0:0", None),
            ("1:0:4294967295", None),
            ("0:1000", None),
            ("0:1000:1:1", None),
            ("-1:0:1", None),
            ("a:b:c", None),
            ("", None),
        ];
        for (text, expected) in table {
            let range = text.parse::<IdRange>().ok().map(|range| range.to_string());
            assert_eq!(range.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_range_leads_from_one_side_to_the_other() {
        let map = IdRange::of_map(
            b"         0       1000          1\n         1     100000      65536\nbad\n",
        );
        let has = |id| map.iter().any(|range| range.has_inner(id));
        assert_eq!([0, 1, 65_536, 65_537].map(has), [true, true, true, false]);
        let inner = |id| map.iter().find_map(|range| range.inner_of(id));
        assert_eq!([1000, 100_000, 165_535].map(inner), [Some(0), Some(1), Some(65_536)]);
        assert_eq!([999, 1001, 165_536].map(inner), [None; 3]);
    }
}
