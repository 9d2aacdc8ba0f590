//! The mounts without `/proc`: `listmount(2)` and `statmount(2)`, since Linux 6.8; the options of
//! file systems since 6.11 and their sources since 6.13.

use crate::answer::Unknown;
use crate::mountinfo::Mount;
use pk::{listmount, statmount, unescaped};
use std::fmt::Write;

/// What is asked for: `STATMOUNT_*` of Linux's `linux/mount.h`. What a kernel does not know it
/// leaves out.
const SB_BASIC: u64 = 1;
const MNT_BASIC: u64 = 2;
const MNT_ROOT: u64 = 8;
const MNT_POINT: u64 = 16;
const FS_TYPE: u64 = 32;
const MNT_OPTS: u64 = 128;
const FS_SUBTYPE: u64 = 256;
const SB_SOURCE: u64 = 512;
const ALL: u64 =
    SB_BASIC | MNT_BASIC | MNT_ROOT | MNT_POINT | FS_TYPE | MNT_OPTS | FS_SUBTYPE | SB_SOURCE;

/// The mounts of this process, as `mountinfo` would tell them.
pub fn table() -> Result<Vec<Mount>, Unknown> {
    let ids = listmount()?;
    // One may be gone by now.
    Ok(ids
        .into_iter()
        .filter_map(|id| statmount(id, ALL).ok())
        .filter_map(|bytes| mount(&bytes))
        .collect())
}

/// A `struct statmount`: numbers, and offsets of strings behind it.
fn mount(bytes: &[u8]) -> Option<Mount> {
    const STRINGS: usize = 512;
    let long = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let mask = long(8)?;
    let text = |flag: u64, at: usize| -> Option<Vec<u8>> {
        let start = STRINGS + usize::try_from(word(at)?).ok()?;
        let text = bytes.get(start..).filter(|_| mask & flag != 0)?;
        Some(text.split(|&byte| byte == 0).next()?.to_vec())
    };
    let mut filesystem = text(FS_TYPE, 36)?;
    if let Some(subtype) = text(FS_SUBTYPE, 120) {
        filesystem.push(b'.');
        filesystem.extend(subtype);
    }
    let mut options = super_flags(word(32)?).into_bytes();
    if let Some(more) = text(MNT_OPTS, 4).filter(|more| !more.is_empty()) {
        options.push(b',');
        options.extend(unescaped(&more));
    }
    Some(Mount {
        id: word(56)?.into(),
        parent: word(60)?.into(),
        root: text(MNT_ROOT, 104)?,
        point: text(MNT_POINT, 108)?,
        flags: flags(long(64)?).into_bytes(),
        propagation: propagation(long(72)?),
        filesystem,
        source: text(SB_SOURCE, 124).unwrap_or_default(),
        options,
    })
}

/// `MOUNT_ATTR_*` in the words and the order of `mountinfo`.
fn flags(bits: u64) -> String {
    const ACCESS_TIMES: u64 = 0x70;
    let mut text = if bits & 1 == 0 { "rw" } else { "ro" }.to_owned();
    let words = [
        (bits & 0x2 != 0, "nosuid"),
        (bits & 0x4 != 0, "nodev"),
        (bits & 0x8 != 0, "noexec"),
        (bits & ACCESS_TIMES == 0x10, "noatime"),
        (bits & 0x80 != 0, "nodiratime"),
        (bits & ACCESS_TIMES == 0, "relatime"),
        (bits & 0x20_0000 != 0, "nosymfollow"),
        (bits & 0x10_0000 != 0, "idmapped"),
    ];
    for (_, word) in words.into_iter().filter(|(is_set, _)| *is_set) {
        let _ = write!(text, ",{word}");
    }
    text
}

/// `SB_*`, likewise.
fn super_flags(bits: u32) -> String {
    let mut text = if bits & 1 == 0 { "rw" } else { "ro" }.to_owned();
    for (flag, word) in [(0x10, ",sync"), (0x80, ",dirsync"), (1 << 25, ",lazytime")] {
        text += if bits & flag == 0 { "" } else { word };
    }
    text
}

/// `MS_*`. There are no numbers of peer groups in what is shown.
fn propagation(bits: u64) -> Vec<Vec<u8>> {
    let tags = [(1 << 20, "shared:0"), (1 << 19, "master:0"), (1 << 17, "unbindable")];
    let set = tags.into_iter().filter(|(flag, _)| bits & flag != 0);
    set.map(|(_, tag)| tag.as_bytes().to_vec()).collect()
}
