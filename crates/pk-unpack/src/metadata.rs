//! What a member of a tar says of itself besides its contents.

use crate::pax::{self, Records, invalid};
use rustix::fs::Timespec;
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

impl Metadata {
    /// Reads it from a header and the records that go with it.
    pub fn of(header: &Header, records: &Records) -> io::Result<Self> {
        let old = header.as_old();
        let id = |key: &str, field: &[u8], value| -> io::Result<u32> {
            let id = match records.number(key)? {
                Some(id) => id,
                None => number(field, value)?,
            };
            // The id -1 means "leave it" to chown(2).
            let id = u32::try_from(id).ok().filter(|&id| id != u32::MAX);
            id.ok_or_else(|| invalid(format!("{key} does not fit")))
        };
        let mtime = match records.get(b"mtime") {
            Some(time) => pax::time(time)?,
            // Times before 1970 are two's complement, which the tar crate gives as it is.
            None => {
                Timespec { tv_sec: number(&old.mtime, header.mtime())?.cast_signed(), tv_nsec: 0 }
            }
        };
        let xattrs = records.iter().filter_map(|(key, value)| {
            Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value.to_vec()))
        });
        Ok(Self {
            mode: u32::try_from(number(&old.mode, header.mode().map(u64::from))? & 0o7777)
                .unwrap_or_default(),
            uid: id("uid", &old.uid, header.uid())?,
            gid: id("gid", &old.gid, header.gid())?,
            mtime: Some(mtime),
            xattrs: xattrs.collect(),
        })
    }
}

/// A number in a header, which is 0 where the field was left blank.
pub fn number(field: &[u8], value: io::Result<u64>) -> io::Result<u64> {
    let blank = field.iter().all(|&byte| byte == 0 || byte == b' ');
    if blank { Ok(0) } else { value }
}
