//! Names of entries, and the whiteouts among them. OCI image specification, "Image Layer
//! Filesystem Changeset".

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the name of an entry asks for. Paths are relative to the root and have no `.` and `..`.
#[derive(Debug, PartialEq)]
pub enum Named {
    /// A file of any kind; the root itself has an empty path.
    Node(PathBuf),
    /// `.wh.NAME`: nothing of the lower layers is seen of NAME.
    Whiteout(PathBuf),
    /// `.wh..wh..opq`: nothing of the lower layers is seen in this directory.
    Opaque(PathBuf),
    /// What aufs kept for itself and old versions of Docker left in layers.
    Aufs,
}

impl Named {
    /// Reads an entry's name. An error is the reason why it is refused.
    pub fn parse(name: &[u8]) -> Result<Self, &'static str> {
        let path = inside(name)?;
        let Some(last) = path.file_name().map(OsStrExt::as_bytes) else {
            return Ok(Self::Node(path));
        };
        let above = path.parent().unwrap_or(Path::new(""));
        if path.iter().any(|part| is_of_aufs(part.as_bytes())) {
            return Ok(Self::Aufs);
        }
        if above.iter().any(|part| part.as_bytes().starts_with(PREFIX)) {
            return Err("lies in a whiteout");
        }
        match last.strip_prefix(PREFIX) {
            None => Ok(Self::Node(path)),
            Some(b".wh..opq") => Ok(Self::Opaque(above.to_owned())),
            Some(b"" | b"." | b"..") => Err("this whiteout names nothing that can be hidden"),
            Some(hidden) => Ok(Self::Whiteout(above.join(OsStr::from_bytes(hidden)))),
        }
    }
}

const PREFIX: &[u8] = b".wh.";

fn is_of_aufs(part: &[u8]) -> bool {
    part.starts_with(b".wh..wh.") && part != b".wh..wh..opq"
}

/// A name in an archive as a path below the root, which an absolute name is relative to as well.
pub fn inside(name: &[u8]) -> Result<PathBuf, &'static str> {
    let mut path = PathBuf::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("`..` in a name may lead out of the root"),
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let node = |path: &str| Ok(Named::Node(path.into()));
        let table: [(&[u8], Result<Named, ()>); 22] = [
            (b"etc/passwd", node("etc/passwd")),
            (b"./etc//passwd/", node("etc/passwd")),
            (b"/etc/passwd", node("etc/passwd")),
            (b"./", node("")),
            (b"/", node("")),
            (b"", node("")),
            (b".wh", node(".wh")),
            (b"...", node("...")),
            (b"a/x.wh.y", node("a/x.wh.y")),
            (b"a/.wh.x", Ok(Named::Whiteout("a/x".into()))),
            (b".wh.x", Ok(Named::Whiteout("x".into()))),
            (b".wh..wh", Ok(Named::Whiteout(".wh".into()))),
            (b".wh....", Ok(Named::Whiteout("...".into()))),
            (b"a/.wh..wh..opq", Ok(Named::Opaque("a".into()))),
            (b".wh..wh..opq", Ok(Named::Opaque("".into()))),
            (b".wh..wh.plnk/1.2", Ok(Named::Aufs)),
            (b"a/../b", Err(())),
            (b"..", Err(())),
            (b"a/.wh.", Err(())),
            (b"a/.wh..", Err(())),
            (b"a/.wh...", Err(())),
            (b"a/.wh.x/y", Err(())),
        ];
        for (name, expected) in table {
            let name_shown = OsStr::from_bytes(name);
            assert_eq!(Named::parse(name).map_err(drop), expected, "{name_shown:?}");
        }
    }
}
