//! Users and groups as a root's own files name them. They are parsed here and not by libc, whose
//! lookups would load modules of a root that is not trusted. `passwd(5)`, `group(5)`.

use crate::{Attempt, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

/// A file that is larger is not read further.
const LIMIT: u64 = 4 << 20;

/// A root's `/etc/passwd` and `/etc/group`; empty where they are missing.
#[derive(Default)]
pub struct Accounts {
    passwd: Vec<u8>,
    group: Vec<u8>,
}

/// A user.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its number.
    pub uid: u32,
    /// Its own group; 0 without an entry, as Docker has it.
    pub gid: u32,
    /// The other groups of which it is a member.
    pub groups: Vec<u32>,
    /// Its home, `/` without an entry.
    pub home: OsString,
}

impl Accounts {
    /// Those of `root`, inside which every link in the paths of the files is resolved.
    pub fn read(root: impl AsFd) -> Result<Self> {
        Ok(Self {
            passwd: read_inside(&root, "/etc/passwd")?,
            group: read_inside(&root, "/etc/group")?,
        })
    }

    /// A user by name or number. A number needs no entry.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<Account> {
        let number = number(name.as_bytes());
        let entry = users(&self.passwd).find(|entry| entry[0] == name.as_bytes());
        match entry.or_else(|| self.entry_of(number?)) {
            Some(entry) => self.account(&entry),
            None => number.map(without_entry),
        }
    }

    /// The user that a number is.
    #[must_use]
    pub fn user_of(&self, uid: u32) -> Account {
        let entry = self.entry_of(uid);
        entry.and_then(|entry| self.account(&entry)).unwrap_or_else(|| without_entry(uid))
    }

    /// A group by name or number. A number needs no entry.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<u32> {
        let mut groups = entries(&self.group).filter(|entry| entry.len() >= 3);
        let entry = groups.find(|entry| entry[0] == name.as_bytes());
        entry.map_or_else(|| number(name.as_bytes()), |entry| number(entry[2]))
    }

    fn entry_of(&self, uid: u32) -> Option<Vec<&[u8]>> {
        users(&self.passwd).find(|entry| number(entry[2]) == Some(uid))
    }

    fn account(&self, entry: &[&[u8]]) -> Option<Account> {
        let home = entry.get(5).copied().filter(|home| !home.is_empty()).unwrap_or(b"/");
        Some(Account {
            uid: number(entry[2])?,
            gid: number(entry[3]).unwrap_or(0),
            groups: self.groups_of(entry[0]),
            home: OsString::from_vec(home.to_vec()),
        })
    }

    fn groups_of(&self, user: &[u8]) -> Vec<u32> {
        let member = |entry: &Vec<&[u8]>| {
            let members = entry.get(3).map_or(&b""[..], |members| members);
            members.split(|&byte| byte == b',').any(|member| !member.is_empty() && member == user)
        };
        entries(&self.group).filter(member).filter_map(|entry| number(entry[2])).collect()
    }
}

fn without_entry(uid: u32) -> Account {
    Account { uid, gid: 0, groups: Vec::new(), home: "/".into() }
}

fn read_inside(root: impl AsFd, path: &str) -> Result<Vec<u8>> {
    // Not to wait for who may write to a pipe.
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let call = format!("openat2({path:?}, RESOLVE_IN_ROOT)");
    let file = match openat2(root, path, how) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
        Err(errno) => return Err(Error::from(errno).attempting(call)),
    };
    if !file.metadata().attempt(&call)?.is_file() {
        return Err(Error::new(call, "is not a regular file"));
    }
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).attempt(call)?;
    Ok(text)
}

/// The users of a `passwd(5)`: name, password, uid, gid, and what else there is.
fn users(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    entries(text).filter(|entry| entry.len() >= 4)
}

/// The lines of such a file, split at their colons.
fn entries(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b':').collect())
}

/// An id. The largest number is none: setresuid would take it for "as it is", and stay root.
fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|&id| id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:\n\
                7:x:8:9::/seven:\nhome:x:5:5:::\ntoor:x:0:0::/toor:\nnobody:x:4294967295:1\n\
                :x:6:6\nbad:x:1\n+\n\n"
                .to_vec(),
            group: b"root:x:0:\ntty:x:5:app,other\naudio:x:29:other\nvideo:x:44:app\nempty:x:3\n\
                none:x:4294967295:app\n"
                .to_vec(),
        }
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let account = |uid, gid, groups: &[u32], home: &str| {
            Some(Account { uid, gid, groups: groups.to_vec(), home: home.into() })
        };
        let table = [
            ("root", account(0, 0, &[], "/root")),
            ("toor", account(0, 0, &[], "/toor")),
            ("0", account(0, 0, &[], "/root")),
            ("app", account(1000, 1001, &[5, 44], "/home/app")),
            ("1000", account(1000, 1001, &[5, 44], "/home/app")),
            ("4242", account(4242, 0, &[], "/")),
            // A name that looks like a number is a name.
            ("7", account(8, 9, &[], "/seven")),
            ("home", account(5, 5, &[], "/")),
            // The user without a name is no member where a list is empty.
            ("6", account(6, 6, &[], "/")),
            ("nobody", None),
            ("bad", None),
            ("-1", None),
            ("4294967295", None),
        ];
        for (name, expected) in table {
            assert_eq!(accounts().user(name), expected, "{name}");
        }
        assert_eq!(accounts().user_of(1000), account(1000, 1001, &[5, 44], "/home/app").unwrap());
        assert_eq!(accounts().user_of(4242).home, "/");
    }

    #[test]
    fn groups_are_found_by_name_and_number() {
        let table = [
            ("tty", Some(5)),
            ("5", Some(5)),
            ("4242", Some(4242)),
            ("none", None),
            ("4294967295", None),
            ("", None),
            ("app", None),
        ];
        for (name, expected) in table {
            assert_eq!(accounts().group(name), expected, "{name}");
        }
    }

    #[test]
    fn a_root_without_files_has_numbers_only() {
        let accounts = Accounts { passwd: Vec::new(), group: Vec::new() };
        assert_eq!(accounts.user("0").unwrap().home, "/");
        assert_eq!(accounts.group("0"), Some(0));
        assert!(accounts.user("root").is_none());
    }
}
