//! What a member of a tar says of itself besides its contents.

use crate::pax::{self, Records, invalid};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode;
use rustix::fs::Timespec;
use std::collections::{BTreeMap, HashMap};
use std::io;
use tar::Header;

/// Mode, owner, time and extended attributes.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Left as it comes where nothing is known.
    pub mtime: Option<Timespec>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// libarchive leaves out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Metadata {
    /// Reads it from a header and the records that go with it.
    pub fn of(header: &Header, records: &Records) -> io::Result<Self> {
        let old = header.as_old();
        let id = |key: &str, field: &[u8]| -> io::Result<u32> {
            let id = match records.number(key)? {
                Some(id) => u32::try_from(id).ok(),
                None => u32::try_from(number(field)?).ok(),
            };
            // The id -1 means "leave it" to chown(2).
            id.filter(|&id| id != u32::MAX).ok_or_else(|| invalid(format!("{key} does not fit")))
        };
        let mtime = match records.get(b"mtime") {
            Some(time) => pax::time(time)?,
            None => Timespec { tv_sec: number(&old.mtime)?, tv_nsec: 0 },
        };
        let mode = u32::try_from(number(&old.mode)? & 0o7777).unwrap_or_default();
        Ok(Self {
            mode,
            uid: id("uid", &old.uid)?,
            gid: id("gid", &old.gid)?,
            mtime: Some(mtime),
            xattrs: xattrs(records)?,
        })
    }
}

/// The extended attributes in records. star and GNU tar write them as they are; libarchive in
/// base64 under a percent-encoded name, and once more as they are, but under that name too.
fn xattrs(records: &Records) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let (mut xattrs, mut encoded) = (BTreeMap::new(), HashMap::new());
    for (name, value) in with_prefix(records, b"LIBARCHIVE.xattr.") {
        let value = BASE64.decode(value).map_err(|_| invalid("malformed base64"))?;
        encoded.insert(name, value.clone());
        xattrs.insert(percent_decode(name).collect(), value);
    }
    for (name, value) in with_prefix(records, b"SCHILY.xattr.") {
        let other = encoded.get(name).or_else(|| xattrs.get(name));
        if other.is_some_and(|other| other != value) {
            let name = String::from_utf8_lossy(name);
            return Err(invalid(format!("two values of the extended attribute {name:?}")));
        }
        if other.is_none() {
            xattrs.insert(name.to_vec(), value.to_vec());
        }
    }
    if xattrs.keys().any(|name| name.is_empty() || name.contains(&0)) {
        return Err(invalid("an extended attribute without a name"));
    }
    Ok(xattrs.into_iter().collect())
}

fn with_prefix<'a>(
    records: &'a Records,
    prefix: &[u8],
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    records.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value)))
}

/// A number in a header: octal digits, or where the first bit is set, binary and perhaps negative.
/// A field that was left blank is 0. GNU tar's manual, "Extensions to tar".
pub fn number(field: &[u8]) -> io::Result<i64> {
    if field[0] & 0x80 == 0 {
        let text = field.split(|&byte| byte == 0).next().unwrap_or_default().trim_ascii();
        let text = if text.is_empty() { b"0" } else { text };
        let digits = text.iter().all(u8::is_ascii_digit);
        let text = str::from_utf8(text).ok().filter(|_| digits);
        let number = text.and_then(|text| i64::from_str_radix(text, 8).ok());
        return number.ok_or_else(|| invalid("a number in the header is malformed"));
    }
    let first = if field[0] & 0x40 == 0 { field[0] & 0x3f } else { field[0] };
    let mut number = i128::from(first.cast_signed());
    for &byte in &field[1..] {
        number = number << 8 | i128::from(byte);
    }
    i64::try_from(number).map_err(|_| invalid("a number in the header does not fit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        let table: [(&[u8], Option<i64>); 14] = [
            (b"0000644\0", Some(0o644)),
            (b"    644 ", Some(0o644)),
            (b"77777777", Some(0o7777_7777)),
            (b"644\0\0zzz", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"\x80\0\0\0\xb2\xd0\x5e\x01", Some(3_000_000_001)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"0000648\0", None),
            (b"+000644\0", None),
            (b"0x1\0\0\0\0\0", None),
        ];
        for (field, expected) in table {
            assert_eq!(number(field).ok(), expected, "{field:?}");
        }
    }

    #[test]
    fn attributes_come_in_two_ways() {
        type Xattrs = &'static [(&'static [u8], &'static [u8])];
        let table: [(&[u8], Option<Xattrs>); 6] = [
            (b"26 SCHILY.xattr.user.a=\0=\n", Some(&[(b"user.a", b"\0=")])),
            (b"34 LIBARCHIVE.xattr.user.%C3=AAEC\n", Some(&[(b"user.\xc3", b"\0\x01\x02")])),
            (
                b"25 SCHILY.xattr.user.a=x\n30 LIBARCHIVE.xattr.user.a=eA\n",
                Some(&[(b"user.a", b"x")]),
            ),
            (
                b"27 SCHILY.xattr.user.%25=x\n32 LIBARCHIVE.xattr.user.%25=eA\n",
                Some(&[(b"user.%", b"x")]),
            ),
            (b"25 SCHILY.xattr.user.a=y\n30 LIBARCHIVE.xattr.user.a=eA\n", None),
            (b"31 LIBARCHIVE.xattr.user.a=e!!\n", None),
        ];
        for (records, expected) in table {
            let found = xattrs(&Records::parse(records).unwrap()).ok();
            let expected = expected.map(|expected| {
                expected.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
            });
            assert_eq!(found, expected, "{records:?}");
        }
    }
}
