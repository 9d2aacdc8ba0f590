//! PAX records: what an extended header says of the member after it. `pax(1)`, "Extended header".

use rustix::fs::Timespec;
use std::collections::{HashMap, HashSet};
use std::io;

/// The records of one extended header, or of several laid over each other, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records(Vec<(Vec<u8>, Vec<u8>)>);

/// Keys that GNU tar's first sparse format repeats for each segment.
pub const LISTS: [&[u8]; 2] = [b"GNU.sparse.offset", b"GNU.sparse.numbytes"];

impl Records {
    /// Reads `LENGTH KEY=VALUE\n` records. The length is what ends a value: it may hold newlines.
    pub fn parse(mut bytes: &[u8]) -> io::Result<Self> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let (record, rest) = split(bytes).ok_or_else(|| invalid("malformed PAX record"))?;
            records.push(record);
            bytes = rest;
        }
        check(&records)?;
        Ok(Self(records))
    }

    /// Lays these over those of a `global` header.
    pub fn over(self, global: &Records) -> Self {
        if global.0.is_empty() {
            return self;
        }
        let keys: HashSet<_> = self.0.iter().map(|(key, _)| key.as_slice()).collect();
        let below = global.0.iter().filter(|(key, _)| !keys.contains(key.as_slice())).cloned();
        let mut records: Vec<_> = below.collect();
        records.extend(self.0);
        Self(records)
    }

    /// Bytes in keys and values.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    /// The value of a key. An empty value takes back what a global header said.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.0.iter().find(|record| record.0 == key);
        found.map(|record| record.1.as_slice()).filter(|value| !value.is_empty())
    }

    /// The value of a key that holds a number.
    pub fn number(&self, key: &str) -> io::Result<Option<u64>> {
        self.get(key.as_bytes()).map(|value| decimal(value, key)).transpose()
    }

    /// All records in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

type Record = (Vec<u8>, Vec<u8>);

fn split(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some(((record[..equals].to_vec(), record[equals + 1..].to_vec()), &bytes[length..]))
}

/// Refuses a key that is there twice with different values: readers differ in which one counts.
fn check(records: &[Record]) -> io::Result<()> {
    let mut known = HashMap::new();
    for (key, value) in records {
        let is_list = LISTS.contains(&key.as_slice());
        if !is_list && known.insert(key, value).is_some_and(|other| other != value) {
            let key = String::from_utf8_lossy(key);
            return Err(invalid(format!("two PAX records {key:?} with different values")));
        }
    }
    Ok(())
}

/// A number as PAX writes it; `what` is named where it is none.
pub fn decimal(value: &[u8], what: &str) -> io::Result<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits);
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| invalid(format!("{what} is not a number")))
}

/// A time as PAX writes it: seconds since 1970, perhaps negative, perhaps with a fraction, of
/// which the kernel keeps nanoseconds.
pub fn time(value: &[u8]) -> io::Result<Timespec> {
    parse_time(value).ok_or_else(|| invalid("mtime is not a time"))
}

fn parse_time(value: &[u8]) -> Option<Timespec> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let text = std::str::from_utf8(digits).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(match (negative, nanoseconds) {
        (false, _) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
        (true, 0) => Timespec { tv_sec: -seconds, tv_nsec: 0 },
        // The nanoseconds count forward from the second before.
        (true, _) => Timespec { tv_sec: -seconds - 1, tv_nsec: 1_000_000_000 - nanoseconds },
    })
}

/// An error about the bytes themselves.
pub fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_ends_a_record() {
        let records = Records::parse(b"16 a=x\n9 path=y\n12 path=etc\n7 uid=\n").unwrap();
        let expected: [(&[u8], Option<&[u8]>); 4] =
            [(b"a", Some(b"x\n9 path=y")), (b"path", Some(b"etc")), (b"uid", None), (b"gid", None)];
        for (key, value) in expected {
            assert_eq!(records.get(key), value);
        }
    }

    #[test]
    fn an_entry_has_the_last_word() {
        let records = |bytes| Records::parse(bytes).unwrap();
        let global = records(b"6 a=1\n6 b=1\n6 c=1\n");
        let laid = records(b"6 b=2\n5 c=\n6 b=2\n").over(&global);
        let expected: [(&[u8], Option<&[u8]>); 3] =
            [(b"a", Some(b"1")), (b"b", Some(b"2")), (b"c", None)];
        for (key, value) in expected {
            assert_eq!(laid.get(key), value);
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        let table: [&[u8]; 9] = [
            b"x",
            b"6 a=b\n6 a=c\n",
            b"6 a=b",
            b"5 a=b\n",
            b"99 a=b\n",
            b"-6 a=b\n",
            b"0 a=b\n",
            b"6 a-b\n",
            b"6 a=b\n6",
        ];
        for bytes in table {
            assert!(Records::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn times_have_fractions_and_may_lie_before_1970() {
        let table = [
            (&b"0"[..], Some((0, 0))),
            (b"12.5", Some((12, 500_000_000))),
            (b"12.1234567899", Some((12, 123_456_789))),
            (b"12.", Some((12, 0))),
            (b"-1", Some((-1, 0))),
            (b"-1.25", Some((-2, 750_000_000))),
            (b"", None),
            (b"-", None),
            (b"1e3", None),
            (b"+5", None),
        ];
        for (value, expected) in table {
            let time = time(value).ok().map(|time| (time.tv_sec, time.tv_nsec));
            assert_eq!(time, expected, "{value:?}");
        }
    }
}
