//! Limits: a bomb is stopped while it unpacks, not when the disk is full.

use pk::{Error, Result};
use std::str::FromStr;

/// Bytes: `64M`, `1.5g`. The units are powers of 1024, as Docker's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size(pub u64);

/// What may still be written.
#[derive(Clone, Debug)]
pub struct Limits {
    bytes: Limit,
    entries: Limit,
}

#[derive(Clone, Debug)]
struct Limit {
    option: &'static str,
    most: u64,
    left: u64,
}

impl Limits {
    /// At most so many bytes and so many entries; as many as there are if not said.
    pub fn new(bytes: Option<Size>, entries: Option<u64>) -> Self {
        let limit = |option, most| Limit { option, most, left: most };
        Self {
            bytes: limit("--max-bytes", bytes.map_or(u64::MAX, |size| size.0)),
            entries: limit("--max-entries", entries.unwrap_or(u64::MAX)),
        }
    }

    /// Counts bytes that are to be written: contents, without holes, and extended attributes.
    pub fn bytes(&mut self, count: u64) -> Result<()> {
        self.bytes.take(count)
    }

    /// Counts an entry, or a directory that is made for want of one.
    pub fn entry(&mut self) -> Result<()> {
        self.entries.take(1)
    }
}

impl Limit {
    fn take(&mut self, count: u64) -> Result<()> {
        let left = self.left.checked_sub(count);
        let more = || Error::new("", format!("more than {} {}", self.option, self.most));
        self.left = left.ok_or_else(more)?;
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "is no size: a number, then b, k, m, g or t";
        let bytes = pk::bytes(text).ok_or(FORM)?;
        u64::try_from(bytes).map(Self).map_err(|_| "is more than can be counted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            ("0", Some(0)),
            ("1", Some(1)),
            ("1K", Some(1024)),
            ("1.5g", Some(3 << 29)),
            ("64MiB", Some(64 << 20)),
            ("2t", Some(2 << 40)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551615k", None),
            ("12Q", None),
            ("", None),
            (".5M", None),
            ("1.M", None),
            ("-1", None),
            ("+1", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse().ok(), expected.map(Size), "{text}");
        }
    }

    #[test]
    fn what_is_left_is_counted() {
        let mut limits = Limits::new(Some(Size(10)), Some(1));
        assert!(limits.bytes(4).is_ok() && limits.bytes(6).is_ok() && limits.bytes(1).is_err());
        assert!(limits.entry().is_ok() && limits.entry().is_err());
        assert!(Limits::default().bytes(u64::MAX).is_ok());
    }
}
