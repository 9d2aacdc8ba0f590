//! `/proc/PID/mountinfo`. `proc_pid_mountinfo(5)`.

use pk::unescaped;

/// One mount, in the kernel's bytes.
#[derive(Debug, Default, PartialEq)]
pub struct Mount {
    pub id: u64,
    pub parent: u64,
    /// What of the file system is mounted.
    pub root: Vec<u8>,
    pub point: Vec<u8>,
    /// The mount's own flags: `rw,nosuid,relatime`.
    pub flags: Vec<u8>,
    /// How it travels: `shared:1`, `master:2`, `unbindable`.
    pub propagation: Vec<Vec<u8>>,
    pub filesystem: Vec<u8>,
    pub source: Vec<u8>,
    /// The options of the file system, `rw` or `ro` first.
    pub options: Vec<u8>,
}

/// The mounts of a `mountinfo`; lines that are none are left out.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(line).collect()
}

/// One line: `31 23 0:28 ROOT POINT FLAGS [TAG...] - TYPE SOURCE OPTIONS`.
fn line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut number = || str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let (root, point) = (unescaped(fields.nth(1)?), unescaped(fields.next()?));
    let flags = fields.next()?.to_vec();
    let tags = fields.by_ref().take_while(|&field| field != b"-");
    let propagation = tags.map(<[u8]>::to_vec).collect();
    let (filesystem, source) = (unescaped(fields.next()?), unescaped(fields.next()?));
    let options = unescaped(fields.next()?);
    Some(Mount { id, parent, root, point, flags, propagation, filesystem, source, options })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let text = b"31 23 0:28 /a\\040b /mnt/\\134\\012x rw,nosuid shared:7 master:3 - fuse.x s\\011t ro,size=4k\n\
            nonsense\n22 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
        let mounts = parse(text);
        let expected = Mount {
            id: 31,
            parent: 23,
            root: b"/a b".to_vec(),
            point: b"/mnt/\\\nx".to_vec(),
            flags: b"rw,nosuid".to_vec(),
            propagation: vec![b"shared:7".to_vec(), b"master:3".to_vec()],
            filesystem: b"fuse.x".to_vec(),
            source: b"s\tt".to_vec(),
            options: b"ro,size=4k".to_vec(),
        };
        assert_eq!(mounts[0], expected);
        assert_eq!((mounts.len(), mounts[1].propagation.len()), (2, 0));
    }
}
